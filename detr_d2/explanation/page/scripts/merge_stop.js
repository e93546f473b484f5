// The stop where masks compete: sliders, map, the loser's view, and the steps of the argmax.

const MERGE_VIEWS = [
  ["winner", "segments", "which segment has every pixel"],
  ["second", "runner-up", "which mask is second best at every pixel"],
  ["margin", "margin", "how far the second best mask is behind, in logits"],
];

function mergeExhibit(page) {
  const { merge, masks } = page.meta;
  if (!merge || !masks) return null;
  const { state } = page;
  const defaults = { threshold: merge.score_thresh, minArea: merge.min_area };
  Object.assign(state.values, defaults, { mergeView: "winner" });
  const largest = Math.round((merge.output[0] * merge.output[1]) / 4);
  const sliders = [
    slider("score threshold", { low: merge.lowest_threshold, high: 1, step: 0.01, value: defaults.threshold },
      (threshold) => state.set({ threshold })),
    slider("minimum area", { low: 0, high: largest, step: 1, value: defaults.minArea, unit: "pixels",
      curve: (t) => t ** 4 * largest, inverse: (v) => (v / largest) ** 0.25 },
    (minArea) => state.set({ minArea })),
  ];
  const reset = make("button", { type: "button", class: "quiet", onclick: () => {
    sliders[0].show(defaults.threshold);
    sliders[1].show(defaults.minArea);
  } }, "back to the model's own");
  const views = choice("show", MERGE_VIEWS, (mergeView) => state.set({ mergeView }));
  const parts = { verdict: make("p", { class: "verdict", role: "status" }), bar: legend(),
    table: make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Segments at these settings" }),
    steps: make("ol", { class: "passes" }) };
  const arena = { input: null, logits: null, now: null, key: "" };
  const controls = [make("div", { class: "sliders" }, sliders.map((one) => one.element), reset), views.element];
  const map = segmentMap(page, { beside: controls, label: "Panoptic map at these settings", size: merge.output,
    picked: (pixel) => followOwner(page, arena, pixel),
    say: (pixel) => (arena.now ? sayRivals(page, arena, pixel) : "") });

  async function draw() {
    const { threshold, minArea, mergeView } = state.values;
    views.show(mergeView);
    arena.logits ||= await page.arrays.load(masks.logits);
    arena.input ||= mergeInput(page, arena.logits);
    if (arena.key !== `${threshold} ${minArea}`) {
      arena.key = `${threshold} ${minArea}`;
      arena.now = arena.input.run(threshold, minArea);
      await report(page, arena.now, parts);
    }
    showView(page, arena, map, parts.bar, mergeView);
  }
  const exhibit = make("div", { class: "exhibit", id: "live-merge" },
    map.element, parts.table,
    make("h5", {}, "Every argmax, until nothing is dropped"), parts.steps);
  map.element.querySelector(".side").append(parts.bar.element, parts.verdict);
  drawWhenSeen(state, exhibit, ["threshold", "minArea", "mergeView"], draw);
  return exhibit;
}

function followOwner(page, arena, [row, column]) {
  if (!arena.now) return;
  const query = arena.now.queries[arena.now.owner[row * page.meta.merge.output[1] + column]];
  if (page.queries.canFollow(query)) page.state.set({ query });
}

// The best masks at a pixel of the output, with their logits.
function sayRivals(page, { now, input, logits }, pixel) {
  const { output } = page.meta.merge;
  const at = pixel.map((v, axis) => Math.min(Math.floor(((v + 0.5) * input.arena[axis]) / output[axis]),
    input.arena[axis] - 1));
  const values = now.masks.map((mask, i) => [now.queries[i], mask[at[0] * input.arena[1] + at[1]]]);
  values.sort((a, b) => b[1] - a[1]);
  const text = values.slice(0, 3).map(([query, raw]) =>
    `${page.queries.name(query)} (logit ${number(logits.scaled(raw), 3)})`);
  const owner = now.queries[now.owner[pixel[0] * output[1] + pixel[1]]];
  const taken = values.length && owner !== undefined && owner !== values[0][0]
    ? `; the pixel goes to query ${owner}, since the best was too small or united` : "";
  return `row ${pixel[0]}, column ${pixel[1]}: ${text.join(", then ") || "no mask takes part"}${taken}`;
}

async function report(page, now, { verdict, table, steps }) {
  const { merge } = page.meta;
  const pixels = merge.output[0] * merge.output[1];
  const own = (await page.arrays.load(merge.result.ids)).raw;
  let equal = 0;
  for (let p = 0; p < pixels; p++) if (own[p] === now.ids[p]) equal++;
  const { threshold, minArea } = page.state.values;
  const default_ = threshold === merge.score_thresh && minArea === merge.min_area;
  verdict.textContent = `${now.queries.length} masks compete, ${now.segments.length} segments remain. `
    + (default_ ? `These are the model's own settings: ${percent(equal / pixels, 3)} of the pixels are as in its `
      + "own map (the logits in this page are rounded)." : "Other settings than the model's own.");
  verdict.dataset.segments = JSON.stringify(now.segments);
  table.replaceChildren(segmentTable(page, now.segments, pixels));
  steps.replaceChildren(...now.passes.map((pass) => passItem(page, now, pass)));
}

function passItem(page, { queries }, { areas, dropped }) {
  const small = dropped.filter((i) => areas[i] > 0);
  const empty = dropped.length - small.length;
  const winners = areas.filter((area) => area > 0).length;
  return make("li", {}, `argmax: ${winners} of the masks win pixels. `,
    small.length ? ["Too small, dropped: ", small.map((i) => [queryButton(page, queries[i],
      `${page.queries.name(queries[i])}, ${number(areas[i])} px`), " "])] : null,
    empty ? `Dropped without a single pixel: ${empty}.` : null,
    dropped.length ? null : "Nothing is too small: done.");
}

function showView(page, arena, map, bar, view) {
  const { output } = page.meta.merge;
  const { now, input, logits } = arena;
  bar.element.hidden = view !== "margin";
  if (view === "winner") {
    map.caption("Panoptic map at these settings");
    map.show(segmentPixels(output, now.ids, segmentColours(page, now.segments)));
    return;
  }
  now.rivals ||= rivals(now.masks, input.arena[0] * input.arena[1]);
  if (view === "second") {
    map.caption("The loser's view: the second best mask at every pixel");
    const colours = now.queries.map((query) => page.queries.colour(query));
    map.show(segmentPixels(output, now.grow(now.rivals.second), colours));
    return;
  }
  const margin = resizeNearest(now.rivals.margin, input.arena, output).map((v) => v * logits.scale);
  const range = [0, quantile(margin, 0.98)];
  map.caption("Margin between best and second best mask, in logits; pale is safe, violet contested");
  map.show(heatPixels(output, margin, range, "ember"));
  bar.show(range, "ember");
}

function quantile(values, share) {
  const sorted = values.slice().sort();
  return sorted[Math.floor(share * (sorted.length - 1))] || 0;
}
