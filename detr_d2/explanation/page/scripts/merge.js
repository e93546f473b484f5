// Merge mask logits into one panoptic map: what `panoptic_inference` does in
// detr_d2/modeling/panoptic_merge.py, step by step and with the same result.

// Masks compete at every pixel; segments below minArea are dropped and their pixels go to the next
// best mask, until all that are left are large enough; then the segments of one stuff class unite.
//
// masks: one array of h * w logits a query; scores, classes: one number a query;
// thingIds: Set of thing classes; uniteStuff: "after_filtering" or "before_filtering";
// grow: maps the winners (h * w) to the result's size, identity unless the ids are resized.
//
// Returns ids (Int32Array, 0 where nothing was found), segments, owner (index of the mask that has
// the pixel, masks.length where none), and passes: areas before each drop and what was dropped.
function panopticInference({ masks, pixels, scores, classes, thingIds, minArea,
    uniteStuff = "after_filtering", grow = (winners) => winners }) {
  const early = uniteStuff === "before_filtering";
  const replacement = replacements(classes, thingIds, early);
  const { owner, areas, passes } = argmaxWithoutSmall(masks, pixels, minArea, replacement, grow);
  const { segmentOf, segments } = listSegments(areas, scores, classes, thingIds, early);
  const ids = new Int32Array(owner.length);
  for (let p = 0; p < owner.length; p++) ids[p] = segmentOf[owner[p]];
  return { ids, segments, owner, passes };
}

// For each query the query that gets its pixels: itself, or, as published, the first of its stuff
// class already before small segments are dropped.
function replacements(classes, thingIds, early) {
  const first = new Map();
  return classes.map((category, query) => {
    if (!early || thingIds.has(category)) return query;
    if (!first.has(category)) first.set(category, query);
    return first.get(category);
  });
}

function argmaxWithoutSmall(masks, pixels, minArea, replacement, grow) {
  const count = masks.length;
  const passes = [];
  const raw = new Int32Array(pixels).fill(-1);
  let alive = masks.map((_, query) => query);
  while (alive.length) {
    giveFreePixels(raw, masks, alive);
    const owner = grow(raw).map((query) => replacement[query]);
    const areas = new Array(count).fill(0);
    for (let p = 0; p < owner.length; p++) areas[owner[p]]++;
    const dropped = alive.filter((query) => areas[query] < Math.max(minArea, 1));
    passes.push({ areas, dropped });
    if (!dropped.length) return { owner, areas, passes };
    const gone = new Set(dropped);
    for (let p = 0; p < pixels; p++) if (gone.has(raw[p])) raw[p] = -1;
    alive = alive.filter((query) => !gone.has(query));
  }
  const owner = grow(raw).fill(count);
  return { owner, areas: new Array(count).fill(0), passes };
}

// The best living mask for every pixel without an owner (-1). A pixel whose owner lives keeps it:
// among fewer rivals it would win again. At a tie the first query wins, as in torch.
function giveFreePixels(raw, masks, alive) {
  const free = new Int32Array(raw.length);
  let count = 0;
  for (let p = 0; p < raw.length; p++) if (raw[p] < 0) free[count++] = p;
  const best = new Float64Array(count).fill(-Infinity);
  for (let i = 0; i < count; i++) raw[free[i]] = alive[0];
  for (const query of alive) {
    const mask = masks[query];
    for (let i = 0; i < count; i++) {
      const value = mask[free[i]];
      if (value > best[i]) {
        best[i] = value;
        raw[free[i]] = query;
      }
    }
  }
}

function listSegments(areas, scores, classes, thingIds, early) {
  const segments = [];
  const stuff = new Map();
  const segmentOf = new Int32Array(areas.length + 1);
  areas.forEach((area, query) => {
    if (area === 0) return;
    const category = classes[query];
    let segment = early ? undefined : stuff.get(category);
    if (!segment) {
      const isthing = thingIds.has(category);
      segment = { id: segments.length + 1, category_id: category, isthing, score: scores[query],
        area: 0, queries: [] };
      segments.push(segment);
      if (!isthing) stuff.set(category, segment);
    }
    segment.area += area;
    segment.score = Math.max(segment.score, scores[query]);
    segment.queries.push(query);
    segmentOf[query] = segment.id;
  });
  return { segmentOf, segments };
}

// Best and second best mask at every pixel among all given masks, and the margin between them.
// Returns first and second (Int32Array, -1 where there is none) and margin (Float32Array, 0 if so).
function rivals(masks, pixels) {
  const first = new Int32Array(pixels).fill(-1);
  const second = new Int32Array(pixels).fill(-1);
  const margin = new Float32Array(pixels);
  for (let p = 0; p < pixels; p++) {
    let a = -1;
    let b = -1;
    for (let q = 0; q < masks.length; q++) {
      if (a < 0 || masks[q][p] > masks[a][p]) {
        b = a;
        a = q;
      } else if (b < 0 || masks[q][p] > masks[b][p]) b = q;
    }
    first[p] = a;
    second[p] = b;
    if (b >= 0) margin[p] = masks[a][p] - masks[b][p];
  }
  return { first, second, margin };
}
