// A panoptic map over the image: colours of segments, dark borders, a choice by click and keys.

// owner: per pixel an index into `colours`, or a value without colour. Returns ImageData.
function segmentPixels([rows, columns], owner, colours) {
  const image = new ImageData(columns, rows);
  const { data } = image;
  for (let y = 0, p = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++, p++) {
      const colour = colours[owner[p]];
      const border = (x + 1 < columns && owner[p + 1] !== owner[p])
        || (y + 1 < rows && owner[p + columns] !== owner[p]);
      for (let c = 0; c < 3; c++) data[4 * p + c] = colour ? (border ? 0.35 * colour[c] : colour[c]) : 20;
      data[4 * p + 3] = colour ? (border ? 235 : 165) : 190;
    }
  }
  return image;
}

// Colour by segment id: that of the segment's first query.
function segmentColours(page, segments) {
  const colours = [null];
  for (const { id, queries } of segments) colours[id] = page.queries.colour(queries[0]);
  return colours;
}

// picked(pixel) after a choice; say(pixel) gives the text read out for pixel [row, column].
function segmentMap(page, { label, size, picked, say, beside }) {
  const { url } = page.meta.image;
  const canvas = make("canvas", { width: size[1], height: size[0], class: "smooth", "aria-hidden": "true" });
  const frame = make("div", { class: "heat segments", tabindex: 0, role: "application",
    "aria-roledescription": "panoptic map",
    "aria-label": `${label}. Arrow keys move the place, Enter follows the query there.`,
    style: frameShape(size) }, make("img", { src: url, alt: "" }), canvas);
  const output = make("output", { class: "readout" });
  const grid = gridOver(size);
  const pixelOf = (point) => grid.cell(point);
  const step = Math.max(Math.round(size[1] / 64), 1);
  const read = (pixel) => (output.textContent = say(pixel || pixelOf(page.state.values.point)));
  // The cursor is as large as a key's step, so that it can be seen.
  const marks = gridOver([Math.ceil(size[0] / step), Math.ceil(size[1] / step)]);
  pointPicker(page.state, frame, marks, { picked: (point) => picked(pixelOf(point)) });
  frame.addEventListener("pointermove", (event) => {
    const box = frame.getBoundingClientRect();
    read(grid.cell([(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width]));
  });
  frame.addEventListener("pointerleave", () => read(null));
  page.state.on(["point", "query"], () => read(null));
  return {
    element: picture(make("figcaption", {}, label), frame, [output], beside),
    show(image) {
      putPixels(canvas, image);
      read(null);
    },
    caption: (text) => frame.previousSibling.replaceChildren(text),
  };
}

function segmentTable(page, segments, pixels) {
  const cell = (tag, ...content) => make(tag, {}, ...content);
  return make("table", { class: "segments-table" },
    make("thead", {}, make("tr", {}, ["", "class", "kind", "score", "area", "queries"].map((text) =>
      make("th", { scope: "col" }, text)))),
    make("tbody", {}, segments.map((segment) => make("tr", { "data-segment": segment.id },
      cell("td", segment.id), cell("td", page.queries.className(segment.category_id)),
      cell("td", segment.isthing ? "thing" : "stuff"), cell("td", segment.score.toFixed(3)),
      cell("td", `${number(segment.area)} px, ${percent(segment.area / pixels)}`),
      cell("td", segment.queries.map((query) => queryButton(page, query, String(query))))))));
}
