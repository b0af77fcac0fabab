// The Align page: two runs beside each other with the same view, or one after the other in the same place.
(() => {
  "use strict";
  const SM = (window.SpatialMeta = window.SpatialMeta || {}); // the first of these scripts to load
  const A = (SM.alignPage = SM.alignPage || {});
  const s = (A.s = A.s || {});
  const FLICKER_MS = 700;
  let timer = 0;

  // store `align-compared` {a: {url, name}, b: {…}} -> the pixels of both
  async function compared(sides) {
    const arrays = {};
    for (const side of ["a", "b"]) {
      if (!sides?.[side]) return leave(null);
      arrays[side] = { name: sides[side].name, xy: await A.floats(sides[side].url) };
    }
    s.compared = arrays;
    if (s.mode === "compare") A.paint();
    return null;
  }

  function leave(mode = s.aligned ? "result" : "manual") {
    clearInterval(timer);
    s.compare = null;
    press();
    if (mode) A.setMode(mode);
    else s.compared = null;
  }

  function press() {
    for (const how of ["beside", "flicker"]) {
      document.querySelector(`[data-align="${how}"]`)?.setAttribute("aria-pressed", String(s.compare === how));
    }
  }

  function enter(how) {
    if (!s.compared) return;
    if (s.compare === how) { leave(); return; }
    clearInterval(timer);
    Object.assign(s, { compare: how, flick: "a" });
    press();
    A.setMode("compare");
    if (how === "flicker") {
      timer = setInterval(() => {
        if (!A.mounted() || s.mode !== "compare") { clearInterval(timer); return; }
        s.flick = s.flick === "a" ? "b" : "a";
        A.paint();
      }, FLICKER_MS);
    }
  }

  // what the panes show
  function contents() {
    const one = (side) => ({ base: true, xy: s.compared[side].xy, name: `${side.toUpperCase()} · ${s.compared[side].name}` });
    if (!s.compared) return [{ base: true }];
    return s.compare === "beside" ? [one("a"), one("b")] : [one(s.flick)];
  }

  Object.assign(A.actions = A.actions || {}, { beside: () => enter("beside"), flicker: () => enter("flicker") });
  A.compare = { compared, contents, stop: () => { clearInterval(timer); s.compare = null; press(); } };
})();
