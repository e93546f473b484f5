// Start: read the data, build the page, draw what is in sight.

async function main() {
  const meta = await readMeta();
  const cells = meta.features.encoded.shape.slice(-2);
  const queries = queryBook(meta);
  const best = meta.followed.reduce((a, b) => (meta.queries[b].score > meta.queries[a].score ? b : a));
  const page = {
    meta,
    queries,
    arrays: arrayStore(meta.arrays),
    cells: strideGrid(cells, meta.image.network),
    state: createState({ query: best, point: queryCentre(meta.queries[best].box) }),
    followNext(by) {
      const place = meta.followed.indexOf(page.state.values.query) + by;
      page.state.set({ query: meta.followed[(place + meta.followed.length) % meta.followed.length] });
    },
  };
  const overview = drawSchematic(page);
  const menu = make("button", { type: "button", class: "menu", "aria-expanded": "false" });
  const rail = document.getElementById("rail");
  const open = (on) => {
    rail.classList.toggle("open", on);
    menu.setAttribute("aria-expanded", String(on));
  };
  menu.addEventListener("click", () => open(!rail.classList.contains("open")));
  overview.drawing.addEventListener("click", () => open(false));
  rail.append(menu, overview.drawing);
  document.getElementById("masthead").append(...masthead(page).flat());
  document.getElementById("walk").append(...walk(page).flat());
  document.getElementById("inspector").append(...inspector(page).flat());
  const mark = (id) => {
    overview.mark(id);
    const index = meta.stops.findIndex((stop) => stop.id === id);
    menu.textContent = `${index + 1} / ${meta.stops.length}  ${meta.stops[index].title}`;
  };
  mark(meta.stops[0].id);
  watchStops(mark);
  // Links to a stop were followed before it was there.
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  document.documentElement.dataset.ready = "true";
}

// The centre of a box [cx, cy, w, h] as a point [y, x].
function queryCentre([x, y]) {
  const inside = (v) => Math.min(Math.max(v, 0), 0.9999);
  return [inside(y), inside(x)];
}
