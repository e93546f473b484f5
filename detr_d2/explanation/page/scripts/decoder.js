// Decoder attention of the followed query: to the cells of the image, and to the other queries.

function decoderExhibit(page) {
  const { decoder, model, image } = page.meta;
  if (!decoder) return null;
  const { state, arrays, queries } = page;
  const cells = page.meta.arrays[decoder.cross].shape.slice(-2);
  const grid = strideGrid(cells, image.network);
  const layers = Array.from({ length: model.decoder_layers }, (_, layer) => layer);
  const heads = Array.from({ length: model.heads }, (_, head) => head);
  state.values.decoderLayer = layers.at(-1);
  state.values.decoderHead = "all";
  const view = heatView(page, { label: "Cross-attention to the encoded image", grid, under: true });
  const boxes = boxLayer(page, []);
  view.frame.append(boxes.layer);
  const layerChoice = choice("layer", layers.map((layer) => [layer, layer + 1]),
    (decoderLayer) => state.set({ decoderLayer }));
  const headChoice = choice("head", [["all", "all (mean)"], ...heads.map((head) => [head, head + 1])],
    (decoderHead) => state.set({ decoderHead }));
  const tiles = layers.map((layer) => tile(`layer ${layer + 1}`, cells,
    () => state.set({ decoderLayer: layer }), `attention of layer ${layer + 1}, and what class and score are after it`));
  const others = make("div", { class: "chips" });
  const lookers = make("div", { class: "chips" });

  async function draw() {
    const { query, decoderLayer, decoderHead, point } = state.values;
    const row = queries.row(query);
    layerChoice.show(decoderLayer);
    headChoice.show(decoderHead);
    const [cross, self] = await Promise.all([arrays.load(decoder.cross), arrays.load(decoder.self)]);
    const mean = (layer, at = row) => meanOf(heads.map((head) => cross.values(layer, at, head)));
    const values = decoderHead === "all" ? mean(decoderLayer) : cross.values(decoderLayer, row, decoderHead);
    view.show(values, { range: [0, extent(values)[1]],
      caption: `Where ${queries.name(query)} looks. Layer ${decoderLayer + 1}, `
        + `${decoderHead === "all" ? "mean of all heads" : `head ${decoderHead + 1}`}; sums to 1. The box is `
        + "what the box head makes of the query after this layer." });
    boxes.show([query], () => decoder.layers[decoderLayer].boxes[row]);
    tiles.forEach((small, layer) => {
      const map = mean(layer);
      const { classes, scores } = decoder.layers[layer];
      small.show(map, [0, extent(map)[1]]);
      small.label(`layer ${layer + 1} \u00b7 ${queries.className(classes[row])} ${scores[row].toFixed(2)}`);
      small.press(layer === decoderLayer);
    });
    const weights = meanOf(heads.map((head) => self.values(decoderLayer, row, head)));
    listStrongest(page, others, weights.entries(), 6);
    const [y, x] = grid.cell(point);
    listStrongest(page, lookers, queries.followed.map((other) =>
      [other, mean(decoderLayer, queries.row(other))[y * cells[1] + x]]), 4);
  }
  const exhibit = make("div", { class: "exhibit", id: "decoder-attention" },
    make("h4", {}, "Cross-attention and self-attention of the decoder"),
    layerChoice.element, headChoice.element,
    make("div", { class: "pair wide" }, view.element, make("div", { class: "lists" },
      make("h5", {}, "Queries that it attends to in this layer's self-attention"), others,
      make("h5", {}, "Followed queries that look at the chosen cell most"), lookers)),
    make("div", { class: "tiles" }, tiles.map((small) => small.element)));
  drawWhenSeen(state, exhibit, ["query", "point", "decoderLayer", "decoderHead"], draw);
  return exhibit;
}

// Buttons of the queries with the largest weights, with the weights.
function listStrongest(page, element, pairs, count) {
  const best = [...pairs].sort((a, b) => b[1] - a[1]).slice(0, count);
  element.replaceChildren(...best.map(([query, weight]) =>
    queryButton(page, query, `${page.queries.name(query)} `, make("b", {}, number(weight, 3)))));
}
