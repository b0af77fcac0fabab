// The Align page: what is shown and how it is drawn. SM over histology and ST spots on two canvases a pane; a second
// pane stands beside the first for landmark pairs and for two runs. Its other scripts: align-manual, align-landmarks,
// align-live, align-compare; they share the state `s` and the functions of `A`.
(() => {
  "use strict";
  const A = (window.SpatialMeta.alignPage = window.SpatialMeta.alignPage || {});
  const draw = window.SpatialMeta.draw;
  const STAGE = "align-stage";
  const MODES = ["pairs", "manual", "landmarks", "result"]; // and live, compare
  const CELL_SPOTS = 12; // side of a checkerboard's square, spot diameters
  const PLAIN = "#e8833a";
  const s = (A.s = A.s || {}); // everything of the page that is shown now
  const all = (selector) => document.querySelectorAll(selector);

  function reset(stage) {
    Object.assign(s, {
      stage, scene: {}, params: { ...A.manual.IDENTITY }, undo: [], redo: [], tool: "move", mode: "manual", look: "blend",
      swipe: 0.5, view: null, looked: false, groups: [], range: [0, 1], shown: { histology: 1, spots: 0.5, spotColor: "#5b6b80" },
      opacity: 0.6, live: null, aligned: null, picture: null, frames: 0, marks: [], pending: null, marked: null,
      published: undefined, cursor: null, hot: null, compared: null, compare: null, arrivals: [],
    });
    s.panes = [stage, document.getElementById("align-second")].map(makePane);
    all("[data-param]").forEach(A.buildRow);
    s.observer?.disconnect();
    s.observer = new ResizeObserver(() => { s.view = null; A.paint(true); });
    s.observer.observe(stage);
    s.panes.forEach(listen);
    listenSwipe(document.querySelector(".sm-swipe"));
  }

  function makePane(element) {
    element.replaceChildren();
    const pane = { element };
    for (const name of ["base", "overlay"]) {
      const canvas = Object.assign(document.createElement("canvas"), { className: `sm-${name}` });
      canvas.setAttribute("aria-hidden", "true");
      pane[name] = element.appendChild(canvas);
    }
    pane["pane-name"] = element.appendChild(Object.assign(document.createElement("div"), { className: "sm-pane-name" }));
    pane.scale = element.appendChild(Object.assign(document.createElement("div"), { className: "sm-scale sm-veil" }));
    pane.scale.innerHTML = '<div class="sm-scale-line"></div><div class="sm-scale-text"></div>';
    return pane;
  }

  A.mounted = () => {
    const stage = document.getElementById(STAGE);
    if (stage && s.stage !== stage) reset(stage);
    return Boolean(stage);
  };

  // ---- painting -----------------------------------------------------------------------------------------------------

  // what each pane shows: the base (histology and ST spots), SM through an affine `matrix` or at `xy`, marks of a side
  function contents() {
    const { mode } = s;
    if (mode === "live" && s.live) return [{ base: true, xy: s.live }];
    if (mode === "result" && s.aligned) return [{ base: true, xy: s.aligned }];
    if (mode === "compare") return A.compare.contents();
    if (mode === "landmarks" && s.marked?.matrix) return [{ base: true, matrix: s.marked.matrix, fit: true }];
    if (mode === "landmarks" && s.markedXY) return [{ base: true, xy: s.markedXY, fit: true }];
    const matrix = A.manual.matrix();
    if (mode !== "pairs") return [{ base: true, matrix }];
    return [{ matrix, side: "sm", name: "SM" }, { base: true, side: "st", name: "ST" }];
  }

  let queued = null;
  A.paint = (withBase = false) => {
    const first = queued === null;
    queued = queued || withBase;
    if (first) requestAnimationFrame(() => { const base = queued; queued = null; paintNow(base); });
  };

  // ST, and SM where it lies
  function whole(shown) {
    const corners = shown.filter((content) => content.matrix).flatMap(({ matrix }) => {
      const { x0, y0, x1, y1 } = s.scene.smBox;
      return [[x0, y0], [x1, y0], [x0, y1], [x1, y1]].flatMap(([x, y]) => draw.apply(matrix, x, y));
    });
    const { x0, y0, x1, y1 } = s.scene.box;
    const placed = shown.filter((content) => content.xy).flatMap(({ xy }) => {
      const box = draw.bounds(xy);
      return [box.x0, box.y0, box.x1, box.y1];
    });
    return draw.bounds([x0, y0, x1, y1, ...corners, ...placed]);
  }

  function paintNow(withBase) {
    if (!A.mounted() || !s.scene.st) return;
    const shown = contents();
    if (!s.view) {
      s.view = draw.fitView(whole(shown), s.stage.clientWidth, s.stage.clientHeight);
      withBase = true;
    }
    shown.forEach((content, i) => paintPane(s.panes[i], content, withBase, shown.length > 1));
    s.frames += 1;
    s.stage.dataset.mode = s.mode;
    s.stage.dataset.frames = s.frames;
  }

  function paintPane(pane, content, withBase, beside) {
    if (withBase) {
      if (content.base) draw.drawBase(pane.base, s.view, s.scene, s.shown);
      else draw.clear(pane.base);
      window.SpatialMeta.showScale(pane.scale, s.scene.um_per_px / s.view[0], pane.element.clientWidth / 5);
    }
    if (pane["pane-name"].textContent !== (content.name || "")) pane["pane-name"].textContent = content.name || "";
    const look = beside ? "blend" : s.look;
    pane.overlay.style.opacity = look === "blend" && !content.side ? s.opacity : 1;
    if (content.xy) draw.drawPoints(pane.overlay, s.view, content.xy, s.groups, s.scene.pixel_px);
    else if (content.matrix && s.picture) draw.drawRaster(pane.overlay, s.view, content.matrix, s.picture);
    else draw.clear(pane.overlay);
    draw.mask(pane.overlay, look, s.view, { swipe: s.swipe, cell: CELL_SPOTS * s.scene.spot_px });
    if (content.side || content.fit) A.marks.paint(pane, content);
  }

  function remakeRaster() {
    if (s.scene.sm) s.picture = draw.raster(s.scene.sm, s.groups, s.scene.pitch);
    A.paint();
  }

  // ---- what is shown ------------------------------------------------------------------------------------------------

  A.setMode = (mode) => {
    if (mode !== "compare" && s.mode === "compare") A.compare.stop();
    s.mode = mode;
    const two = mode === "pairs" || (mode === "compare" && s.compare === "beside");
    const [, second] = s.panes;
    if (second.element.hidden === two) {
      second.element.hidden = !two;
      s.view = null; // the first pane changes its width
    }
    s.stage.closest(".sm-canvas").dataset.mode = mode;
    document.querySelector(".sm-live").hidden = mode !== "live";
    document.querySelector(".sm-swipe").hidden = two || s.look !== "swipe";
    for (const name of MODES) {
      const button = document.querySelector(`.sm-toolbar [data-align="${name}"]`);
      button?.setAttribute("aria-pressed", String(name === mode));
      if (button && name === "result") button.disabled = !s.aligned;
    }
    A.paint(true);
  };

  function setTool(tool) {
    s.tool = tool;
    s.panes.forEach((pane) => { pane.element.dataset.tool = tool; });
    for (const name of ["move", "pan"]) {
      document.querySelector(`[data-align="${name}"]`)?.setAttribute("aria-pressed", String(name === tool));
    }
  }

  function setLook(look) {
    s.look = look;
    all("[data-look]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.look === look)));
    A.setMode(s.mode);
  }

  function setTab(tab) {
    all("[data-tab]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.tab === tab)));
    all("[data-way]").forEach((way) => { way.hidden = way.dataset.way !== tab; });
    if (s.mode === "live") return;
    const modes = { hand: "manual", landmarks: "pairs", automatic: s.aligned ? "result" : "manual" };
    A.setMode(modes[tab]);
  }

  const actions = Object.assign(A.actions = A.actions || {}, {
    fit: () => { s.view = null; s.looked = false; A.paint(true); },
    move: () => setTool("move"),
    pan: () => setTool("pan"),
    pairs: () => A.setMode("pairs"),
    manual: () => A.setMode("manual"),
    landmarks: () => A.setMode("landmarks"),
    result: () => s.aligned && A.setMode("result"),
  });

  // ---- pointer and keys ---------------------------------------------------------------------------------------------

  function listen(pane) {
    const stage = pane.element;
    let drag = null;
    const at = (event) => {
      const box = stage.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const side = () => (s.mode === "pairs" ? (pane === s.panes[0] ? "sm" : "st") : null);
    stage.addEventListener("pointerdown", (event) => {
      if (!s.view) return;
      const moving = s.tool === "move" && s.mode === "manual" && event.button === 0;
      const mark = side() && event.button === 0 ? A.marks.grasped(side(), ...at(event)) : -1;
      drag = {
        x: event.clientX, y: event.clientY, start: A.snapshot(), view: [...s.view], moving, mark, turn: event.shiftKey,
        button: event.button, far: false,
      };
      stage.setPointerCapture(event.pointerId);
      stage.focus({ preventScroll: true });
    });
    stage.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      drag.far = drag.far || Math.hypot(dx, dy) > 4;
      if (drag.moving) return A.manual.dragged(drag, event);
      if (!drag.far) return;
      if (drag.mark >= 0) return A.marks.move(side(), drag.mark, ...at(event));
      s.looked = true;
      s.view = [...drag.view.slice(0, 4), drag.view[4] + dx, drag.view[5] + dy];
      A.paint(true);
    });
    const stop = (event) => {
      if (!drag) return;
      const { moving, far, mark, start, button } = drag;
      drag = null;
      if (moving && far) A.remember(null, start);
      else if (mark >= 0 && far) { A.remember(null, start); A.marks.publish(); }
      else if (side() && mark < 0 && !far && button === 0 && event.type === "pointerup") A.marks.set(side(), ...at(event));
    };
    stage.addEventListener("pointerup", stop);
    stage.addEventListener("pointercancel", stop);
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (!s.view) return;
      const [x, y] = at(event);
      const factor = Math.exp(-event.deltaY * 0.0015);
      s.looked = true;
      s.view = draw.multiply([factor, 0, 0, factor, x - factor * x, y - factor * y], s.view);
      A.paint(true);
    }, { passive: false });
  }

  function listenSwipe(handle) {
    const move = (share) => {
      s.swipe = Math.max(0, Math.min(1, share));
      handle.style.left = `${100 * s.swipe}%`;
      handle.setAttribute("aria-valuenow", String(Math.round(100 * s.swipe)));
      A.paint();
    };
    handle.addEventListener("pointerdown", (event) => handle.setPointerCapture(event.pointerId));
    handle.addEventListener("pointermove", (event) => {
      const box = s.stage.getBoundingClientRect();
      if (handle.hasPointerCapture(event.pointerId)) move((event.clientX - box.left) / box.width);
    });
    handle.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
      if (step) { event.preventDefault(); event.stopPropagation(); move(s.swipe + step); }
    });
  }

  document.addEventListener("keydown", (event) => {
    if (!A.mounted() || !s.scene.base || event.altKey || event.metaKey) return;
    const pane = s.panes.find((one) => one.element.contains(event.target));
    if (event.target !== document.body && !pane) return;
    if (event.ctrlKey) {
      const undo = event.key.toLowerCase() === "z" && !event.shiftKey;
      const redo = event.key.toLowerCase() === "y" || (event.key.toLowerCase() === "z" && event.shiftKey);
      if (undo || redo) { event.preventDefault(); actions[undo ? "undo" : "redo"](); }
      return;
    }
    if (event.key === "0") { actions.fit(); return; }
    const done = s.mode === "pairs" ? pane && A.marks.key(event, pane) : s.mode === "manual" && A.manual.key(event);
    if (done) event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-align], [data-tab], [data-look]");
    if (!button || !A.mounted() || !s.scene.base) return;
    if (button.dataset.tab) setTab(button.dataset.tab);
    else if (button.dataset.look) setLook(button.dataset.look);
    else actions[button.dataset.align]?.();
  });

  // a new colour is typed over the old one
  document.addEventListener("focusin", (event) => event.target.id === "align-color" && event.target.select());

  document.addEventListener("input", (event) => {
    const name = event.target.closest?.("[data-param]")?.dataset.param;
    if (!name || !A.mounted() || !s.scene.base) return;
    if (name in s.shown) { s.shown[name] = Number(event.target.value); A.paint(true); }
    else if (name === "overlay") { s.opacity = Number(event.target.value); A.paint(); }
    else A.manual.input(name, event.target);
  });

  // ---- data ---------------------------------------------------------------------------------------------------------

  A.floats = async (url) => {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url}: ${response.status}`);
    return new Float32Array(await response.arrayBuffer());
  };

  function picture(url) {
    return new Promise((resolve) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => resolve(null);
      image.src = url;
    });
  }

  async function load(scene) {
    if (!scene || !A.mounted()) return null;
    const same = s.scene.key === scene.key;
    const [st, sm, aligned, image] = await Promise.all([
      A.floats(scene.st_url), A.floats(scene.sm_url), scene.aligned_url ? A.floats(scene.aligned_url) : null,
      scene.image ? picture(scene.image.url) : null,
    ]);
    if (!A.mounted()) return null;
    s.scene = { ...scene, st, sm, picture: image, box: draw.bounds(st), smBox: draw.bounds(sm) };
    if (aligned !== s.aligned && !s.looked) s.view = null; // all of it is seen, unless somebody looks at a detail
    s.aligned = aligned;
    all('[data-param="histology"]').forEach((row) => { row.hidden = !image; });
    if (!s.groups.length || s.count !== sm.length) colour(null);
    s.count = sm.length;
    if (!same || !s.byHand) A.restore();
    if (!same) A.restoreMarks();
    A.fitSliders();
    setTool(s.tool);
    if (s.mode !== "live") A.setMode(aligned ? "result" : "manual");
    A.showParams();
    remakeRaster();
    return { key: scene.key, pixels: sm.length / 2, spots: st.length / 2 };
  }

  // three digits; an exponent only where there are many more
  const short = (v) => (Math.abs(v) < 1e6 ? Number(v.toPrecision(3)).toLocaleString("en") : v.toPrecision(3));

  // colour: {values_url} | {components_url, shown: 1 or 3} | {outline: [indices]} | null for one plain colour
  async function colour(choice) {
    const n = s.scene.sm.length / 2;
    const ramp = choice?.values_url || choice?.shown === 1;
    if (choice?.components_url) {
      const scores = await A.floats(choice.components_url);
      if (choice.shown === 3) s.groups = draw.rgb(scores);
      else ({ range: s.range, groups: s.groups } = draw.buckets(scores.filter((_, i) => i % 3 === 0)));
    } else if (choice?.values_url) {
      ({ range: s.range, groups: s.groups } = draw.buckets(await A.floats(choice.values_url)));
    } else {
      s.groups = [{ color: PLAIN, index: choice?.outline || Array.from({ length: n }, (_, i) => i) }];
    }
    const legend = document.getElementById("align-legend");
    if (legend) {
      legend.hidden = !ramp;
      legend.querySelector("[data-low]").textContent = short(s.range[0]);
      legend.querySelector("[data-high]").textContent = short(s.range[1]);
      legend.querySelector("[data-label]").textContent = choice?.label || "";
    }
    remakeRaster();
  }

  window.SpatialMeta.align = {
    manualMatrix: A.manualMatrix,
    state: () => ({
      params: { ...s.params }, mode: s.mode, look: s.look, frames: s.frames, view: s.view, tool: s.tool, marks: s.marks,
      marked: s.marked, arrivals: s.arrivals, told: s.told, colours: s.groups.filter((g) => g.index.length).length,
    }),
    xy: (index) => {
      const { xy, matrix } = contents()[0];
      const at = (i) => [s.scene.sm[2 * i], s.scene.sm[2 * i + 1]];
      return index.map((i) => (xy ? [xy[2 * i], xy[2 * i + 1]] : draw.apply(matrix, ...at(i))));
    },
  };
  const nothing = () => window.dash_clientside.no_update;
  window.dash_clientside = Object.assign(window.dash_clientside || {}, {
    align: {
      load: (scene) => load(scene),
      colour: async (choice, ready) => { if (ready && A.mounted()) await colour(choice); return nothing(); },
      follow: (job) => { A.follow(job); return nothing(); },
      marks: (rows, marked, ready) => { if (ready && A.mounted()) A.marks.take(rows, marked); return nothing(); },
      compared: async (sides) => { if (A.mounted()) await A.compare.compared(sides); return nothing(); },
    },
  });
})();
