// The queries that the page can follow: their names, colours and places in the arrays.

function queryBook(meta) {
  const rows = new Map(meta.followed.map((query, row) => [query, row]));
  const colours = new Map(meta.candidates.map(({ query }, i) => [query, queryColour(i)]));
  const className = (id) => (meta.categories[id] ? meta.categories[id].name : `class ${id}`);
  return {
    className,
    followed: meta.followed,
    canFollow: (query) => rows.has(query),
    // Row of a followed query in the arrays of length D.
    row: (query) => rows.get(query),
    colour: (query) => colours.get(query) || oklch(0.7, 0, 0),
    name(query) {
      const { class: id, score } = meta.queries[query];
      return `query ${query}: ${className(id)} ${score.toFixed(2)}`;
    },
    box: (query) => meta.queries[query].box,
  };
}

const css = (rgb) => `rgb(${rgb.join(" ")})`;

// Boxes are centre, width and height as fractions: here left, top, width, height.
const corner = ([x, y, w, h]) => [x - w / 2, y - h / 2, w, h];

// A button that follows a query; disabled where its maps are not in the page. `markChosen` keeps
// its pressed state.
function queryButton(page, query, ...content) {
  const known = page.queries.canFollow(query);
  return make("button", {
    type: "button", class: "chip", "data-query": query, disabled: !known,
    "aria-pressed": String(page.state.values.query === query),
    title: known ? "follow this query through all stops"
      : "not followed: its maps were left out to keep the file small",
    onclick: () => page.state.set({ query }),
  }, make("i", { class: "dot", style: { background: css(page.queries.colour(query)) } }),
  content.length ? content : page.queries.name(query));
}

function markChosen(query) {
  for (const button of document.querySelectorAll(".chip[data-query]")) {
    button.setAttribute("aria-pressed", String(button.dataset.query === String(query)));
  }
}

// Boxes of queries over a picture of the image, as an SVG layer that follows the chosen query.
function boxLayer(page, queries) {
  const [height, width] = page.meta.image.network;
  const layer = svg("svg", { class: "boxes", viewBox: `0 0 ${width} ${height}`,
    preserveAspectRatio: "none", "aria-hidden": "true" });
  function show(list = queries, boxOf = page.queries.box) {
    layer.replaceChildren(...list.map((query) => {
      const [x, y, w, h] = corner(boxOf(query));
      return svg("rect", { x: x * width, y: y * height, width: w * width, height: h * height,
        stroke: css(page.queries.colour(query)), "vector-effect": "non-scaling-stroke",
        class: query === page.state.values.query ? "chosen" : "" });
    }));
  }
  return { layer, show };
}
