// Attention maps of the box embeddings over the encoded image, head by head or together.

const sumOf = (values) => values.reduce((a, b) => a + b, 0);

// Maps of a query: M arrays of h * w weights.
async function bboxMaps(page, query) {
  const array = await page.arrays.load(page.meta.bbox_attention.maps);
  return Array.from({ length: array.shape[1] }, (_, head) => array.values(page.queries.row(query), head));
}

function bboxAttentionExhibit(page) {
  const entry = page.meta.bbox_attention;
  if (!entry) return null;
  const { state, queries, meta } = page;
  const [, count, ...cells] = meta.arrays[entry.maps].shape;
  const heads = Array.from({ length: count }, (_, head) => head);
  state.values.mapHead = "all";
  const headChoice = choice("head", [["all", "together (sum)"], ...heads.map((head) => [head, head + 1])],
    (mapHead) => state.set({ mapHead }));
  const sums = make("p", { class: "sums" });
  const view = heatView(page, { label: "Bbox attention", under: true,
    grid: strideGrid(cells, meta.image.network), beside: [headChoice.element, sums] });
  const boxes = boxLayer(page, []);
  view.frame.append(boxes.layer);
  const tiles = heads.map((head) => tile("", cells, () => state.set({ mapHead: head }), `map ${head + 1}`));

  async function draw() {
    const { query, mapHead } = state.values;
    headChoice.show(mapHead);
    const maps = await bboxMaps(page, query);
    const together = new Float32Array(maps[0].length);
    for (const map of maps) map.forEach((value, i) => (together[i] += value));
    const values = mapHead === "all" ? together : maps[mapHead];
    view.show(values, { range: [0, extent(values)[1]],
      caption: `Where ${queries.name(query)} looks: `
        + `${mapHead === "all" ? `sum of the ${count} maps` : `map ${mapHead + 1} of ${count}`}` });
    boxes.show([query]);
    const top = Math.max(...maps.map((map) => extent(map)[1]));
    tiles.forEach((small, head) => {
      small.show(maps[head], [0, top]);
      small.label(`${head + 1} \u00b7 sum ${number(sumOf(maps[head]), 3)}`);
      small.press(head === mapHead);
    });
    const each = maps.map((map) => number(sumOf(map), 3)).join(" + ");
    sums.replaceChildren(`Sums over the ${cells[0]} \u00d7 ${cells[1]} cells: ${each} = `,
      make("b", {}, number(maps.reduce((total, map) => total + sumOf(map), 0), 4)),
      meta.model.normalize === "joint" ? ". One softmax runs over heads and cells together."
        : ". Each map has its own softmax.");
  }
  const exhibit = make("div", { class: "exhibit", id: "bbox-attention" },
    view.element, make("div", { class: "tiles" }, tiles.map((small) => small.element)));
  drawWhenSeen(state, exhibit, ["query", "mapHead"], draw);
  return exhibit;
}

// Channels of the projected image and the maps of the followed query, side by side.
function concatExhibit(page) {
  const { concat, bbox_attention: attention, arrays: entries } = page.meta;
  if (!concat || !attention) return null;
  const cells = entries[concat.image].shape.slice(-2);
  const channels = concat.channel_ids.map((id) => tile(`channel ${id}`, cells));
  const maps = Array.from({ length: concat.maps }, (_, map) => tile(`map ${map + 1}`, cells));
  async function draw() {
    const image = await page.arrays.load(concat.image);
    channels.forEach((small, i) => {
      const values = image.values(i);
      small.show(values, symmetric(values), "tide");
    });
    (await bboxMaps(page, page.state.values.query)).forEach((map, i) =>
      maps[i].show(map, [0, extent(map)[1]]));
  }
  const exhibit = make("div", { class: "exhibit concat" },
    make("div", { class: "stack" },
      make("h5", {}, make("span", { class: "dim dim-d" }, concat.d),
        ` channels of the projected image, the same for every query (${channels.length} of them shown)`),
      make("div", { class: "tiles" }, channels.map((small) => small.element))),
    make("div", { class: "plus", "aria-hidden": "true" }, "+"),
    make("div", { class: "stack" },
      make("h5", {}, make("span", { class: "dim dim-m" }, concat.maps), " attention maps of the followed query"),
      make("div", { class: "tiles" }, maps.map((small) => small.element))),
    make("p", { class: "sums" }, make("b", {}, `${concat.d} + ${concat.maps} = ${concat.d + concat.maps}`),
      " channels go into the first 3 \u00d7 3 convolution, for each query on its own."));
  drawWhenSeen(page.state, exhibit, ["query"], draw);
  return exhibit;
}
