// The frame of every stop: title, sentence, shapes, where it comes from and goes to, its code.

// Which kind of size a symbol is: each kind has its colour on the whole page.
function kindOf(symbol) {
  if (/^N$|^Q$|quer/i.test(symbol)) return "n";
  if (/^M$|^A$|^heads$/.test(symbol)) return "m";
  if (/^d\b|\bd\b/.test(symbol)) return "d";
  if (/[HWhwS]/.test(symbol)) return "s";
  return "c";
}

// "N x M x H/32 x W/32" and [100, 8, 25, 34] as coloured symbols and numbers.
function shapeLine(symbol, shape) {
  const symbols = symbol.split(" x ");
  const row = (items, kinds) => items.map((item, i) => [
    i ? make("span", { class: "times" }, " \u00d7 ") : null,
    make("span", { class: `dim dim-${kinds[i] || "c"}` }, String(item)),
  ]);
  const kinds = symbols.map(kindOf);
  return make("p", { class: "shape" }, row(symbols, kinds),
    shape && [make("span", { class: "equals" }, " = "),
      row(shape, shape.length === kinds.length ? kinds : [])]);
}

function stopLinks(page, label, ids) {
  const known = ids.map((id) => page.meta.stops.find((stop) => stop.id === id)).filter(Boolean);
  if (!known.length) return null;
  return make("p", { class: "links" }, make("span", {}, label),
    known.map((stop) => make("a", { href: `#stop-${stop.id}` }, stop.title)));
}

function stopHead(page, stop) {
  const index = page.meta.stops.indexOf(stop) + 1;
  return make("header", { class: "stop-head" },
    make("h3", { id: `title-${stop.id}` },
      make("span", { class: "stop-number" }, String(index).padStart(2, "0")), stop.title),
    shapeLine(stop.symbol, stop.shape));
}

function stopText(page, stop) {
  return make("div", { class: "stop-text" },
    make("p", {}, rich(stop.text)),
    stop.known ? null : make("p", { class: "unknown" },
      "This stage is of a kind that the package does not know from inside: it is shown as one box."),
    stopLinks(page, "from", stop.from), stopLinks(page, "to", stop.to),
    sourceBlocks(page, stop.code));
}

// A stop and its exhibit; `exhibit` makes the elements below the text.
function stopSection(page, stop, exhibit) {
  return make("section", { class: "stop", id: `stop-${stop.id}`, "data-stop": stop.id,
    "aria-labelledby": `title-${stop.id}`, tabindex: -1 },
  stopHead(page, stop), stopText(page, stop), exhibit ? exhibit(page, stop) : null);
}

// "Often said / in fact", and what the tensors of this pass show.
function misunderstanding(page, { said, fact, seen }) {
  return make("aside", { class: "misunderstanding" },
    make("p", { class: "said" }, make("b", {}, "Often said"), make("q", {}, rich(said))),
    make("p", { class: "fact" }, make("b", {}, "In fact"), rich(fact),
      seen ? make("span", { class: "seen" }, rich(seen)) : null));
}

function question(page, { id, title, answer, seen, stops }, index) {
  return make("section", { class: "question", id: `question-${id}` },
    make("p", { class: "question-number" }, `Question ${index + 1}`),
    make("h2", {}, rich(title)),
    make("p", { class: "answer" }, rich(answer)),
    seen ? make("p", { class: "seen" }, rich(seen)) : null,
    stops.length ? stopLinks(page, "look at", stops) : null);
}
