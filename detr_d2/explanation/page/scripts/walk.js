// The walk: chapters under their questions, stops in order, misunderstandings where they are refuted.

const EXHIBITS = {
  image: imageExhibit,
  res2: featureView, res3: featureView, res4: featureView, res5: featureView,
  projected: featureView, position: featureView,
  encoded: encoderExhibit,
  queries: queriesExhibit,
  embeddings: embeddingsExhibit,
  scores: scoresExhibit,
  boxes: boxesExhibit,
  bbox_attention: bboxAttentionExhibit,
  concat: concatExhibit,
  fpn: fpnExhibit,
  masks: masksExhibit,
  merge: mergeExhibit,
  panoptic: panopticExhibit,
};
// Stops that stand side by side where there is room.
const NEIGHBOURS = [["res2", "res3"], ["res4", "res5"], ["projected", "position"]];

function walk(page) {
  const { stops, questions, misunderstandings } = page.meta;
  const parts = [];
  let pair = null;
  for (const stop of stops) {
    questions.forEach((item, i) => {
      if (item.stops[0] === stop.id) parts.push(question(page, item, i));
    });
    const section = stopSection(page, stop, stop.known ? EXHIBITS[stop.id] : null);
    const neighbours = NEIGHBOURS.find((ids) => ids.includes(stop.id));
    if (neighbours && neighbours[0] === stop.id) parts.push(pair = make("div", { class: "neighbours" }));
    (neighbours && pair ? pair : { append: (item) => parts.push(item) }).append(section);
    for (const item of misunderstandings) {
      if (item.stop === stop.id) parts.push(misunderstanding(page, item));
    }
  }
  questions.forEach((item, i) => {
    if (!stops.some((stop) => stop.id === item.stops[0])) parts.push(question(page, item, i));
  });
  return [...parts, appendix(page)];
}

// Every number of the pass, and how exact the page's arrays are.
function appendix(page) {
  const { facts, arrays } = page.meta;
  const text = (value) => (Array.isArray(value) ? value.map((v) => text(v)).join(", ")
    : typeof value === "number" ? number(value, 4) : String(value));
  const row = (name, ...cells) => make("tr", {}, make("th", { scope: "row" }, name),
    cells.map((cell) => make("td", {}, cell)));
  return make("footer", { class: "appendix" },
    make("details", { class: "source" }, make("summary", {}, make("b", {}, "All numbers of this pass")),
      make("div", { class: "scroll" }, make("table", {}, Object.entries(facts).map(([name, value]) =>
        row(name.replaceAll("_", " "), text(value)))))),
    make("details", { class: "source" }, make("summary", {}, make("b", {}, "How exact the values in this page are")),
      make("div", { class: "scroll" }, make("table", {}, Object.entries(arrays)
        .filter(([, entry]) => entry.tolerance !== undefined)
        .map(([name, entry]) => row(name, entry.text, entry.shape.join(" \u00d7 "),
          `\u00b1 ${number(entry.tolerance, 2)}`))))));
}

// Tell `mark` which stop is in the upper middle of the window.
function watchStops(mark) {
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) mark(entry.target.dataset.stop);
  }, { rootMargin: "-25% 0px -65% 0px" });
  for (const stop of document.querySelectorAll(".stop")) observer.observe(stop);
}
