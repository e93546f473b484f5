// Encoder self-attention of one layer, computed from the queries and keys in the page.

// queries, keys: A * r * S numbers; shape: [A, r, S]. The logit of cell i for cell j in head a is
// sum over c of queries[a, c, i] * keys[a, c, j]; attention is its softmax over j.
function selfAttention(queries, keys, [heads, rank, cells]) {
  const logSums = new Map();

  // Sum over c of one[a, c, at] * other[a, c, j], for all j.
  function products(head, at, one, other) {
    const result = new Float32Array(cells);
    for (let c = 0; c < rank; c++) {
      const start = (head * rank + c) * cells;
      const factor = one[start + at];
      for (let j = 0; j < cells; j++) result[j] += factor * other[start + j];
    }
    return result;
  }

  function logSumExp(values) {
    let top = -Infinity;
    for (const v of values) if (v > top) top = v;
    let sum = 0;
    for (const v of values) sum += Math.exp(v - top);
    return top + Math.log(sum);
  }

  // The log of the softmax's denominator of every row of a head: S * S * r multiplications, so once.
  function denominators(head) {
    if (!logSums.has(head)) {
      const sums = new Float64Array(cells);
      for (let i = 0; i < cells; i++) sums[i] = logSumExp(products(head, i, queries, keys));
      logSums.set(head, sums);
    }
    return logSums.get(head);
  }

  // What cell `from` attends to: S weights that sum to 1.
  function row(head, from) {
    const values = products(head, from, queries, keys);
    const log = logSumExp(values);
    return values.map((v) => Math.exp(v - log));
  }

  // How much every cell attends to cell `to`: S weights of S different rows.
  function column(head, to) {
    const sums = denominators(head);
    return products(head, to, keys, queries).map((v, i) => Math.exp(v - sums[i]));
  }

  return { heads, cells, row, column };
}

// Mean of maps of equal size, that is of all heads together.
function meanOf(maps) {
  const result = new Float32Array(maps[0].length);
  for (const map of maps) for (let i = 0; i < map.length; i++) result[i] += map[i] / maps.length;
  return result;
}

function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const v of values) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return [low, high];
}
