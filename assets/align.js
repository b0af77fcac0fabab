// The Align page: SM over histology and ST spots on two canvases. Manual changes are applied here at once; the server
// hears of them only through the store `align-manual`. While an alignment runs, its preview is fetched and drawn.
(() => {
  "use strict";
  const draw = window.SpatialMeta.draw;
  const STAGE = "align-stage";
  const IDENTITY = { flip: false, quarter_turns: 0, angle: 0, scale_x: 1, scale_y: 1, shift_x: 0, shift_y: 0 };
  const POLL_MS = 250;
  const s = {}; // everything of the page that is shown now

  function reset(stage) {
    Object.assign(s, {
      stage, scene: {}, params: { ...IDENTITY }, undo: [], tool: "move", mode: "manual", view: null, groups: [], range: [0, 1],
      outlineOnly: false, shown: { histology: 1, spots: 0.5, spotColor: "#5b6b80" }, live: null, aligned: null, picture: null,
      frames: 0,
    });
    stage.replaceChildren();
    for (const name of ["base", "overlay"]) {
      const canvas = document.createElement("canvas");
      canvas.className = `sm-${name}`;
      canvas.setAttribute("aria-hidden", "true");
      s[name] = stage.appendChild(canvas);
    }
    s.scaleBar = stage.appendChild(Object.assign(document.createElement("div"), { className: "sm-scale-bar" }));
    document.querySelectorAll("[data-param]").forEach(buildRow);
    s.observer?.disconnect();
    s.observer = new ResizeObserver(() => { s.view = null; paint(true); });
    s.observer.observe(stage);
    listen(stage);
  }

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

  function mounted() {
    const stage = document.getElementById(STAGE);
    if (stage && s.stage !== stage) reset(stage);
    return Boolean(stage);
  }

  // ---- geometry -------------------------------------------------------------------------------------------------

  // core.registration.manual_transform, as a matrix: raw SM coordinates -> full-resolution ST pixels.
  function manualMatrix(p, base) {
    const turn = (p.angle + 90 * p.quarter_turns) * draw.RAD;
    const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
    const [sx, sy] = [base.scale * p.scale_x * (p.flip ? -1 : 1), base.scale * p.scale_y];
    const linear = [cos * sx, sin * sx, -sin * sy, cos * sy, 0, 0];
    const [x, y] = draw.apply(linear, base.source[0], base.source[1]);
    return [...linear.slice(0, 4), base.target[0] + p.shift_x - x, base.target[1] + p.shift_y - y];
  }

  const matrix = () => manualMatrix(s.params, s.scene.base);

  function overlayXY() {
    if (s.mode === "live" && s.live) return s.live;
    if (s.mode === "result" && s.aligned) return s.aligned;
    return null;
  }

  // ---- painting -------------------------------------------------------------------------------------------------

  let queued = null;
  function paint(withBase = false) {
    const first = queued === null;
    queued = queued || withBase;
    if (first) requestAnimationFrame(() => { const base = queued; queued = null; paintNow(base); });
  }

  function paintNow(withBase) {
    if (!mounted() || !s.scene.st) return;
    if (!s.view) {
      s.view = draw.fitView(s.scene.box, s.stage.clientWidth, s.stage.clientHeight);
      withBase = true;
    }
    if (withBase) {
      draw.drawBase(s.base, s.view, s.scene, s.shown);
      const bar = draw.scaleBar(s.scene.um_per_px / s.view[0], s.stage.clientWidth / 5);
      s.scaleBar.style.width = `${bar.width}px`;
      s.scaleBar.textContent = bar.text;
    }
    const xy = overlayXY();
    if (xy) draw.drawPoints(s.overlay, s.view, xy, s.groups, s.scene.pixel_px);
    else if (s.picture) draw.drawRaster(s.overlay, s.view, matrix(), s.picture);
    s.frames += 1;
    s.stage.dataset.mode = s.mode;
    s.stage.dataset.frames = s.frames;
  }

  function remakeRaster() {
    if (s.scene.sm) s.picture = draw.raster(s.scene.sm, s.groups, s.scene.pitch);
    paint();
  }

  // ---- manual alignment -----------------------------------------------------------------------------------------

  const stored = () => `spatialmeta.align.${s.scene.key}`;

  function change(update, { remember = true } = {}) {
    if (remember) s.undo.push({ ...s.params });
    Object.assign(s.params, update);
    s.params.quarter_turns = ((s.params.quarter_turns % 4) + 4) % 4;
    s.params.angle = ((s.params.angle + 180) % 360 + 360) % 360 - 180;
    if (s.mode !== "live") setMode("manual");
    showParams();
    paint();
    publishSoon();
  }

  // the controls' values as core.registration.AlignConfig names them, and back
  const toConfig = (p) => ({
    flip: p.flip, rotation_deg: p.angle + 90 * p.quarter_turns, scale_x: p.scale_x, scale_y: p.scale_y,
    shift_x_um: p.shift_x * s.scene.um_per_px, shift_y_um: p.shift_y * s.scene.um_per_px,
  });

  function fromConfig(c) {
    if (c.rotation_deg === undefined) return {};
    const quarter_turns = Math.round(c.rotation_deg / 90);
    return {
      flip: c.flip, quarter_turns: ((quarter_turns % 4) + 4) % 4, angle: c.rotation_deg - 90 * quarter_turns,
      scale_x: c.scale_x, scale_y: c.scale_y, shift_x: c.shift_x_um / s.scene.um_per_px, shift_y: c.shift_y_um / s.scene.um_per_px,
    };
  }

  let publishing = 0;
  function publishSoon() {
    clearTimeout(publishing);
    publishing = setTimeout(() => {
      sessionStorage.setItem(stored(), JSON.stringify(s.params));
      window.dash_clientside.set_props("align-manual", { data: toConfig(s.params) });
    }, 120);
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

  const MOVES = {
    flip: () => change({ flip: !s.params.flip }),
    left: () => change({ quarter_turns: s.params.quarter_turns + 3 }),
    right: () => change({ quarter_turns: s.params.quarter_turns + 1 }),
    reset: () => change({ ...IDENTITY }),
    undo: () => s.undo.length && change(s.undo.pop(), { remember: false }),
    fit: () => { s.view = null; paint(true); },
    move: () => setTool("move"),
    pan: () => setTool("pan"),
    manual: () => setMode("manual"),
    result: () => s.aligned && setMode("result"),
  };

  function keyMove(event) {
    const far = event.shiftKey ? 10 : 1;
    const step = far * s.scene.spot_px / 2;
    const sign = event.shiftKey ? -1 : 1;
    const moves = {
      ArrowLeft: { shift_x: s.params.shift_x - step }, ArrowRight: { shift_x: s.params.shift_x + step },
      ArrowUp: { shift_y: s.params.shift_y - step }, ArrowDown: { shift_y: s.params.shift_y + step },
      r: { angle: s.params.angle + sign }, q: { quarter_turns: s.params.quarter_turns + sign },
      "+": scaled(1.01), "=": scaled(1.01), "-": scaled(1 / 1.01), f: { flip: !s.params.flip },
    };
    return moves[event.key] || moves[event.key.toLowerCase()];
  }

  const scaled = (factor) => ({ scale_x: s.params.scale_x * factor, scale_y: s.params.scale_y * factor });

  function setTool(tool) {
    s.tool = tool;
    s.stage.dataset.tool = tool;
    for (const name of ["move", "pan"]) {
      document.querySelector(`[data-align="${name}"]`)?.setAttribute("aria-pressed", String(name === tool));
    }
  }

  function setMode(mode) {
    s.mode = mode;
    for (const name of ["manual", "result"]) {
      const button = document.querySelector(`[data-align="${name}"]`);
      button?.setAttribute("aria-pressed", String(name === mode));
      if (button && name === "result") button.disabled = !s.aligned;
    }
    paint();
  }

  // ---- pointer and keys -----------------------------------------------------------------------------------------

  function listen(stage) {
    let drag = null;
    stage.addEventListener("pointerdown", (event) => {
      if (!s.view) return;
      const moving = s.tool === "move" && s.mode !== "live" && event.button === 0;
      drag = { x: event.clientX, y: event.clientY, start: { ...s.params }, view: [...s.view], moving };
      stage.setPointerCapture(event.pointerId);
      stage.focus({ preventScroll: true });
    });
    stage.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      if (drag.moving) {
        const shift = { shift_x: drag.start.shift_x + dx / s.view[0], shift_y: drag.start.shift_y + dy / s.view[0] };
        change(shift, { remember: false });
      } else {
        s.view = [...drag.view.slice(0, 4), drag.view[4] + dx, drag.view[5] + dy];
        paint(true);
      }
    });
    const stop = () => { if (drag?.moving) s.undo.push(drag.start); drag = null; };
    stage.addEventListener("pointerup", stop);
    stage.addEventListener("pointercancel", stop);
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (!s.view) return;
      const box = stage.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      const factor = Math.exp(-event.deltaY * 0.0015);
      s.view = draw.multiply([factor, 0, 0, factor, x - factor * x, y - factor * y], s.view);
      paint(true);
    }, { passive: false });
  }

  document.addEventListener("keydown", (event) => {
    if (!mounted() || !s.scene.base || event.altKey || event.metaKey) return;
    if (event.target !== document.body && !s.stage.contains(event.target)) return;
    if (event.ctrlKey) {
      if (event.key.toLowerCase() === "z") { event.preventDefault(); MOVES.undo(); }
      return;
    }
    if (event.key === "0") return MOVES.fit();
    const update = keyMove(event);
    if (update) { event.preventDefault(); change(update); }
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-align]");
    if (button && mounted() && s.scene.base) MOVES[button.dataset.align]?.();
  });

  // a new colour is typed over the old one
  document.addEventListener("focusin", (event) => event.target.id === "align-color" && event.target.select());

  document.addEventListener("input", (event) => {
    const row = event.target.closest?.("[data-param]");
    if (!row || !mounted() || !s.scene.base) return;
    const value = Number(event.target.value);
    if (event.target.value === "" || !Number.isFinite(value)) return;
    const name = row.dataset.param;
    if (name in s.shown) { s.shown[name] = value; return paint(true); }
    if (name === "overlay") { s.overlay.style.opacity = value; return; }
    if (name.startsWith("scale") && value <= 0) return;
    change({ [name]: name.startsWith("shift") ? value / s.scene.um_per_px : value });
  });

  // ---- data -----------------------------------------------------------------------------------------------------

  async function floats(url) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url}: ${response.status}`);
    return new Float32Array(await response.arrayBuffer());
  }

  function picture(url) {
    return new Promise((resolve) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => resolve(null);
      image.src = url;
    });
  }

  async function load(scene) {
    if (!scene || !mounted()) return null;
    const same = s.scene.key === scene.key;
    const [st, sm, aligned, image] = await Promise.all([
      floats(scene.st_url), floats(scene.sm_url), scene.aligned_url ? floats(scene.aligned_url) : null,
      scene.image ? picture(scene.image.url) : null,
    ]);
    if (!mounted()) return null;
    s.scene = { ...scene, st, sm, picture: image, box: draw.bounds(st) };
    s.aligned = aligned;
    if (!s.groups.length || s.count !== sm.length) colour(null);
    s.count = sm.length;
    if (!same) restore();
    fitSliders();
    setTool(s.tool);
    if (s.mode !== "live") setMode(aligned ? "result" : "manual");
    showParams();
    remakeRaster();
    paint(true);
    return { key: scene.key, pixels: sm.length / 2, spots: st.length / 2 };
  }

  function restore() {
    const saved = sessionStorage.getItem(stored());
    s.params = { ...IDENTITY, ...fromConfig(s.scene.start), ...(saved ? JSON.parse(saved) : {}) };
    s.undo = [];
    publishSoon();
  }

  // colour: {values_url} | {outline: [indices]} | null for one plain colour
  async function colour(choice) {
    const n = s.scene.sm.length / 2;
    if (choice?.values_url) {
      ({ range: s.range, groups: s.groups } = draw.buckets(await floats(choice.values_url)));
    } else {
      s.groups = [{ color: "#e8833a", index: choice?.outline || Array.from({ length: n }, (_, i) => i) }];
    }
    const legend = document.getElementById("align-legend");
    if (legend) {
      legend.hidden = !choice?.values_url;
      legend.querySelector("[data-low]").textContent = s.range[0].toPrecision(3);
      legend.querySelector("[data-high]").textContent = s.range[1].toPrecision(3);
      legend.querySelector("[data-label]").textContent = choice?.label || "";
    }
    remakeRaster();
  }

  // ---- a running job --------------------------------------------------------------------------------------------

  let following = null;
  function follow(job) {
    const id = job && ["running", "cancelling"].includes(job.state) ? job.id : null;
    if (id === following) return;
    following = id;
    if (id) poll(id);
    else if (s.mode === "live") { s.live = null; setMode(s.aligned ? "result" : "manual"); }
  }

  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  // a job has its first preview with its first numbers; before that there is nothing to ask for
  async function begun(id) {
    const response = await fetch(`/api/jobs/${id}/events`).catch(() => null);
    return Boolean(response && response.ok && (await response.json()).events.length);
  }

  async function poll(id) {
    while (following === id && mounted() && !(await begun(id))) await pause(POLL_MS);
    let tag = null;
    while (following === id && mounted()) {
      const began = performance.now();
      const headers = tag ? { "If-None-Match": tag } : {};
      const response = await fetch(`/api/jobs/${id}/preview/alignment`, { headers }).catch(() => null);
      if (response && response.status === 200 && following === id && s.scene.sm) {
        tag = response.headers.get("ETag");
        show(await response.arrayBuffer(), response.headers.get("X-Arrays"));
      }
      await pause(Math.max(0, POLL_MS - (performance.now() - began)));
    }
  }

  function show(bytes, described) {
    const entry = JSON.parse(described || "[]").find((a) => a.name === "xy") || { offset: 0, shape: [s.scene.sm.length / 2, 2] };
    const count = entry.shape[0] * 2;
    if (count !== s.scene.sm.length) return;
    s.live = new Float32Array(bytes, entry.offset || 0, count);
    setMode("live");
    s.stage.dataset.previews = Number(s.stage.dataset.previews || 0) + 1;
  }

  window.SpatialMeta.align = {
    manualMatrix,
    state: () => ({ params: { ...s.params }, mode: s.mode, frames: s.frames, view: s.view, tool: s.tool }),
    xy: (index) => {
      const at = (i) => [s.scene.sm[2 * i], s.scene.sm[2 * i + 1]];
      const xy = overlayXY();
      return index.map((i) => (xy ? [xy[2 * i], xy[2 * i + 1]] : draw.apply(matrix(), ...at(i))));
    },
  };
  window.dash_clientside = Object.assign(window.dash_clientside || {}, {
    align: {
      load: (scene) => load(scene),
      colour: async (choice, ready) => { if (ready && mounted()) await colour(choice); return window.dash_clientside.no_update; },
      follow: (job) => { follow(job); return window.dash_clientside.no_update; },
    },
  });
})();
