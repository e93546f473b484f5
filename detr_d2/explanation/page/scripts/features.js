// Pictures of feature maps: principal components, vector lengths, and single channels.

function featureView(page, stop, beside = null) {
  const feature = page.meta.features[stop.id];
  if (!feature) return null;
  const grid = strideGrid(feature.shape.slice(-2), page.meta.image.network, feature.picture);
  const averaged = Math.round(feature.shape.at(-1) / feature.picture[1]);
  const view = heatView(page, { label: `${stop.title}${averaged > 1
    ? ` (each cell shown is the mean of ${averaged} \u00d7 ${averaged})` : ""}`, grid, beside });
  let shown = "rgb";
  const modes = choice("show", [
    ["rgb", "3 components", "the three principal components of the channels as red, green and blue"],
    ["norm", "length", "length of the vector in each cell"],
    ...feature.channel_ids.map((id, i) => [i, `ch ${id}`, `channel ${id}, one of those that vary most`]),
  ], (mode) => {
    shown = mode;
    draw();
  });

  async function draw() {
    modes.show(shown);
    if (shown === "rgb") {
      const [rgb, norm] = await Promise.all([feature.rgb, feature.norm].map(page.arrays.load));
      view.showRgb(rgb.raw, norm.values(), (value, [row, column]) =>
        `row ${row}, column ${column}: a vector of length ${number(value, 4)}`);
    } else if (shown === "norm") {
      const values = (await page.arrays.load(feature.norm)).values();
      view.show(values, { range: [0, extent(values)[1]] });
    } else {
      const values = (await page.arrays.load(feature.channels)).values(shown);
      const signed = extent(values)[0] < 0;
      view.show(values, signed ? { range: symmetric(values), map: "tide" }
        : { range: [0, extent(values)[1]] });
    }
  }
  drawWhenSeen(page.state, view.element, [], draw);
  view.element.querySelector(".side").append(modes.element);
  return make("div", { class: "exhibit feature" }, view.element);
}

function imageExhibit(page) {
  const { url, network } = page.meta.image;
  const frame = make("div", { class: "heat", tabindex: 0, role: "application",
    "aria-roledescription": "image", "aria-label": "The image. Arrow keys move the chosen place.",
    style: frameShape(network) }, make("img", { src: url, alt: "" }));
  pointPicker(page.state, frame, page.cells);
  return make("div", { class: "exhibit" }, make("figure", { class: "picture" },
    make("figcaption", {}, `One square is one cell of the encoded image; there are ${page.cells.rows} \u00d7 `
      + `${page.cells.columns}. Choose one: every picture below shows the same place.`), frame));
}
