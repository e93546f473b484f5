// The lines of the package that make a tensor, with a little colour.

const PYTHON = new RegExp([
  /(?<comment>#.*$)/,
  /(?<string>"""[\s\S]*?"""|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')/,
  /(?<keyword>\b(?:def|class|return|for|in|if|else|elif|while|with|not|and|or|is|None|True|False|self|yield|lambda|import|from|raise)\b)/,
].map((part) => part.source).join("|"), "gm");

function coloured(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(PYTHON)) {
    const [kind] = Object.entries(found.groups).find(([, value]) => value !== undefined);
    parts.push(text.slice(end, found.index), make("span", { class: kind }, found[0]));
    end = found.index + found[0].length;
  }
  parts.push(text.slice(end));
  return parts;
}

// One closed <details> for each code id.
function sourceBlocks(page, ids) {
  return ids.filter((id) => page.meta.code[id]).map((id) => {
    const { file, symbol, start, end, source } = page.meta.code[id];
    const body = make("pre", { tabindex: 0, "aria-label": `source of ${symbol}` });
    const block = make("details", { class: "source" },
      make("summary", {}, make("b", {}, symbol), ` ${file}, lines ${start}\u2013${end}`), body);
    // Hundreds of spans a block: made only when somebody looks.
    block.addEventListener("toggle", () => {
      if (!body.childNodes.length) body.append(make("code", {}, ...coloured(source)));
    });
    return block;
  });
}
