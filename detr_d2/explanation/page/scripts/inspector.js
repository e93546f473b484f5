// The bar that stays in sight: which query is followed, which place is chosen, light or dark.

function inspector(page) {
  const { state, queries, cells } = page;
  const select = make("select", { "aria-label": "Followed query",
    onchange: () => state.set({ query: Number(select.value) }) },
  queries.followed.map((query) => make("option", { value: query }, queries.name(query))));
  const dot = make("i", { class: "dot" });
  const place = make("span", { class: "place" });
  const step = (by, label, sign) =>
    make("button", { type: "button", class: "quiet", "aria-label": label, onclick: () => page.followNext(by) }, sign);

  function show() {
    const { query, point } = state.values;
    select.value = query;
    setStyle(dot, "background", css(queries.colour(query)));
    const [row, column] = cells.cell(point);
    place.setAttribute("aria-label", `chosen cell: row ${row}, column ${column}`);
    place.replaceChildren(make("span", { class: "long" }, "cell "), `row ${row}, col ${column}`,
      make("span", { class: "long" }, ` of ${cells.rows} \u00d7 ${cells.columns}`));
    markChosen(query);
  }
  state.on(["query", "point"], show);
  show();
  return [
    make("div", { class: "inspector-query" }, make("span", { class: "long" }, "following"), dot,
      step(-1, "Previous query", "\u2039"), select, step(1, "Next query", "\u203a")),
    place,
    themeButton(),
  ];
}

// Light or dark: as the system says until the button is used.
function themeButton() {
  const root = document.documentElement;
  const dark = () => (root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const button = make("button", { type: "button", class: "quiet theme", onclick: () => {
    root.dataset.theme = dark() ? "light" : "dark";
    show();
  } });
  function show() {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} colours`);
  }
  show();
  return button;
}
