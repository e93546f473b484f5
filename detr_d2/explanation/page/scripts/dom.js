// Elements without markup strings: every text goes in as a text node, so that no name out of the
// data can become HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [k, v] of Object.entries(value)) setStyle(element, k, v);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined));
  return element;
}

function setStyle(element, name, value) {
  element.style.setProperty(name, value);
}

// make("div", { class: "a", onclick: f }, child, "text", ...)
function make(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Plain text in which `...` marks code, and " x " between sizes is a multiplication.
function rich(text) {
  return text.split("`").map((part, i) => (i % 2 ? make("code", {}, part)
    : part.replace(/(?<=[\w)]) x (?=[\w(])/g, " \u00d7 ")));
}

// 1234567 -> "1 234 567", with a narrow no-break space; small numbers with `digits` significant.
function number(value, digits = 3) {
  if (Number.isInteger(value)) return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5)) {
    return value.toExponential(digits - 1).replace("-", "\u2212").replace("e-", "e\u2212");
  }
  return value.toPrecision(digits).replace("-", "\u2212");
}

function percent(share, digits = 1) {
  return `${(100 * share).toFixed(digits)} %`;
}

// A row of buttons of which one is pressed. options: [[value, label], ...]; `pick` gets the value.
function choice(label, options, pick) {
  const buttons = options.map(([value, text, title]) =>
    make("button", { type: "button", "data-value": value, title, onclick: () => pick(value) }, text));
  const element = make("div", { class: "choice", role: "group", "aria-label": label },
    make("span", { class: "choice-label" }, label), buttons);
  return {
    element,
    show(value) {
      for (const button of buttons) {
        button.setAttribute("aria-pressed", String(button.dataset.value === String(value)));
      }
    },
  };
}
