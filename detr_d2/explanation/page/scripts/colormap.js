// Colour maps, made by formula in OKLab so that equal steps of value are equal steps of lightness.

// OKLCH (lightness 0..1, chroma, hue in degrees) -> linear RGB, which may lie outside 0..1.
// Matrices: B. Ottosson, "A perceptual color space for image processing", 2020.
function oklchToLinear(lightness, chroma, hue) {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

// The same as sRGB bytes; chroma is lowered until the colour can be shown.
function oklch(lightness, chroma, hue) {
  let rgb = oklchToLinear(lightness, chroma, hue);
  while (chroma > 0 && rgb.some((v) => v < -1e-4 || v > 1.0001)) {
    chroma = Math.max(chroma - 0.004, 0);
    rgb = oklchToLinear(lightness, chroma, hue);
  }
  return rgb.map((v) => {
    const c = Math.min(Math.max(v, 0), 1);
    return Math.round(255 * (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055));
  });
}

function table(colourAt) {
  const bytes = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) bytes.set(colourAt(i / 255), 3 * i);
  return bytes;
}

const COLORMAPS = {
  // For what is never negative: dark violet over red to pale yellow, lightness linear.
  ember: {
    name: "ember: lightness linear in OKLab, violet = low, pale yellow = high",
    table: table((t) => oklch(0.16 + 0.8 * t, 0.07 + 0.34 * t * (1 - t) + 0.03 * t, 295 + 170 * t)),
  },
  // For signed values: blue below zero, orange above, grey at zero, equal lightness either side.
  tide: {
    name: "tide: OKLab, blue < 0, grey = 0, orange > 0",
    table: table((t) => {
      const away = Math.abs(2 * t - 1);
      return oklch(0.3 + 0.52 * away, 0.16 * away, t < 0.5 ? 255 : 60);
    }),
  },
  grey: { name: "grey", table: table((t) => oklch(0.12 + 0.86 * t, 0, 0)) },
};

// "rgb(...)" of a colour map at t in 0..1.
function colourOf(map, t) {
  const i = 3 * Math.round(255 * Math.min(Math.max(t, 0), 1));
  return `rgb(${COLORMAPS[map].table.slice(i, i + 3).join(" ")})`;
}

// A colour for each of many queries, far from its neighbours: hues by the golden angle, two
// lightnesses. Returns [r, g, b].
function queryColour(index) {
  return oklch(index % 2 ? 0.66 : 0.78, 0.15, (index * 137.508 + 20) % 360);
}
