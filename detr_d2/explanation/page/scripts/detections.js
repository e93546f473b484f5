// What the two small heads read off every box embedding: a class and a box.

function scoresExhibit(page) {
  const { state, queries, meta } = page;
  const bars = make("div", { class: "bars" });
  const limit = meta.merge ? meta.merge.score_thresh : null;
  const kept = new Set(meta.candidates.filter((item) => item.kept).map((item) => item.query));

  function bar(label, value, kind) {
    return make("div", { class: `bar ${kind}` }, make("span", { class: "bar-label" }, label),
      make("span", { class: "bar-track" },
        make("i", { style: { width: `${100 * value}%` } })),
      make("span", { class: "bar-value" }, value.toFixed(3)));
  }
  function draw() {
    const { query } = state.values;
    const { top, no_object: none } = meta.queries[query];
    bars.replaceChildren(make("h5", {}, queries.name(query)),
      ...top.map(([id, value], i) => bar(queries.className(id), value, i ? "" : "best")),
      bar("\u201cno object\u201d", none, "none"));
  }
  const exhibit = make("div", { class: "exhibit pair wide" }, scorePlot(page, kept, limit), bars);
  drawWhenSeen(state, exhibit, ["query"], draw);
  return exhibit;
}

// All queries as dots over their score; those of like score are stacked.
function scorePlot(page, kept, limit) {
  const { meta, queries, state } = page;
  const [width, height, step] = [600, 190, 11];
  const x = (score) => 12 + score * (width - 24);
  const stacks = new Map();
  const dots = meta.queries.map(({ score }, query) => {
    const place = Math.round(x(score) / step);
    const level = stacks.get(place) || 0;
    stacks.set(place, level + 1);
    const dot = svg("circle", { cx: place * step, cy: 0, r: 4.4, "data-query": query,
      class: kept.has(query) ? "kept" : "", style: {} }, svg("title", {}, queries.name(query)));
    if (kept.has(query)) setStyle(dot, "fill", css(queries.colour(query)));
    if (queries.canFollow(query)) dot.addEventListener("click", () => state.set({ query }));
    return { dot, level };
  });
  const tallest = Math.max(...stacks.values());
  const rise = Math.min(step, (height - 52) / tallest);
  for (const { dot, level } of dots) dot.setAttribute("cy", height - 36 - level * rise);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((score) =>
    svg("text", { x: x(score), y: height - 8, "text-anchor": "middle" }, String(score)));
  const line = limit === null ? [] : [
    svg("line", { x1: x(limit), x2: x(limit), y1: 8, y2: height - 26, class: "limit" }),
    svg("text", { x: x(limit) + (limit < 0.3 ? 6 : -6), y: 18, "text-anchor": limit < 0.3 ? "start" : "end" }, `threshold ${limit}`)];
  function mark() {
    for (const { dot } of dots) {
      dot.classList.toggle("chosen", dot.dataset.query === String(state.values.query));
    }
  }
  state.on(["query"], mark);
  mark();
  return make("figure", { class: "picture" },
    make("figcaption", {}, `Score of all ${dots.length} queries: best real class; coloured: kept (${kept.size})`),
    svg("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `${kept.size} of ${dots.length} queries are kept` },
    svg("line", { x1: 12, x2: width - 12, y1: height - 27, y2: height - 27, class: "axis" }),
    line, dots.map(({ dot }) => dot), ticks));
}

function boxesExhibit(page) {
  const { state, queries, meta } = page;
  const { url, network } = meta.image;
  const kept = meta.candidates.filter((item) => item.kept).map((item) => item.query);
  const boxes = boxLayer(page, kept);
  const frame = make("div", { class: "heat", tabindex: 0, role: "application",
    "aria-label": "Boxes of the kept queries. A click follows the smallest box there; arrow keys move the place.",
    style: frameShape(network) },
  make("img", { src: url, alt: "" }), boxes.layer);
  const output = make("output", { class: "readout" });
  pointPicker(state, frame, page.cells, { picked: ([y, x]) => {
    const inside = kept.filter((query) => queries.canFollow(query)).filter((query) => {
      const [left, top, w, h] = corner(queries.box(query));
      return x >= left && x <= left + w && y >= top && y <= top + h;
    });
    const area = (query) => meta.queries[query].box[2] * meta.queries[query].box[3];
    inside.sort((a, b) => area(a) - area(b));
    if (inside.length) state.set({ query: inside[0] });
  } });
  const exhibit = make("div", { class: "exhibit" }, picture(
    make("figcaption", {}, "Boxes of the kept queries, things and stuff alike; click one to follow it"),
    frame, [output], []));
  drawWhenSeen(state, exhibit, ["query"], () => {
    boxes.show();
    const { query } = state.values;
    output.textContent = `${queries.name(query)}: centre and size `
      + `(${meta.queries[query].box.map((v) => v.toFixed(3)).join(", ")}) as fractions of the image`;
  });
  return exhibit;
}
