// The Align page, by hand: flip, turns, scales and shift as the person sets them, with undo and redo. Applied in the
// browser at once; the server hears of them only through the store `align-manual`.
(() => {
  "use strict";
  const A = (window.SpatialMeta.alignPage = window.SpatialMeta.alignPage || {});
  const draw = window.SpatialMeta.draw;
  const IDENTITY = { flip: false, quarter_turns: 0, angle: 0, scale_x: 1, scale_y: 1, shift_x: 0, shift_y: 0 };
  const TOGETHER_MS = 600; // changes by one slider within this time are one step of undo
  const s = (A.s = A.s || {});

  // core.registration.manual_transform, as a matrix: raw SM coordinates -> full-resolution ST pixels.
  function manualMatrix(p, base) {
    const turn = (p.angle + 90 * p.quarter_turns) * draw.RAD;
    const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
    const [sx, sy] = [base.scale * p.scale_x * (p.flip ? -1 : 1), base.scale * p.scale_y];
    const linear = [cos * sx, sin * sx, -sin * sy, cos * sy, 0, 0];
    const [x, y] = draw.apply(linear, base.source[0], base.source[1]);
    return [...linear.slice(0, 4), base.target[0] + p.shift_x - x, base.target[1] + p.shift_y - y];
  }

  // the controls' values that come nearest to an affine map: what is left out is its shear
  function fromMatrix(m, base) {
    const flip = m[0] * m[3] - m[1] * m[2] < 0;
    const [x, y] = draw.apply(m, base.source[0], base.source[1]);
    return {
      ...turned(Math.atan2(-m[2], m[3]) / draw.RAD), flip, scale_x: Math.hypot(m[0], m[1]) / base.scale,
      scale_y: Math.hypot(m[2], m[3]) / base.scale, shift_x: x - base.target[0], shift_y: y - base.target[1],
    };
  }

  function turned(degrees) {
    const quarters = Math.round(degrees / 90);
    return { quarter_turns: ((quarters % 4) + 4) % 4, angle: degrees - 90 * quarters };
  }

  // the controls' values as core.registration.AlignConfig names them, and back
  const toConfig = (p) => ({
    flip: p.flip, rotation_deg: p.angle + 90 * p.quarter_turns, scale_x: p.scale_x, scale_y: p.scale_y,
    shift_x_um: p.shift_x * s.scene.um_per_px, shift_y_um: p.shift_y * s.scene.um_per_px,
  });

  function fromConfig(c) {
    if (c.rotation_deg === undefined) return {};
    return {
      flip: c.flip, ...turned(c.rotation_deg), scale_x: c.scale_x, scale_y: c.scale_y,
      shift_x: c.shift_x_um / s.scene.um_per_px, shift_y: c.shift_y_um / s.scene.um_per_px,
    };
  }

  // ---- changes, undo and redo -------------------------------------------------------------------------------------

  const snapshot = () => ({ params: { ...s.params }, marks: s.marks.map((row) => [...row]), pending: s.pending });

  // call before a change; changes of one `name` that follow each other quickly are one
  function remember(name = null, before = snapshot()) {
    const now = performance.now();
    const goesOn = name !== null && name === s.lastName && now - s.lastChange < TOGETHER_MS;
    Object.assign(s, { lastName: name, lastChange: now });
    if (goesOn) return;
    s.undo.push(before);
    s.redo = [];
  }

  function back(from, to) {
    if (!from.length) return;
    to.push(snapshot());
    const { params, marks, pending } = from.pop();
    const moved = JSON.stringify(params) !== JSON.stringify(s.params);
    s.lastName = null;
    s.pending = pending;
    A.setMarks(marks, { remember: false });
    if (moved) change(params, { remember: false });
  }

  function change(update, { remember: keep = true, name = null } = {}) {
    if (keep) remember(name);
    Object.assign(s.params, update);
    s.params.quarter_turns = ((s.params.quarter_turns % 4) + 4) % 4;
    s.params.angle = ((s.params.angle + 180) % 360 + 360) % 360 - 180;
    s.byHand = true;
    if (s.mode !== "live") A.setMode("manual");
    showParams();
    A.paint();
    publishSoon();
  }

  const stored = () => `spatialmeta.align.${s.scene.key}`;

  let publishing = 0;
  function publishSoon() {
    if (s.byHand) sessionStorage.setItem(stored(), JSON.stringify(s.params));
    clearTimeout(publishing);
    publishing = setTimeout(publish, 120);
  }

  function publish() {
    clearTimeout(publishing);
    publishing = 0;
    window.SpatialMeta.setProps("align-manual", { data: toConfig(s.params) });
  }

  // what is set within the last tenth of a second before a run is begun counts too
  document.addEventListener("click", (event) => {
    if (publishing && event.target.closest?.("#align-use, #align-save")) publish();
  }, true);

  // what was set before in this tab, else the alignment in use, else nothing
  function restore() {
    const saved = sessionStorage.getItem(stored());
    s.byHand = Boolean(saved);
    s.params = { ...IDENTITY, ...fromConfig(s.scene.start), ...(saved ? JSON.parse(saved) : {}) };
    if (!saved && s.aligned && s.scene.start.rotation_deg === undefined) Object.assign(s.params, aligned());
    Object.assign(s, { undo: [], redo: [] });
    showParams();
    publishSoon();
  }

  const aligned = () => fromMatrix(draw.affineOf(s.scene.sm, s.aligned), s.scene.base);

  // ---- controls -----------------------------------------------------------------------------------------------------

  // a row of the page becomes label, slider, number and unit
  function buildRow(row) {
    if (row.firstChild) return;
    const about = row.dataset;
    const make = (tag, props) => row.appendChild(Object.assign(document.createElement(tag), props));
    const label = make("span", { textContent: about.label, id: `align-label-${about.param}` });
    for (const type of about.only ? [about.only] : ["range", "number"]) {
      const { min, max, step, value } = about;
      const limits = type === "range" ? { min, max, step } : { step: "any" };
      const input = make("input", { type, className: type === "range" ? "form-range" : "form-control", ...limits, value });
      input.setAttribute("aria-labelledby", label.id);
      if (about.unit) input.title = `${about.label}, ${about.unit}`;
    }
    if (about.unit) make("span", { textContent: about.unit, className: "sm-unit" });
  }

  // shifts reach as far as the section is wide
  function fitSliders() {
    const reach = Math.ceil(Math.max(s.scene.box.width, s.scene.box.height) * s.scene.um_per_px / 100) * 100;
    document.querySelectorAll('[data-param^="shift"] input[type="range"]').forEach((input) => {
      Object.assign(input, { min: -reach, max: reach });
    });
  }

  const shown = (name) => {
    const value = s.params[name];
    if (name.startsWith("shift")) return Math.round(value * s.scene.um_per_px);
    return Number(value.toFixed(name.startsWith("scale") ? 3 : 1));
  };

  function showParams() {
    for (const name of ["angle", "scale_x", "scale_y", "shift_x", "shift_y"]) {
      document.querySelectorAll(`[data-param="${name}"] input`).forEach((input) => {
        if (input !== document.activeElement || input.type === "range") input.value = shown(name);
      });
    }
    document.querySelector('[data-align="flip"]')?.setAttribute("aria-pressed", String(s.params.flip));
    const turns = document.getElementById("align-turns");
    if (turns) turns.textContent = `${90 * s.params.quarter_turns}°`;
  }

  // a slider or number of the page was moved
  function input(name, target) {
    const value = Number(target.value);
    if (target.value === "" || !Number.isFinite(value) || (name.startsWith("scale") && value <= 0)) return;
    const update = { [name]: name.startsWith("shift") ? value / s.scene.um_per_px : value };
    change(update, { name: target.type === "range" ? name : null });
  }

  const scaled = (factor) => ({ scale_x: s.params.scale_x * factor, scale_y: s.params.scale_y * factor });

  function key(event) {
    const step = (event.shiftKey ? 10 : 1) * s.scene.spot_px / 2;
    const sign = event.shiftKey ? -1 : 1;
    const p = s.params;
    const moves = {
      ArrowLeft: { shift_x: p.shift_x - step }, ArrowRight: { shift_x: p.shift_x + step },
      ArrowUp: { shift_y: p.shift_y - step }, ArrowDown: { shift_y: p.shift_y + step },
      r: { angle: p.angle + sign }, q: { quarter_turns: p.quarter_turns + sign },
      "+": scaled(1.01), "=": scaled(1.01), "-": scaled(1 / 1.01), f: { flip: !p.flip },
    };
    const update = moves[event.key] || moves[event.key.toLowerCase()];
    if (update) change(update);
    return Boolean(update);
  }

  // a drag of the overlay: with Shift it turns about its centre
  function dragged(drag, event) {
    const p = drag.start.params;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.turn) {
      return change({ shift_x: p.shift_x + dx / s.view[0], shift_y: p.shift_y + dy / s.view[0] }, { remember: false });
    }
    const box = s.panes[0].element.getBoundingClientRect();
    const base = s.scene.base;
    const [cx, cy] = draw.apply(s.view, base.target[0] + p.shift_x, base.target[1] + p.shift_y);
    const at = (x, y) => Math.atan2(y - box.top - cy, x - box.left - cx) / draw.RAD;
    return change({ angle: p.angle + at(event.clientX, event.clientY) - at(drag.x, drag.y) }, { remember: false });
  }

  Object.assign(A.actions = A.actions || {}, {
    flip: () => change({ flip: !s.params.flip }),
    left: () => change({ quarter_turns: s.params.quarter_turns + 3 }),
    right: () => change({ quarter_turns: s.params.quarter_turns + 1 }),
    reset: () => change({ ...IDENTITY }),
    take: () => s.aligned && change(aligned()),
    undo: () => back(s.undo, s.redo),
    redo: () => back(s.redo, s.undo),
  });
  Object.assign(A, {
    manualMatrix, snapshot, remember, restore, buildRow, fitSliders, showParams,
    manual: { IDENTITY, input, key, dragged, matrix: () => manualMatrix(s.params, s.scene.base) },
  });
})();
