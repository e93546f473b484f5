// Arrays of the page: base64 of gzip in script elements, unpacked when they are first needed.

async function unpack(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function readMeta() {
  const bytes = await unpack(document.getElementById("meta").textContent);
  return JSON.parse(new TextDecoder().decode(bytes));
}

// Bytes as stored -> raw elements of the array that `entry` describes.
function restore(bytes, { dtype, filter, shape }) {
  if (dtype === "float32") return new Float32Array(bytes.buffer, bytes.byteOffset);
  let raw = bytes;
  if (dtype === "uint16") {
    const count = bytes.length / 2;
    raw = new Uint16Array(count);
    for (let i = 0; i < count; i++) raw[i] = bytes[i] | (bytes[count + i] << 8);
  }
  if (filter === "delta") {
    const row = shape[shape.length - 1];
    // Typed arrays wrap around by themselves.
    for (let i = 0; i < raw.length; i++) if (i % row) raw[i] += raw[i - 1] - 128;
  }
  return raw;
}

const product = (sizes) => sizes.reduce((a, b) => a * b, 1);

// Read the arrays that meta.arrays describes. `load(name)` gives { shape, raw, values(...index) }:
// values is a Float32Array of all that lies below the leading indices.
function arrayStore(entries) {
  const loaded = new Map();

  async function open(name) {
    const entry = entries[name];
    const bytes = await unpack(document.getElementById(`array-${name}`).textContent);
    const raw = restore(bytes, entry);
    const factor = async (of) => (typeof of === "string" ? await load(of) : of);
    const [scale, offset] = [await factor(entry.scale), await factor(entry.offset)];
    const at = (of, i) =>
      (typeof of === "number" ? of : of.raw[Math.floor(i / (raw.length / of.raw.length))]);
    const { shape } = entry;
    return {
      shape,
      raw,
      // Of an array with one scale for all.
      scale,
      scaled: (value) => value * scale + offset,
      values(...index) {
        const length = product(shape.slice(index.length));
        const start = index.reduce((sum, i, axis) => sum + i * product(shape.slice(axis + 1)), 0);
        const result = new Float32Array(length);
        for (let i = 0; i < length; i++) {
          result[i] = raw[start + i] * at(scale, start + i) + at(offset, start + i);
        }
        return result;
      },
    };
  }

  function load(name) {
    if (!loaded.has(name)) loaded.set(name, open(name));
    return loaded.get(name);
  }
  return { load, entry: (name) => entries[name] };
}
