// Resizing as torch.nn.functional.interpolate does it.

// For each of `to` places the two source places and the weight of the second; bilinear with
// align_corners=False.
function linearWeights(from, to) {
  const low = new Int32Array(to);
  const high = new Int32Array(to);
  const weight = new Float64Array(to);
  for (let i = 0; i < to; i++) {
    const source = Math.max(((i + 0.5) * from) / to - 0.5, 0);
    low[i] = Math.min(Math.floor(source), from - 1);
    high[i] = Math.min(low[i] + 1, from - 1);
    weight[i] = source - low[i];
  }
  return { low, high, weight };
}

// A map of h x w values brought to height x width, bilinear. `crop` = [rows, columns] computes only
// the upper left part of the result.
function resizeLinear(map, [h, w], [height, width], crop = [height, width]) {
  if (h === height && w === width && crop[0] === height && crop[1] === width) {
    return Float32Array.from(map);
  }
  const rows = linearWeights(h, height);
  const columns = linearWeights(w, width);
  const result = new Float32Array(crop[0] * crop[1]);
  for (let y = 0, p = 0; y < crop[0]; y++) {
    const top = rows.low[y] * w;
    const bottom = rows.high[y] * w;
    const down = rows.weight[y];
    for (let x = 0; x < crop[1]; x++, p++) {
      const left = columns.low[x];
      const right = columns.high[x];
      const across = columns.weight[x];
      const above = map[top + left] * (1 - across) + map[top + right] * across;
      const below = map[bottom + left] * (1 - across) + map[bottom + right] * across;
      result[p] = above * (1 - down) + below * down;
    }
  }
  return result;
}

// A map of h x w indices brought to height x width by the nearest value ("nearest-exact").
function resizeNearest(map, [h, w], [height, width]) {
  if (h === height && w === width) return map.slice();
  const result = new map.constructor(height * width);
  for (let y = 0, p = 0; y < height; y++) {
    const row = Math.min(Math.floor(((y + 0.5) * h) / height), h - 1) * w;
    for (let x = 0; x < width; x++, p++) {
      result[p] = map[row + Math.min(Math.floor(((x + 0.5) * w) / width), w - 1)];
    }
  }
  return result;
}
