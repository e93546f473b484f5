"""How the page of a review looks, and its filter, which only works where scripts do."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f6f6f3; --card: #fff; --ink: #1c1e22; --faint: #5d636b; --line: #dcdcd6;
  --accent: #0b5fae; --void: #b0005f; --void-paper: #fde7f2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #141518; --card: #1e2024; --ink: #ececea; --faint: #a3a9b1; --line: #35383e;
    --accent: #8cc2ff; --void: #ff9ccb; --void-paper: #4a0f2e;
  }
}
*, *::before, *::after { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem clamp(.75rem, 2.5vw, 2rem) 4rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
}
h1 { margin: 0 0 .5rem; font-size: 1.75rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 0; font-size: 1.0625rem; overflow-wrap: anywhere; }
p { margin: 0 0 .75rem; max-width: 70ch; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
summary { cursor: pointer; color: var(--faint); width: fit-content; }
.legend {
  display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 1rem 0; padding: 0;
  list-style: none;
}
.swatch {
  display: inline-block; width: .85em; height: .85em; margin-right: .5em;
  border: 1px solid #8886; border-radius: .2em; vertical-align: -.08em;
}
.hatched { background: repeating-linear-gradient(135deg, #ff00aa 0 2px, #ffd7f0 2px 4px); }
.filter {
  position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; align-items: center;
  gap: .5rem 1.25rem; margin: 0 0 1rem; padding: .6rem 0;
  background: var(--paper); border-bottom: 1px solid var(--line);
}
.filter[hidden], article[hidden] { display: none; }
.filter input[type=search] {
  width: 15rem; max-width: 100%; margin-left: .5rem; padding: .35rem .6rem; font: inherit;
  color: inherit; background: var(--card); border: 1px solid var(--faint); border-radius: .4rem;
}
.filter output { color: var(--faint); }
article {
  margin: 0 0 1.25rem; padding: 1rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .75rem; scroll-margin-top: 4rem;
}
article > header {
  display: flex; flex-wrap: wrap; align-items: center; gap: .4rem .75rem; margin-bottom: .75rem;
}
.number { color: var(--faint); font-weight: 400; text-decoration: none; }
.number:hover { text-decoration: underline; }
.badge {
  padding: .05rem .6rem; border: 1px solid var(--line); border-radius: 1rem;
  font-size: .875rem; white-space: nowrap;
}
.badge.void { color: var(--void); background: var(--void-paper); border-color: currentColor; }
.pictures {
  display: grid; gap: .75rem; grid-template-columns: repeat(2, 1fr); margin-bottom: .75rem;
}
@media (min-width: 62rem) { .pictures { grid-template-columns: repeat(4, 1fr); } }
figure { margin: 0; }
figcaption { margin-bottom: .25rem; color: var(--faint); font-size: .875rem; }
img { display: block; width: 100%; height: auto; border-radius: .3rem; }
.scroll { overflow-x: auto; }
table { margin-top: .5rem; border-collapse: collapse; font-size: .875rem; }
th, td {
  padding: .25rem clamp(.6rem, 1.5vw, 1.5rem) .25rem 0; border-bottom: 1px solid var(--line);
  text-align: left; vertical-align: top;
}
th { color: var(--faint); font-weight: 600; white-space: nowrap; }
tbody th { color: inherit; font-weight: 400; }
.count { text-align: right; font-variant-numeric: tabular-nums; }
@media print { .filter { display: none; } article { break-inside: avoid; } }
"""

SCRIPT = """
const filter = document.querySelector(".filter");
const words = filter.querySelector("[type=search]");
const onlyVoid = filter.querySelector("[type=checkbox]");
const cards = [...document.querySelectorAll("article")];
function show() {
  const wanted = words.value.trim().toLowerCase();
  for (const card of cards) {
    const found = card.dataset.words.toLowerCase().includes(wanted);
    card.hidden = !found || (onlyVoid.checked && !("void" in card.dataset));
  }
  const left = cards.filter(card => !card.hidden).length;
  filter.querySelector("output").textContent = left + " of " + cards.length;
}
filter.hidden = false;
filter.addEventListener("input", show);
show();
"""
