// Vectors of all queries as a picture: one row a query, one column a channel.

function embeddingsExhibit(page) {
  const { embeddings } = page.meta;
  return [embeddings ? vectorTable(page, embeddings, "box embeddings") : null, decoderExhibit(page)];
}

// The learned queries, which know nothing of the image yet.
function queriesExhibit(page) {
  const name = page.meta.query_embed;
  return name ? vectorTable(page, name, "learned queries") : null;
}

// name: of an array (Q, d); what: its rows, in words.
function vectorTable(page, name, what) {
  const { state, arrays, queries, meta } = page;
  const [count, channels] = meta.arrays[name].shape;
  const canvas = make("canvas", { width: channels, height: count, "aria-hidden": "true" });
  const mark = make("div", { class: "row-mark", "aria-hidden": "true" });
  const frame = make("div", { class: "matrix", tabindex: 0, role: "application",
    "aria-label": `All ${what}, one row a query. Arrow up and down follow another query.` },
  canvas, mark);
  const vector = make("canvas", { class: "vector", width: channels, height: 1, "aria-hidden": "true" });
  const output = make("output", { class: "readout" });
  const bar = legend();
  let loaded = null;

  async function draw() {
    loaded ||= (await arrays.load(name)).values();
    const { query } = state.values;
    const range = symmetric(loaded);
    paint(canvas, [count, channels], loaded, range, "tide");
    paint(vector, [1, channels], loaded.subarray(query * channels, (query + 1) * channels), range, "tide");
    bar.show(range, "tide");
    setStyle(mark, "top", `${(100 * query) / count}%`);
    setStyle(mark, "height", `${100 / count}%`);
    read(query, null);
  }
  function read(query, channel) {
    output.textContent = channel === null ? `${queries.name(query)}: ${channels} numbers`
      : `query ${query}, channel ${channel}: ${number(loaded[query * channels + channel], 4)}`;
  }
  function at(event) {
    const box = frame.getBoundingClientRect();
    return [
      Math.min(Math.max(Math.floor(((event.clientY - box.top) / box.height) * count), 0), count - 1),
      Math.min(Math.max(Math.floor(((event.clientX - box.left) / box.width) * channels), 0), channels - 1),
    ];
  }
  frame.addEventListener("pointermove", (event) => loaded && read(...at(event)));
  frame.addEventListener("pointerleave", () => loaded && read(state.values.query, null));
  frame.addEventListener("click", (event) => {
    const [query] = at(event);
    if (queries.canFollow(query)) state.set({ query });
  });
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    page.followNext(step);
  });
  const exhibit = make("div", { class: "exhibit" }, make("figure", { class: "picture" },
    make("figcaption", {}, `All ${count} ${what}: rows are queries, columns the ${channels} channels`),
    frame, make("figcaption", {}, "The row of the followed query"), vector, output, bar.element));
  drawWhenSeen(state, exhibit, ["query"], draw);
  return exhibit;
}
