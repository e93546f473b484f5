// The architecture as a drawing: overview, navigation, and where the reader is.

// Row and column of every stop; the rows run from top to bottom like the page.
const PLACES = {
  image: [0, 0], res2: [1, 0], res3: [2, 0], res4: [3, 0], res5: [4, 0],
  projected: [5, 0], position: [5, 1], encoded: [6, 0], queries: [6, 1], embeddings: [7, 1],
  scores: [8, 1], boxes: [8, 2], bbox_attention: [8, 0], concat: [9, 0], fpn: [10, 0],
  masks: [11, 0], merge: [12, 0], panoptic: [13, 0],
};
const LABELS = {
  image: "Image", res2: "Res2", res3: "Res3", res4: "Res4", res5: "Res5", projected: "Projection",
  position: "Position", encoded: "Encoded image", queries: "Queries", embeddings: "Embeddings",
  scores: "Class", boxes: "Box", bbox_attention: "Bbox attention", concat: "Concatenation",
  fpn: "FPN stages", masks: "Mask logits", merge: "Argmax", panoptic: "Panoptic map",
};
// Straight arrows from one to the other, with what happens on the way.
const ARROW_PAIRS = [
  ["image", "res2"], ["res2", "res3"], ["res3", "res4"], ["res4", "res5"], ["res5", "projected"],
  ["projected", "encoded"], ["position", "encoded"], ["queries", "embeddings"],
  ["encoded", "embeddings"], ["encoded", "bbox_attention"], ["embeddings", "bbox_attention"],
  ["embeddings", "scores"], ["embeddings", "boxes"], ["bbox_attention", "concat"],
  ["concat", "fpn"], ["fpn", "masks"], ["masks", "merge"], ["merge", "panoptic"],
];
// Long ways round the left side, by how far out they run.
const DETOURS = [["projected", "concat", 1], ["res4", "fpn", 2], ["res3", "fpn", 3], ["res2", "fpn", 4]];

const ROW = 44;
const BOX = 26;
const COLUMNS = [{ x: 44, width: 108 }, { x: 168, width: 82 }, { x: 256, width: 44 }];

function placeOf(id) {
  const [row, column] = PLACES[id];
  const { x, width } = COLUMNS[column];
  return { x, width, y: 8 + row * ROW, middle: x + width / 2, centre: 8 + row * ROW + BOX / 2 };
}

function straight(from, to) {
  const [a, b] = [placeOf(from), placeOf(to)];
  if (a.y === b.y) return `M${b.x < a.x ? a.x : a.x + a.width} ${a.centre}H${b.x < a.x ? b.x + b.width : b.x}`;
  if (a.x === b.x) return `M${a.middle} ${a.y + BOX}V${b.y}`;
  const end = b.x > a.x ? b.x + 16 : b.x + b.width - 16;
  const start = a.x < b.x ? a.x + a.width - 12 : a.x + 12;
  return `M${start} ${a.y + BOX}C${start} ${a.y + BOX + 12} ${end} ${b.y - 12} ${end} ${b.y}`;
}

function detour(from, to, lane) {
  const [a, b] = [placeOf(from), placeOf(to)];
  const x = a.x - 6 - 8 * lane;
  const target = b.centre + (lane > 1 ? 3 * (lane - 3) : 0);
  return `M${a.x} ${a.centre}H${x + 5}Q${x} ${a.centre} ${x} ${a.centre + 5}V${target - 5}`
    + `Q${x} ${target} ${x + 5} ${target}H${b.x}`;
}

function drawSchematic(page) {
  const known = new Map(page.meta.stops.map((stop) => [stop.id, stop]));
  const has = ([from, to]) => known.has(from) && known.has(to);
  const line = (path, kind) => svg("path", { d: path, class: `wire ${kind}`, "marker-end": "url(#tip)" });
  const ids = Object.keys(PLACES).filter((id) => known.has(id));
  const nodes = ids.map((id) => {
    const { x, y, width, middle, centre } = placeOf(id);
    return svg("a", { href: `#stop-${id}`, class: "node", "data-stop": id },
      svg("title", {}, `${known.get(id).title}: ${known.get(id).symbol}`),
      svg("rect", { x, y, width, height: BOX, rx: 6 }),
      svg("text", { x: middle, y: centre + 4, "text-anchor": "middle" }, LABELS[id]));
  });
  const rows = 1 + Math.max(...ids.map((id) => PLACES[id][0]));
  const drawing = svg("svg", { viewBox: `0 0 304 ${rows * ROW - 4}`, class: "schematic",
    role: "group", "aria-label": "Architecture: every box leads to its stop" },
  svg("defs", {}, svg("marker", { id: "tip", viewBox: "0 0 6 6", refX: 5, refY: 3, markerWidth: 6,
    markerHeight: 6, orient: "auto" }, svg("path", { d: "M0 0L6 3L0 6z", class: "tip" }))),
  ARROW_PAIRS.filter(has).map(([a, b]) => line(straight(a, b), "")),
  DETOURS.filter(has).map(([a, b, lane]) => line(detour(a, b, lane), `lane-${lane}`)),
  nodes);
  return {
    drawing,
    mark(id) {
      for (const node of nodes) {
        const here = node.dataset.stop === id;
        node.classList.toggle("here", here);
        if (here) node.setAttribute("aria-current", "step");
        else node.removeAttribute("aria-current");
      }
    },
  };
}
