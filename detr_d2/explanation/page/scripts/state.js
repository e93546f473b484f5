// What the reader has chosen, and who must be drawn again when it changes.

// values: any keys. set() merges changes and calls, once before the next frame, all listeners of
// changed keys.
function createState(values) {
  const listeners = [];
  let changed = new Set();
  function flush() {
    const keys = changed;
    changed = new Set();
    for (const { of, call } of listeners) if (of.some((key) => keys.has(key))) call();
  }
  return {
    values,
    set(changes) {
      for (const [key, value] of Object.entries(changes)) {
        if (values[key] === value) continue;
        values[key] = value;
        if (!changed.size) requestAnimationFrame(flush);
        changed.add(key);
      }
    },
    on(of, call) {
      listeners.push({ of, call });
    },
  };
}

// Call `draw` when `element` comes near the screen, and again when one of the keys changed, but
// never for what is out of sight. Draws of one element never run at the same time.
function drawWhenSeen(state, element, keys, draw) {
  let seen = false;
  let stale = true;
  let busy = false;
  async function update() {
    if (!seen || !stale || busy) return;
    busy = true;
    stale = false;
    element.dataset.busy = "true";
    await draw();
    busy = false;
    element.dataset.busy = "false";
    element.dataset.drawn = "true";
    update();
  }
  new IntersectionObserver(([entry]) => {
    seen = entry.isIntersecting;
    update();
  }, { rootMargin: "300px" }).observe(element);
  state.on(keys, () => {
    stale = true;
    update();
  });
}
