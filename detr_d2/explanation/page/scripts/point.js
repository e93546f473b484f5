// One place in the image, shared by all pictures, and what it is in a grid of cells.

// How a grid of rows x columns lies over the image: `spill` is how far the grid reaches beyond the
// image (1 = exactly to its border), since the last cells of a strided map see padding too.
function gridOver([rows, columns], spill = [1, 1]) {
  const clamp = (v, n) => Math.min(Math.max(v, 0), n - 1);
  return {
    rows,
    columns,
    spill,
    // Cell that holds a point (fractions of the image's height and width).
    cell: ([y, x]) => [
      clamp(Math.floor((y / spill[0]) * rows), rows),
      clamp(Math.floor((x / spill[1]) * columns), columns),
    ],
    // Centre of a cell as a point, inside the image.
    centre: ([row, column]) => [
      Math.min(((row + 0.5) * spill[0]) / rows, 0.9999),
      Math.min(((column + 0.5) * spill[1]) / columns, 0.9999),
    ],
  };
}

// The grid of a map of `shape` cells of a network input of `size` pixels, of which a picture of
// `picture` cells is shown (each the average of several). Strides are powers of two.
function strideGrid(shape, size, picture = shape) {
  const spill = [0, 1].map((axis) => {
    const stride = 2 ** Math.round(Math.log2(size[axis] / shape[axis]));
    const averaged = Math.round(shape[axis] / picture[axis]);
    return (picture[axis] * averaged * stride) / size[axis];
  });
  return gridOver(picture, spill);
}

const ARROWS = {
  ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
};

// Let clicks and arrow keys on `element` choose the point, and show cursor and hovered cell.
// `step`: cells a key press moves, ten times as many with Shift.
function pointPicker(state, element, grid, { hover, picked, step = 1 } = {}) {
  const cursor = make("div", { class: "cursor", "aria-hidden": "true" });
  element.append(cursor);

  function fromEvent(event) {
    const box = element.getBoundingClientRect();
    const inside = (v) => Math.min(Math.max(v, 0), 0.9999);
    return [
      inside((event.clientY - box.top) / box.height),
      inside((event.clientX - box.left) / box.width),
    ];
  }

  function choose(point) {
    state.set({ point });
    if (picked) picked(point);
  }

  function place() {
    const [row, column] = grid.cell(state.values.point);
    const [down, across] = [grid.spill[0] / grid.rows, grid.spill[1] / grid.columns];
    cursor.style.top = `${100 * row * down}%`;
    cursor.style.left = `${100 * column * across}%`;
    cursor.style.height = `${100 * down}%`;
    cursor.style.width = `${100 * across}%`;
  }

  element.addEventListener("click", (event) => choose(fromEvent(event)));
  element.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const reach = step * (event.shiftKey ? 10 : 1);
    const now = grid.cell(state.values.point);
    const limits = [grid.rows, grid.columns];
    choose(grid.centre(now.map((v, axis) =>
      Math.min(Math.max(v + reach * arrow[axis], 0), limits[axis] - 1))));
  });
  if (hover) {
    element.addEventListener("pointermove", (event) => hover(grid.cell(fromEvent(event))));
    element.addEventListener("pointerleave", () => hover(null));
  }
  state.on(["point"], place);
  place();
  return { place };
}
