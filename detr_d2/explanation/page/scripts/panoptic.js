// The model's own panoptic map: at the top of the page to choose from, and as the last stop.

// The first query that can be followed among those of the segment at a pixel.
function queryAt(page, ids, segments, columns, [row, column]) {
  const segment = segments.find(({ id }) => id === ids[row * columns + column]);
  return { segment, query: segment && segment.queries.find((query) => page.queries.canFollow(query)) };
}

function resultMap(page, label) {
  const { result, output: size } = page.meta.merge;
  const { queries, state } = page;
  let ids = null;
  const map = segmentMap(page, {
    label, size,
    picked: (pixel) => {
      const { query } = queryAt(page, ids, result.segments, size[1], pixel);
      if (query !== undefined) state.set({ query });
    },
    say: (pixel) => {
      if (!ids) return "";
      const { segment } = queryAt(page, ids, result.segments, size[1], pixel);
      return segment ? `${queries.className(segment.category_id)}, segment ${segment.id}, score `
        + `${segment.score.toFixed(3)}, from query ${segment.queries.join(", ")}` : "nothing found here";
    },
  });
  drawWhenSeen(state, map.element, [], async () => {
    ids = (await page.arrays.load(result.ids)).raw;
    map.show(segmentPixels(size, ids, segmentColours(page, result.segments)));
  });
  return map.element;
}

function panopticExhibit(page) {
  const { merge } = page.meta;
  if (!merge) return null;
  return make("div", { class: "exhibit" },
    resultMap(page, "The panoptic map of the model itself, at its own thresholds"),
    make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Segments" },
      segmentTable(page, merge.result.segments, merge.output[0] * merge.output[1])));
}

// The letters of all shapes, in the colours that they have on the whole page.
function sizeKey({ model, image }) {
  const letters = [
    ["n", "N", model.queries, "queries: the slots in which objects can be found"],
    ["m", "M", model.maps, "attention maps of a query, one a head"],
    ["d", "d", model.d, "channels inside the transformer"],
    ["s", "H \u00d7 W", image.network.join(" \u00d7 "), `pixels that the network sees; H/${model.stride} \u00d7 W/${model.stride} are the cells of the encoded image`],
    ["c", "K", model.classes, "classes, things and stuff"],
  ].filter(([, , value]) => value !== null && value !== undefined);
  return make("dl", { class: "key" }, letters.map(([kind, letter, value, text]) => make("div", {},
    make("dt", { class: `dim dim-${kind}` }, `${letter} = ${value}`), make("dd", {}, text))));
}

function masthead(page) {
  const { meta } = page;
  const { model, image, merge } = meta;
  const kept = meta.candidates.filter((item) => item.kept);
  const facts = [
    [model.meta_architecture, model.backbone],
    [number(model.parameters), "parameters"],
    [`${image.network[0]} \u00d7 ${image.network[1]}`, "pixels in"],
    [model.queries, "queries"],
    [kept.length, "above the threshold"],
    ...(merge ? [[merge.result.segments.length, "segments"]] : []),
  ];
  return [
    make("div", { class: "masthead-text" },
      make("p", { class: "kicker" }, "One forward pass, nothing hidden"),
      make("h1", {}, "What panoptic DETR does with ", make("em", {}, meta.title)),
      make("p", { class: "lead" }, "Every picture and number below was recorded while the model looked at this "
        + "image. Choose a segment to follow its query from the first attention to the last argmax; choose a "
        + "place to see it at every stop."),
      make("dl", { class: "vitals" }, facts.map(([value, name]) =>
        make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))))),
    make("div", { class: "masthead-chips chips", role: "group", "aria-label": "Queries to follow" },
      meta.followed.map((query) => queryButton(page, query))),
    make("div", { class: "masthead-picture" }, merge
      ? resultMap(page, "The result. Click a segment to follow its query.") : boxesExhibit(page)),
    sizeKey(meta),
    make("nav", { class: "contents", "aria-label": "Questions" }, make("ol", {},
      meta.questions.map(({ id, title }) => make("li", {}, make("a", { href: `#question-${id}` }, rich(title)))))),
  ];
}
