// Pictures of maps: one canvas pixel a cell, enlarged by the browser without blur.

function paint(canvas, grid, values, range, map, veil) {
  putPixels(canvas, heatPixels(grid, values, range, map, veil));
}

// With `veil` low values are half transparent, so that the image is seen where there is little.
function heatPixels([rows, columns], values, [low, high], map, veil = false) {
  const { table } = COLORMAPS[map];
  const image = new ImageData(columns, rows);
  const factor = high > low ? 255 / (high - low) : 0;
  for (let p = 0; p < rows * columns; p++) {
    const i = 3 * Math.round(Math.min(Math.max((values[p] - low) * factor, 0), 255));
    image.data[4 * p] = table[i];
    image.data[4 * p + 1] = table[i + 1];
    image.data[4 * p + 2] = table[i + 2];
    image.data[4 * p + 3] = veil ? 110 + (145 * i) / 765 : 255;
  }
  return image;
}

// rgb: rows * columns * 3 bytes.
function paintRgb(canvas, [rows, columns], rgb) {
  const image = new ImageData(columns, rows);
  for (let p = 0; p < rows * columns; p++) {
    for (let c = 0; c < 3; c++) image.data[4 * p + c] = rgb[3 * p + c];
    image.data[4 * p + 3] = 255;
  }
  putPixels(canvas, image);
}

function putPixels(canvas, image) {
  // Setting a canvas's size empties it, which would flicker.
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width;
    canvas.height = image.height;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// The range that a map of signed values is shown in: the same either side of zero.
function symmetric(values) {
  const [low, high] = extent(values);
  const reach = Math.max(Math.abs(low), Math.abs(high));
  return [-reach, reach];
}

// A colour bar with its range and the name of its colour map.
function legend() {
  const low = make("span", {});
  const high = make("span", {});
  const bar = make("div", { class: "legend-bar" });
  const name = make("div", { class: "legend-name" });
  let shown = null;
  return {
    element: make("div", { class: "legend" },
      make("div", { class: "legend-scale" }, low, bar, high), name),
    show(range, map) {
      low.textContent = number(range[0]);
      high.textContent = number(range[1]);
      if (map === shown) return;
      shown = map;
      const stops = Array.from({ length: 17 }, (_, i) => colourOf(map, i / 16)).join(", ");
      setStyle(bar, "background", `linear-gradient(90deg, ${stops})`);
      name.textContent = `colour map ${COLORMAPS[map].name}`;
    },
  };
}

// Keep the image's proportions; tall pictures get no higher than the window.
function frameShape([height, width]) {
  return { "aspect-ratio": `${width} / ${height}`, "--aspect": width / height };
}

// A figure with its title, and below it what explains it; with `beside` all that stands at its side.
function picture(title, frame, below, beside) {
  return make("figure", { class: beside ? "picture large" : "picture" }, title, frame,
    make("div", { class: "side" }, beside || null, below));
}

// A picture of one map on which a cell can be chosen; its value is read out below.
// label; grid: see gridOver; under: whether the picture lies over the image; step: cells per key;
// beside: elements that stand beside the picture where there is room, with readout and legend.
function heatView(page, { label, grid, under = false, step, beside }) {
  const { network, url } = page.meta.image;
  const canvas = make("canvas", { width: grid.columns, height: grid.rows, "aria-hidden": "true",
    style: { width: `${100 * grid.spill[1]}%`, height: `${100 * grid.spill[0]}%` } });
  const frame = make("div", {
    class: under ? "heat under" : "heat", tabindex: 0, role: "application",
    "aria-roledescription": "map of cells",
    "aria-label": `${label}. Arrow keys move the chosen cell.`,
    style: frameShape(network),
  }, under ? make("img", { src: url, alt: "" }) : null, canvas);
  const title = make("figcaption", {}, label);
  const output = make("output", { class: "readout" });
  const bar = legend();
  let values = null;
  const plain = (value, [row, column]) =>
    `row ${row}, column ${column}${value === null ? "" : `: ${number(value, 4)}`}`;
  let say = plain;

  function read(hovered) {
    const cell = hovered || grid.cell(page.state.values.point);
    const value = values ? values[cell[0] * grid.columns + cell[1]] : null;
    output.textContent = say(value, cell);
    if (!hovered) output.dataset.value = value === null ? "" : String(value);
  }
  pointPicker(page.state, frame, grid, { hover: read, step });
  page.state.on(["point"], () => read(null));
  read(null);
  return {
    element: picture(title, frame, [output, bar.element], beside),
    frame,
    // Show rows * columns values; caption replaces the title, text(value, cell) the readout.
    show(next, { range, map = "ember", caption, text }) {
      values = next;
      say = text || plain;
      if (caption) title.replaceChildren(...rich(caption));
      paint(canvas, [grid.rows, grid.columns], next, range, map, under);
      bar.element.hidden = false;
      bar.show(range, map);
      read(null);
    },
    // Show three colour channels, and read out other values.
    showRgb(rgb, next, text) {
      values = next;
      say = text;
      paintRgb(canvas, [grid.rows, grid.columns], rgb);
      bar.element.hidden = true;
      read(null);
    },
  };
}

// A small picture with a caption; with `pick` it is a button.
function tile(label, [rows, columns], pick, title) {
  const canvas = make("canvas", { width: columns, height: rows, "aria-hidden": "true",
    style: { "aspect-ratio": `${columns} / ${rows}` } });
  const caption = make("span", { class: "tile-label" }, label);
  const element = pick
    ? make("button", { type: "button", class: "tile", title, onclick: pick }, canvas, caption)
    : make("span", { class: "tile", title }, canvas, caption);
  return {
    element,
    show: (values, range, map = "ember") => paint(canvas, [rows, columns], values, range, map),
    showRgb: (rgb) => paintRgb(canvas, [rows, columns], rgb),
    label: (text) => caption.replaceChildren(text),
    press: (on) => element.setAttribute("aria-pressed", String(on)),
  };
}
