// The mask head stage by stage, for the followed query.

function fpnExhibit(page) {
  const { stages, laterals } = page.meta.fpn || { stages: [] };
  if (!stages.length) return null;
  const rows = stages.map((stage) => stageRow(page, stage,
    laterals.find(({ feature }) => feature === stage.added)));
  return make("ol", { class: "exhibit stages" }, rows);
}

function stageRow(page, stage, lateral) {
  const { state, arrays, queries, meta } = page;
  const grid = strideGrid(stage.shape.slice(-2), meta.image.network, stage.picture);
  const view = heatView(page, { label: stage.title, grid });
  const added = lateral ? lateralPicture(page, lateral) : null;
  const row = make("li", { class: "stage", "data-stage": stage.id },
    make("div", { class: "stage-text" }, make("h5", {}, stage.title),
      shapeLine(stage.symbol, [stage.channels, ...stage.shape.slice(-2)]),
      make("p", {}, rich(stage.text))),
    added ? added.element : make("div", { class: "no-lateral" }), view.element);
  drawWhenSeen(state, row, ["query"], async () => {
    const values = (await arrays.load(stage.maps)).values(queries.row(state.values.query));
    const [low, high] = extent(values);
    view.show(values, { ...(low < 0 ? { range: symmetric(values), map: "tide" } : { range: [0, high] }),
      caption: `${queries.name(state.values.query)}, mean of ${stage.channels} channels` });
    if (added) await added.draw();
  });
  return row;
}

// A backbone feature after its 1 x 1 convolution, which is added and never concatenated.
function lateralPicture(page, { feature, channels_in: before, channels_out: after, rgb }) {
  const name = feature.replace(/^r/, "R");
  const [rows, columns] = page.meta.arrays[rgb].shape;
  const small = tile(`${name}: ${before} \u2192 ${after} channels by 1 \u00d7 1, then added`, [rows, columns]);
  return {
    element: make("div", { class: "lateral" }, make("span", { class: "plus" }, "+"), small.element),
    draw: async () => small.showRgb((await page.arrays.load(rgb)).raw),
  };
}
