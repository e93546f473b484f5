// The merge, live: two sliders, the map they give, who lost, and every step of the argmax.

// All that the merge needs, prepared once: masks at the size where they compete, when first used.
function mergeInput(page, logits) {
  const { merge, candidates, masks } = page.meta;
  const shape = masks.shape.slice(-2);
  const arena = merge.resize === "masks" ? merge.output : merge.network;
  const enlarged = new Map();
  const thingIds = new Set(merge.thing_ids);
  function mask(index) {
    if (!enlarged.has(index)) {
      // Whole numbers as stored: with one scale for all, the winner is the same.
      const size = shape[0] * shape[1];
      const raw = logits.raw.subarray(index * size, (index + 1) * size);
      enlarged.set(index, resizeLinear(raw, shape, arena));
    }
    return enlarged.get(index);
  }
  return {
    arena,
    // Merge at a score threshold and a minimum area (pixels of the output).
    run(threshold, minArea) {
      const limit = Math.fround(threshold);
      const part = candidates.map(({ query }, index) => ({ query, index, ...page.meta.queries[query] }))
        .filter((item) => item.is_object && item.score > limit);
      const chosen = part.map(({ index }) => mask(index));
      const grow = merge.resize === "ids"
        ? (winners) => resizeNearest(winners, arena, merge.output) : (winners) => winners;
      const result = panopticInference({ masks: chosen, pixels: arena[0] * arena[1],
        scores: part.map((item) => item.score), classes: part.map((item) => item.class), thingIds,
        minArea, uniteStuff: merge.unite_stuff, grow });
      const queries = part.map((item) => item.query);
      for (const segment of result.segments) segment.queries = segment.queries.map((i) => queries[i]);
      return { ...result, masks: chosen, queries, grow };
    },
  };
}

// A slider with a number field beside it; both give the value to `change`.
function slider(label, { low, high, step, value, curve = (t) => t, inverse = (v) => v, unit = "" }, change) {
  const positions = { min: inverse(low), max: inverse(high) };
  const range = make("input", { type: "range", "aria-label": label, ...positions, step: "any" });
  const field = make("input", { type: "number", min: low, max: high, step, "aria-label": `${label}, exact value` });
  function show(next) {
    range.value = inverse(next);
    range.setAttribute("aria-valuetext", `${next} ${unit}`);
    field.value = next;
  }
  function give(next) {
    const value = Math.min(Math.max(Math.round(next / step) * step, low), high);
    const rounded = Number(value.toFixed(4));
    show(rounded);
    change(rounded);
  }
  range.addEventListener("input", () => give(curve(Number(range.value))));
  range.addEventListener("keydown", (event) => {
    const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!way) return;
    event.preventDefault();
    give(Number(field.value) + way * step);
  });
  field.addEventListener("change", () => give(Number(field.value)));
  show(value);
  return { show: give, element: make("div", { class: "slider" },
    make("span", { class: "slider-label" }, label), range, field, make("span", {}, unit)) };
}
