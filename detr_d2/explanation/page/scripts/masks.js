// The mask logits of the followed query, and of all candidates as small pictures.

// Row of a query in the array of mask logits.
const maskRow = (page, query) => page.meta.candidates.findIndex((item) => item.query === query);

function masksExhibit(page) {
  const { masks, candidates } = page.meta;
  if (!masks) return null;
  const { state, arrays, queries } = page;
  const shape = masks.shape.slice(-2);
  const view = heatView(page, { label: "Mask logits", grid: gridOver(shape), step: 4, beside: [] });
  const tiles = candidates.map(({ query }) => tile(queries.name(query), shape,
    queries.canFollow(query) ? () => state.set({ query }) : null));
  let painted = false;

  async function draw() {
    const { query } = state.values;
    const logits = await arrays.load(masks.logits);
    const row = maskRow(page, query);
    tiles.forEach((small, i) => {
      if (!painted) {
        const values = logits.values(i);
        small.show(values, symmetric(values), "tide");
      }
      small.press(candidates[i].query === query);
    });
    painted = true;
    if (row < 0) return;
    const values = logits.values(row);
    view.show(values, { range: symmetric(values), map: "tide",
      caption: `Mask logits of ${queries.name(query)}`,
      text: (value, [y, x]) => `row ${y}, column ${x}: logit ${number(value, 4)}, alone a probability of `
        + `${(1 / (1 + Math.exp(-value))).toFixed(3)}` });
  }
  const exhibit = make("div", { class: "exhibit", id: "mask-logits" }, view.element,
    make("h5", {}, "One map for every query that can become a segment"),
    make("div", { class: "tiles" }, tiles.map((small) => small.element)));
  drawWhenSeen(state, exhibit, ["query"], draw);
  return exhibit;
}
