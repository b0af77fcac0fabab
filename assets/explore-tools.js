/* Drawing on the tissue: an SVG over the painted view takes every pointer and key. Shapes stay in full-resolution
 * pixels; one transform puts them on the screen, so a zoom moves a thousand regions by one attribute. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const SVG = "http://www.w3.org/2000/svg";
  const CLICK_PX = 5; // less movement than this is a click
  const SMOOTH_PX = 1; // how far a simplified freehand line may lie from the hand's
  const NUDGE_PX = 40;
  const ARROW_PX = 110; // between two arrow heads of a path
  const KEYS = { v: "select", b: "box", l: "lasso", r: "region", p: "polygon", u: "brush", t: "trajectory" };
  const OPS = { 1: "set", 2: "add", 3: "subtract", 4: "intersect" }; // what a drawing does to what is there
  const BRUSH = { least: 4, usual: 24, most: 200, step: 1.25 }; // radius on the screen
  // [words, key] pairs: what one may do next
  const HINTS = {
    box: [["Drag a box"], ["Add", "Shift"], ["Subtract", "Alt"], ["Intersect", "Shift Alt"]],
    lasso: [["Draw around spots"], ["Add", "Shift"], ["Subtract", "Alt"], ["Intersect", "Shift Alt"]],
    region: [["Draw around an area: a new region"], ["Add to the shown one", "Shift"], ["Cut from it", "Alt"]],
    brush: [["Paint a region"], ["Erase", "Alt"], ["Size", "[ ]"]],
    polygon: [["Click corners"], ["Close", "Enter"], ["Back", "⌫"], ["Cancel", "Esc"]],
    trajectory: [["Draw a path or click points"], ["End", "Enter"], ["Cancel", "Esc"]],
  };

  function svg(name, attributes = {}, parent = null) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (parent) parent.appendChild(node);
    return node;
  }

  const text = (points) => points.map((p) => p.join(",")).join(" ");

  /** Rings (regions, one or several) or the line (trajectory) of a feature, closing points left out. */
  function parts(feature) {
    const { type, coordinates } = feature.geometry;
    if (type === "LineString") return [coordinates];
    const rings = type === "Polygon" ? coordinates : coordinates.flat();
    return rings.map(ns.geometry.open);
  }

  function withParts(feature, changed) {
    const { type, coordinates } = feature.geometry;
    if (type === "LineString") return { type, coordinates: changed[0] };
    const rings = changed.map(ns.geometry.close);
    if (type === "Polygon") return { type, coordinates: rings };
    let next = 0;
    return { type, coordinates: coordinates.map((polygon) => polygon.map(() => rings[next++])) };
  }

  class Tools {
    /** `actions`: what the page does with a drawing: select(step), add(geometry, kind), edit(id, geometry), activate(id),
     *  merge(geometry, op): with the active region, paint(line, radius, op), hover(event). `drawable`: a view of numbers (UMAP) has lasso and box only. */
    constructor(view, host, actions, { drawable = true } = {}) {
      Object.assign(this, { view, actions, drawable, tool: "select", op: "set", radius: BRUSH.usual, features: [], active: null, draft: [], nodes: new Map() });
      this.root = svg("svg", { class: "ex-overlay", "aria-hidden": "true" });
      this.world = svg("g", {}, this.root);
      this.screen = svg("g", {}, this.root);
      this.sketch = svg("g", {}, this.root);
      host.replaceChildren(this.root);
      this.listen();
      view.onMove(() => this.place());
      this.place();
    }

    listen() {
      const root = this.root;
      root.addEventListener("pointerdown", (e) => this.down(e));
      root.addEventListener("pointermove", (e) => this.move(e));
      root.addEventListener("pointerup", (e) => this.up(e));
      root.addEventListener("pointercancel", () => this.cancel());
      root.addEventListener("pointerleave", () => this.actions.hover(null));
      root.addEventListener("dblclick", (e) => this.doubleClick(e));
      root.addEventListener("contextmenu", (e) => e.preventDefault());
      root.addEventListener("wheel", (e) => {
        e.preventDefault();
        this.view.zoomAt(this.view.local(e), Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0015)));
      }, { passive: false });
      this.view.stage.addEventListener("keydown", (e) => this.viewKey(e));
    }

    use(tool) {
      this.cancel();
      this.tool = tool;
      this.root.dataset.tool = tool;
      this.render();
    }

    // --- painting ---------------------------------------------------------------------------------------------
    show(features, active) {
      this.features = features;
      this.active = active;
      this.render();
    }

    /** The feature as it is being edited, else as it is saved. */
    current(feature) {
      return this.edited && this.edited.id === feature.id ? this.edited : feature;
    }

    /** Only what changed is drawn anew: among a thousand regions a hand moves one. */
    render() {
      const kept = this.nodes;
      this.nodes = new Map();
      const nodes = this.features.map((saved) => {
        const drawn = this.draw(this.current(saved), kept.get(saved.id));
        this.nodes.set(saved.id, drawn);
        return drawn.node;
      });
      ns.patch(this.world, nodes);
      this.place();
    }

    draw(feature, before) {
      const active = feature.id === this.active;
      const { kind, color, width_um } = feature.properties;
      const key = JSON.stringify([active, kind, color, width_um, feature.geometry]);
      if (before?.key === key) return before;
      return { key, node: kind === "trajectory" ? this.path(feature, active) : this.outline(feature, active) };
    }

    /** The shape in the hand follows it; all others stay. */
    renderEdited() {
      const before = this.nodes.get(this.edited.id), drawn = this.draw(this.edited, before);
      if (before && drawn !== before) before.node.replaceWith(drawn.node);
      this.nodes.set(this.edited.id, drawn);
      this.place();
    }

    outline(feature, active) {
      const node = svg("g", { class: "ex-shape" + (active ? " ex-active" : ""), "data-id": feature.id });
      const d = parts(feature).map((ring) => `M${text(ring)}Z`).join("");
      svg("path", { d, class: "ex-halo" }, node);
      svg("path", { d, class: "ex-line", stroke: feature.properties.color }, node);
      svg("path", { d, class: "ex-grip", "data-role": "shape", "data-id": feature.id }, node);
      return node;
    }

    path(feature, active) {
      const node = svg("g", { class: "ex-shape ex-path" + (active ? " ex-active" : ""), "data-id": feature.id });
      const d = `M${text(feature.geometry.coordinates)}`;
      const width = this.view.umPerUnit ? (feature.properties.width_um || 0) / this.view.umPerUnit : 0;
      svg("path", { d, class: "ex-corridor", stroke: feature.properties.color, "stroke-width": width }, node);
      svg("path", { d, class: "ex-halo" }, node);
      svg("path", { d, class: "ex-line", stroke: feature.properties.color }, node);
      svg("path", { d, class: "ex-grip", "data-role": "shape", "data-id": feature.id }, node);
      return node;
    }

    /** Put the shapes where the view is now; arrow heads and handles keep their size on the screen. */
    place() {
      const { view } = this, [ox, oy] = view.toScreen([0, 0]);
      this.world.setAttribute("transform", `matrix(${view.scale} 0 0 ${view.sign * view.scale} ${ox} ${oy})`);
      const nodes = [];
      for (const saved of this.features) {
        const feature = this.current(saved);
        if (feature.properties.kind === "trajectory") nodes.push(...this.arrows(feature));
        if (feature.id === this.active && this.editable(feature)) nodes.push(...this.handles(feature));
      }
      this.screen.replaceChildren(...nodes);
      this.drawSketch();
    }

    arrows(feature) {
      const line = feature.geometry.coordinates.map((p) => this.view.toScreen(p));
      return ns.arrowsAlong(line, ARROW_PX).map(([x, y, angle]) => svg("path", {
        d: "M-9,-6L4,0L-9,6Z", class: "ex-arrow", fill: feature.properties.color, transform: `translate(${x} ${y}) rotate(${angle})`,
      }));
    }

    handles(feature) {
      const nodes = [];
      parts(feature).forEach((points, part) => points.forEach((p, index) => {
        const [cx, cy] = this.view.toScreen(p);
        nodes.push(svg("circle", { cx, cy, r: 4.5, class: "ex-handle", "data-role": "vertex", "data-part": part,
          "data-index": index, stroke: feature.properties.color }));
      }));
      return nodes;
    }

    /** Whether its vertices are in the hand now; a shape that is locked stays. */
    editable(feature) { return this.tool === "select" && !feature.properties.locked; }

    drawSketch() {
      if (this.tool === "brush") return this.drawBrush();
      if (!this.draft.length) return this.sketch.replaceChildren();
      const points = this.draft.concat(this.cursor ? [this.cursor] : []).map((p) => this.view.toScreen(p));
      const closed = this.tool !== "trajectory";
      const d = `M${text(points)}${closed && points.length > 2 ? "Z" : ""}`;
      const nodes = [svg("path", { d, class: "ex-halo" }), svg("path", { d, class: "ex-draft" })];
      if (this.tool === "polygon" || this.cursor)
        for (const p of this.draft) {
          const [cx, cy] = this.view.toScreen(p);
          nodes.push(svg("circle", { cx, cy, r: 3.5, class: "ex-corner" }));
        }
      this.sketch.replaceChildren(...nodes);
    }

    drawBrush() {
      const nodes = [], r = this.radius;
      if (this.draft.length) {
        const points = this.draft.map((p) => this.view.toScreen(p));
        const d = `M${text(points)}${points.length === 1 ? `L${text(points)}` : ""}`;
        nodes.push(svg("path", { d, class: "ex-stroke", "stroke-width": 2 * r }));
      }
      if (this.cursor) {
        const [cx, cy] = this.view.toScreen(this.cursor);
        nodes.push(svg("circle", { cx, cy, r, class: "ex-brush" }));
      }
      this.sketch.replaceChildren(...nodes);
    }

    /** What a drawing does: by the keys that are held, else by the button that is pressed. */
    opOf(event) {
      if (event?.shiftKey && event.altKey) return "intersect";
      return event?.altKey ? "subtract" : event?.shiftKey ? "add" : this.op;
    }

    // --- pointer ----------------------------------------------------------------------------------------------
    down(event) {
      this.view.stage.focus({ preventScroll: true });
      const at = this.view.local(event);
      this.root.setPointerCapture(event.pointerId);
      const pan = event.button === 1 || event.button === 2;
      const target = event.target.dataset || {};
      this.gesture = { start: at, last: at, moved: false, target, mode: this.mode(target, pan) };
      const { mode } = this.gesture;
      if (mode === "freehand" || mode === "box" || mode === "brush") this.draft = this.draft.length ? this.draft : [this.view.toData(at)];
      if (mode === "vertex" && event.altKey) this.dropVertex(target);
    }

    mode(target, pan) {
      if (pan) return "pan";
      if (this.tool === "select") {
        if (target.role === "vertex") return "vertex";
        if (target.role === "shape" && target.id === this.active && this.editable(this.activeFeature())) return "drag";
        return "pan";
      }
      if (this.tool === "box" || this.tool === "brush") return this.tool;
      if (this.tool === "polygon") return "corner";
      if (this.tool === "trajectory" && this.draft.length) return "corner";
      return "freehand";
    }

    move(event) {
      const at = this.view.local(event), g = this.gesture;
      if (!g) return this.idleMove(at, event);
      if (g.mode !== "brush" && !g.moved && Math.hypot(at[0] - g.start[0], at[1] - g.start[1]) < CLICK_PX) return;
      g.moved = true;
      if (g.mode === "pan") this.view.panBy(at[0] - g.last[0], at[1] - g.last[1]);
      else if (g.mode === "vertex") this.dragVertex(g, at);
      else if (g.mode === "drag") this.dragShape(g, at);
      else if (g.mode === "box") this.draft = this.box(g.start, at);
      else if (g.mode === "freehand" || g.mode === "brush") this.trace(event);
      g.last = at;
      if (g.mode === "brush") this.cursor = this.view.toData(at);
      if (g.mode === "box" || g.mode === "freehand" || g.mode === "brush") this.drawSketch();
    }

    /** Every point the hand passed, also those between two frames. */
    trace(event) {
      const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      for (const e of events.length ? events : [event]) this.draft.push(this.view.toData(this.view.local(e)));
    }

    idleMove(at, event) {
      if (this.draft.length || this.tool === "brush") {
        this.cursor = this.view.toData(at);
        return this.drawSketch();
      }
      this.actions.hover(event.target.dataset && event.target.dataset.role ? null : at);
    }

    box(a, b) {
      return [[a[0], a[1]], [b[0], a[1]], [b[0], b[1]], [a[0], b[1]]].map((p) => this.view.toData(p));
    }

    up(event) {
      const g = this.gesture;
      this.gesture = null;
      if (!g) return;
      const at = this.view.local(event);
      if (g.mode === "corner" || (g.mode === "freehand" && !g.moved && this.tool === "trajectory")) return this.corner(at, event);
      if (g.mode === "brush") return this.finishStroke(event);
      if (!g.moved) return this.click(g);
      if (g.mode === "vertex" || g.mode === "drag") return this.finishEdit();
      if (g.mode === "box" || g.mode === "freehand") this.finish(event);
    }

    click(g) {
      this.draft = [];
      if (this.tool === "select" && !this.edited) this.actions.activate(g.target.role === "shape" ? g.target.id : g.target.role ? this.active : null);
      this.edited = null;
      this.drawSketch();
    }

    corner(at, event) {
      const first = this.draft.length && this.view.toScreen(this.draft[0]);
      const closes = this.tool === "polygon" && this.draft.length > 2 && Math.hypot(at[0] - first[0], at[1] - first[1]) < 8;
      if (closes) return this.finish(event);
      const last = this.draft.length && this.view.toScreen(this.draft[this.draft.length - 1]);
      const repeated = last && Math.hypot(at[0] - last[0], at[1] - last[1]) < 3; // the second click of a double click
      if (!repeated) this.draft = this.draft.concat([this.view.toData(at)]);
      this.cursor = this.view.toData(at);
      this.drawSketch();
    }

    doubleClick(event) {
      if (this.draft.length > 1) return this.finish(event);
      if (!this.active || !this.editable(this.activeFeature())) return;
      this.addVertex(this.view.toData(this.view.local(event)));
    }

    cancel() {
      this.gesture = this.cursor = this.edited = null;
      this.draft = [];
      this.render();
    }

    // --- what a drawing becomes -------------------------------------------------------------------------------
    finish(event) {
      const op = this.opOf(event);
      const tolerance = SMOOTH_PX / this.view.scale;
      const { draft, tool } = this;
      this.draft = [];
      this.cursor = null;
      this.drawSketch();
      if (tool === "trajectory") {
        const line = ns.geometry.simplify(draft, tolerance);
        if (line.length > 1 && ns.geometry.length(line) * this.view.scale > CLICK_PX)
          this.actions.add({ type: "LineString", coordinates: line }, "trajectory");
        return;
      }
      const ring = tool === "box" || tool === "polygon" ? draft : ns.geometry.simplifyRing(draft, tolerance);
      if (ring.length < 3 || ns.geometry.area(ring) * this.view.scale ** 2 < CLICK_PX ** 2) return;
      const geometry = { type: "Polygon", coordinates: [ns.geometry.close(ring)] };
      if (tool === "box" || tool === "lasso") this.actions.select({ op, geometry });
      else if (op === "set") this.actions.add(geometry, "region");
      else this.actions.merge(geometry, op);
    }

    /** A stroke of the brush: begun inside the active region it grows, as in QuPath; elsewhere it is a new one. */
    finishStroke(event) {
      const { draft } = this, op = this.opOf(event), shape = this.activeFeature();
      this.draft = [];
      this.drawSketch();
      const grows = op === "set" && shape && shape.properties.kind === "region" && !shape.properties.locked
        && ns.geometry.maskInGeometry(draft[0], shape.geometry)[0];
      this.actions.paint(ns.geometry.simplify(draft, SMOOTH_PX / this.view.scale), this.radius / this.view.scale, grows ? "add" : op);
    }

    resizeBrush(factor) {
      this.radius = Math.min(BRUSH.most, Math.max(BRUSH.least, this.radius * factor));
      this.drawSketch();
    }

    finishEdit() {
      const { edited } = this;
      this.edited = null;
      if (edited) this.actions.edit(edited.id, edited.geometry);
      else this.render();
    }

    activeFeature() { return this.features.find((f) => f.id === this.active); }

    /** Work on a copy; the document changes when the hand lets go. */
    reshape(change) {
      const saved = this.activeFeature();
      if (!saved) return;
      const changed = parts(saved).map((points) => points.map((p) => p.slice()));
      if (change(changed) === false) return;
      this.edited = { ...saved, geometry: withParts(saved, changed) };
      this.renderEdited();
    }

    dragVertex(g, at) {
      this.reshape((points) => { points[+g.target.part][+g.target.index] = this.view.toData(at); });
    }

    dragShape(g, at) {
      const [x0, y0] = this.view.toData(g.start), [x1, y1] = this.view.toData(at);
      this.shift(x1 - x0, y1 - y0);
    }

    shift(dx, dy) {
      this.reshape((all) => all.forEach((points) => points.forEach((p) => { p[0] += dx; p[1] += dy; })));
    }

    dropVertex(target) {
      const least = this.activeFeature().properties.kind === "trajectory" ? 2 : 3;
      this.reshape((points) => {
        if (points[+target.part].length <= least) return false;
        points[+target.part].splice(+target.index, 1);
      });
      this.gesture = null;
      this.finishEdit();
    }

    addVertex(p) {
      const closed = this.activeFeature().properties.kind !== "trajectory";
      this.reshape((all) => {
        const near = all.map((points) => ns.geometry.nearestEdge(p, points, closed));
        const part = near.reduce((best, edge, i) => (edge.distance < near[best].distance ? i : best), 0);
        if (near[part].distance * this.view.scale > 10) return false;
        all[part].splice(near[part].index + 1, 0, p);
      });
      this.finishEdit();
    }

    // --- keys -------------------------------------------------------------------------------------------------
    /** Keys while the view has the focus: arrows pan (with Alt they move the chosen shape), + - 0 zoom. */
    viewKey(event) {
      if (event.ctrlKey || event.metaKey) return;
      const arrows = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      const centre = [this.view.width / 2, this.view.height / 2];
      const arrow = arrows[event.key];
      if (arrow && event.altKey && this.active) {
        if (!this.editable(this.activeFeature())) return;
        const step = (event.shiftKey ? 10 : 2) / this.view.scale;
        this.shift(-arrow[0] * step, -arrow[1] * step * this.view.sign);
        this.finishEdit();
      } else if (arrow) this.view.panBy(arrow[0] * NUDGE_PX, arrow[1] * NUDGE_PX);
      else if (event.key === "+" || event.key === "=") this.view.zoomAt(centre, 1.25);
      else if (event.key === "-") this.view.zoomAt(centre, 0.8);
      else if (event.key === "0") this.view.fit();
      else return;
      event.preventDefault();
    }

    /** Keys of a drawing that is under way; true when the key was for it. */
    draftKey(event) {
      if (this.tool === "brush" && "[]".includes(event.key)) return this.resizeBrush(event.key === "]" ? BRUSH.step : 1 / BRUSH.step), true;
      if (!this.draft.length) return false;
      if (event.key === "Escape") this.cancel();
      else if (event.key === "Enter") this.finish(event);
      else if (event.key === "Backspace") { this.draft = this.draft.slice(0, -1); this.drawSketch(); }
      else return false;
      return true;
    }
  }

  Object.assign(ns, { Tools, toolKeys: KEYS, toolHints: HINTS, toolOps: OPS, shapeParts: parts });
})();
