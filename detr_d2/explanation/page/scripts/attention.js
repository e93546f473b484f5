// Encoder self-attention: what a cell attends to, and what attends to it.

const nextFrame = () => new Promise((done) => requestAnimationFrame(done));

function encoderExhibit(page, stop) {
  const { layers, cells } = page.meta.encoder || { layers: [] };
  if (!layers.length) return featureView(page, stop, []);
  const { state, arrays } = page;
  const grid = strideGrid(cells, page.meta.image.network);
  const opened = new Map();
  const heads = page.meta.model.heads;
  state.values.encoderLayer = layers.at(-1).layer;
  state.values.encoderHead = "all";

  const to = heatView(page, { label: "What this cell attends to", grid, under: true });
  const from = heatView(page, { label: "What attends to this cell", grid, under: true });
  const layerChoice = choice("layer", layers.map(({ layer }) => [layer, layer + 1]),
    (encoderLayer) => state.set({ encoderLayer }));
  const headChoice = choice("head", [["all", "all (mean)"],
    ...Array.from({ length: heads }, (_, head) => [head, head + 1])],
  (encoderHead) => state.set({ encoderHead }));
  const tiles = Array.from({ length: heads }, (_, head) =>
    tile(`head ${head + 1}`, cells, () => state.set({ encoderHead: head }),
      `what the chosen cell attends to in head ${head + 1}`));

  async function open(layer) {
    if (!opened.has(layer)) {
      const entry = layers.find((item) => item.layer === layer);
      const [queries, keys] = await Promise.all([arrays.load(entry.queries), arrays.load(entry.keys)]);
      opened.set(layer, selfAttention(queries.values(), keys.values(), queries.shape));
    }
    return opened.get(layer);
  }

  async function draw() {
    const { encoderLayer, encoderHead, point } = state.values;
    layerChoice.show(encoderLayer);
    headChoice.show(encoderHead);
    const attention = await open(encoderLayer);
    const cell = grid.cell(point);
    const index = cell[0] * cells[1] + cell[1];
    const rows = tiles.map((_, head) => attention.row(head, index));
    tiles.forEach((small, head) => {
      small.show(rows[head], [0, extent(rows[head])[1]]);
      small.press(head === encoderHead);
      small.label(`head ${head + 1} \u00b7 max ${number(extent(rows[head])[1], 2)}`);
    });
    const where = `Layer ${encoderLayer + 1}, ${encoderHead === "all" ? "mean of all heads" : `head ${encoderHead + 1}`}`;
    const text = (way) => (value, [row, column]) => `row ${row}, column ${column} ${way} `
      + `row ${cell[0]}, column ${cell[1]}: ${number(value, 4)}`;
    const out = encoderHead === "all" ? meanOf(rows) : rows[encoderHead];
    to.show(out, { range: [0, extent(out)[1]], text: text("gets from"),
      caption: `What this cell attends to. ${where}; sums to 1.` });
    await nextFrame();
    const columns = [];
    for (const head of encoderHead === "all" ? rows.keys() : [encoderHead]) {
      columns.push(attention.column(head, index));
      // Some 20 million multiplications a head the first time: let the browser breathe.
      await nextFrame();
    }
    const into = meanOf(columns);
    from.show(into, { range: [0, extent(into)[1]], text: text("gives to"),
      caption: `What attends to this cell. ${where}; a column, so its sum `
        + `${number(into.reduce((a, b) => a + b, 0), 3)} need not be 1.` });
  }
  const exhibit = make("div", { class: "exhibit", id: "encoder-attention" },
    make("h4", {}, "Self-attention of the encoder, at the chosen cell"),
    layerChoice.element, headChoice.element,
    make("div", { class: "pair" }, to.element, from.element),
    make("div", { class: "tiles" }, tiles.map((small) => small.element)));
  drawWhenSeen(state, exhibit, ["point", "encoderLayer", "encoderHead"], draw);
  return [featureView(page, stop, []), exhibit];
}
