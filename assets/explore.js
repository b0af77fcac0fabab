/* The Explore page: puts the views, the tools and the findings together, loads a result, and paints it by what is chosen on
 * the left. A recolour asks for one small array and repaints in the browser; no figure travels. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const KEPT = 48; // arrays of values kept for coming back to a feature
  // within this page, also when the person has left it while an answer was on its way: what is painted then goes nowhere
  const $ = (id) => ns.root.querySelector(`#${id}`);
  ns.setProps = (id, props) => window.dash_clientside.set_props(id, props);

  /** Draw an empty view into an element. Not a dcc.Graph: that takes its own figure for the truth and, at any event of
   *  Plotly, puts back the layout it began with, and the histology was gone. Plotly itself comes with the profile's. */
  async function graph(id, figure) {
    for (let tries = 0; !(window.Plotly && $(id)); tries++) {
      if (tries > 2400) throw new Error("Plotly was not loaded");
      await new Promise((done) => setTimeout(done, 25));
    }
    const { data, layout } = ns.clone(figure);
    await window.Plotly.newPlot($(id), data, layout, { displayModeBar: false, doubleClick: false, showTips: false, responsive: false });
    return $(id);
  }

  /** A share as the address has it; what everybody starts with is left out. */
  const percent = (share, usual) => (Math.round(share * 100) === usual ? null : Math.round(share * 100));

  class Page {
    constructor(context) {
      this.context = context;
      this.asked = ns.address.read(); // before this page writes its own state there
      this.state = { colour: null, second: null, hidden: new Map(), tool: "select" };
      this.values = new Map();
      this.annotations = new ns.Annotations(context.project, context.sample, {
        onChange: (why) => this.findings.documentChanged(why),
        onStatus: (text, level) => this.say(text, level),
      });
      this.findings = new ns.Findings(this);
      this.listeners = [];
    }

    async open() {
      const [spatial, umap] = await Promise.all(["spatial", "umap"].map((name) => graph(`explore-${name}`, this.context.figures[name])));
      this.spatial = new ns.PlotView(spatial, $("explore-stage"));
      this.umap = new ns.PlotView(umap, $("explore-umap-stage"), { flipY: true });
      const actions = this.actions();
      this.tools = new ns.Tools(this.spatial, $("explore-overlay"), actions);
      this.umapTools = new ns.Tools(this.umap, $("explore-umap-overlay"),
        { ...actions, select: (step) => this.findings.select({ ...step, space: this.meta.umap }), hover: (at) => this.hover(this.umap, at) }, { drawable: false });
      this.umap.setDiameter({ data: 0, least: 3 });
      this.spatial.onMove(() => this.moved());
      this.makeSearch();
      this.listen();
      this.useTool("select");
      await this.showResult(this.context.result, true);
      await this.annotations.load();
      if (this.asked.shape) this.findings.activate(this.asked.shape);
      this.opened = true;
      this.remember();
    }

    destroy() {
      this.annotations.stop();
      this.findings.destroy();
      for (const view of [this.spatial, this.umap]) {
        view?.destroy();
        if (view) window.Plotly.purge(view.gd); // a browser has few WebGL contexts
      }
      this.listeners.forEach(([target, name, listener]) => target.removeEventListener(name, listener));
    }

    get alive() { return document.body.contains($("explore-stage")) && ns.page === this; }

    actions() {
      const f = this.findings;
      return {
        select: (step) => f.select({ ...step, space: "spatial" }), add: (geometry, kind) => f.regions.add(geometry, kind),
        edit: (id, geometry) => f.regions.edit(id, geometry), hover: (at) => this.hover(this.spatial, at),
        activate: (id) => (id ? f.activate(id) : f.clearSelection()),
      };
    }

    // --- a result ---------------------------------------------------------------------------------------------
    async showResult(result, first = false) {
      this.wanted = result;
      const data = new ns.Data(result), meta = await data.meta();
      const [xy, umap] = await Promise.all([data.obsm("spatial"), meta.umap ? data.obsm(meta.umap) : null]);
      if (!this.alive || result !== this.wanted) return;
      Object.assign(this, { data, meta, xy, umapXY: umap });
      this.values.clear();
      this.columns = new Map(meta.columns.map((c) => [c.name, c]));
      meta.columns.forEach((c) => { if (c.categories) c.colours = this.colours(c); });
      this.spatial.umPerUnit = meta.um_per_px;
      this.spatial.setPoints(xy);
      this.spatial.setSymbol(meta.spot.symbol);
      this.spatial.setDiameter({ data: meta.spot.diameter_px });
      this.umap.setPoints(umap || new Float32Array(0));
      $("explore-umap-panel").hidden = !umap;
      this.umap.resize();
      this.place(first);
      this.umap.fit();
      this.setLayers();
      this.setImage();
      if (this.controls) this.applyMarks();
      $("explore-count").textContent = this.countText();
      await this.startColours(first);
      this.limitTools();
      this.findings.clearSelection();
      this.findings.regions.measure();
    }

    colours(column) {
      const { categories } = this.context.palettes;
      return column.categories.map((_, k) => column.colors?.[k] || categories[k % categories.length]);
    }

    countText() {
      const { meta } = this, unit = meta.spot.symbol === "square" ? "pixels" : "spots";
      const size = meta.um_per_px ? ` · ${Math.round(meta.spot.diameter_px * meta.um_per_px)} µm` : "";
      return `${ns.panels.count(meta.n_obs)} ${unit}${size}`;
    }

    /** Where the copied link looked, or everything. */
    place(first) {
      const at = first && (this.asked.at || "").split(",").map(Number);
      this.spatial.measure();
      if (at && at.length === 3 && at.every(Number.isFinite) && at[2] > 0) this.spatial.place([at[0], at[1]], this.spatial.fitScale() * at[2]);
      else this.spatial.fit();
    }

    setLayers() {
      const options = this.meta.layers.map((l) => ({ label: l.label, value: l.name }));
      ns.setProps("explore-layer", { options, value: this.layer() });
    }

    layer() {
      const names = this.meta.layers.map((l) => l.name);
      return names.includes(this.controls?.layer) ? this.controls.layer : names.includes("normalized") ? "normalized" : names[0];
    }

    setImage() {
      this.spatial.setImage(this.meta.image, this.controls ? this.controls.histology : 1);
      $("explore-histology-row").hidden = !this.meta.image;
    }

    /** Shapes live in the frame of the ST image; on a section that is not aligned yet they would mean nothing. */
    limitTools() {
      const drawable = this.meta.frame === "st";
      document.querySelectorAll('#explore-toolbar [data-tool]').forEach((b) => {
        b.disabled = !drawable && !["select", "box", "lasso"].includes(b.dataset.tool);
      });
      $("explore-frame-note").hidden = drawable;
    }

    // --- colour -----------------------------------------------------------------------------------------------
    makeSearch() {
      const find = (q, signal) => this.search(q, signal);
      this.first = new ns.Search($("explore-search"), { label: "Colour by gene, metabolite or column", placeholder: "Gene, metabolite, m/z or column", find, onPick: (hit) => this.colourBy(hit) });
      this.other = new ns.Search($("explore-second"), { label: "Second feature", placeholder: "Second gene or metabolite", onPick: (hit) => this.secondBy(hit),
        find: async (q, signal) => (await find(q, signal)).filter((hit) => hit.kind === "feature") });
    }

    async search(query, signal) { return (await this.data.search(query, signal)).hits; }

    /** The colouring of the address, of the result before (where it has that feature), or the result's own first one. */
    async startColours(first) {
      const query = this.asked;
      const by = async (text) => {
        const [kind, ...rest] = text.split(":"), name = rest.join(":");
        return (await this.search(name)).find((hit) => hit.kind === kind && hit.name === name) || null;
      };
      const before = this.state.colour && `${this.state.colour.kind}:${this.state.colour.name}`;
      const wanted = first ? query.colour : before;
      this.state.colour = (wanted && (await by(wanted))) || this.meta.first;
      const second = first ? query.second : this.state.second?.name;
      this.state.second = second ? await by(`feature:${second}`) : null;
      if (first && query.profile) this.findings.profileOf = (await Promise.all(query.profile.split("|").map((n) => by(`feature:${n}`)))).filter(Boolean);
      await this.recolour();
    }

    colourBy(hit) {
      this.state.colour = hit;
      return this.recolour();
    }

    secondBy(hit) {
      this.state.second = hit;
      return this.recolour();
    }

    async load(hit) {
      const key = hit.kind === "feature" ? `${hit.index}/${this.layer()}` : hit.name;
      if (!this.values.has(key)) {
        const column = this.columns.get(hit.name);
        const work = hit.kind === "feature" ? this.data.values(hit.index, this.layer())
          : column.categories ? this.data.codes(hit.name) : this.data.numbers(hit.name);
        this.values.set(key, work);
        work.catch(() => this.values.delete(key));
        if (this.values.size > KEPT) this.values.delete(this.values.keys().next().value);
      }
      return this.values.get(key);
    }

    /** Fetch what is missing and paint; of two quick choices only the last is painted. */
    async recolour() {
      const { colour, second } = this.state, turn = (this.turn = (this.turn || 0) + 1);
      if (!colour || !this.controls) return;
      this.coloured = this.colouring();
      const pair = this.controls.bivariate && colour.kind === "feature" && second;
      try {
        const [a, b] = await Promise.all([this.load(colour), pair ? this.load(second) : null]);
        if (turn !== this.turn || !this.alive) return;
        this.shownValues = a;
        this.paint(this.painting(colour, a, pair ? second : null, b));
      } catch (error) {
        this.say(ns.words(error), "stop");
      }
    }

    painting(colour, values, second, others) {
      const { clip, log, scale } = this.controls, options = { clip, log, stops: this.context.palettes.scales[scale] };
      const suffix = log ? ", log" : "";
      if (second) return { kind: "pair", labels: [colour.name, second.name], ...ns.colour.bivariate(values, others, options) };
      const column = colour.kind === "obs" && this.columns.get(colour.name);
      if (column && column.categories) {
        const off = this.hiddenOf(column.name);
        const categories = column.categories.map((name, k) => ({ name, colour: column.colours[k], hidden: off.has(k) }));
        return { kind: "category", column, categories, ...ns.colour.categorical(values, column.colours) };
      }
      return { kind: "number", label: colour.name + suffix, ...ns.colour.continuous(values, options) };
    }

    paint(painting) {
      const missing = painting.palette.length - 1;
      painting.missing = painting.codes.includes(missing);
      for (const view of [this.spatial, this.umap]) {
        view.setColours(painting);
        view.setHidden(this.hiddenMask(painting, view));
      }
      this.first.show(this.state.colour.name);
      this.other.show(this.state.second ? this.state.second.name : "");
      ns.panels.legend($("explore-legend"), painting);
      this.paintRange(painting);
      this.paintCategories(painting.kind === "category" ? painting.column : null);
      this.spatial.gd.setAttribute("role", "img");
      this.spatial.gd.setAttribute("aria-label", `Spatial view, ${this.countText()}, coloured by ${painting.label || this.state.colour.name}`);
      this.findings.paintTrajectory();
      if (this.findings.mask) this.findings.askSummary();
      this.remember();
    }

    paintRange({ kind, palette, limits }) {
      $("explore-range").hidden = kind === "category";
      $("explore-range-bar").style.background = kind === "number" ? `linear-gradient(90deg, ${palette.slice(0, -1).filter((_, i) => i % 8 === 0).join(", ")})` : "var(--sm-line)";
      $("explore-range-text").textContent = kind === "number" ? `${ns.colour.number(limits[0])} – ${ns.colour.number(limits[1])}` : "";
    }

    hiddenOf(column) {
      if (!this.state.hidden.has(column)) this.state.hidden.set(column, new Set());
      return this.state.hidden.get(column);
    }

    hiddenMask({ kind, column, codes }, view) {
      const off = kind === "category" ? this.hiddenOf(column.name) : null;
      if (!off || !off.size || view.xy.length !== 2 * codes.length) return null;
      return Uint8Array.from(codes, (c) => (off.has(c) ? 1 : 0));
    }

    /** The list on the left: of the column that colours, else of the first category column there is. */
    paintCategories(shown) {
      const column = shown || [...this.columns.values()].find((c) => c.name === this.listed) || this.columns.get(this.meta.first_category);
      $("explore-categories").hidden = !column;
      if (!column) return;
      this.listed = column.name;
      $("explore-categories-name").textContent = `Categories · ${column.name}`;
      const change = (edit) => { edit(this.hiddenOf(column.name)); this.colourBy({ kind: "obs", name: column.name }); };
      ns.panels.categories($("explore-category-list"), column, shown ? this.hiddenOf(column.name) : new Set(), {
        onToggle: (k) => change((off) => (off.has(k) ? off.delete(k) : off.add(k))),
        onOnly: (k) => change((off) => { off.clear(); if (k !== null) column.categories.forEach((_, j) => j !== k && off.add(j)); }),
        onSelect: async (k, op) => { await this.load({ kind: "obs", name: column.name }).then((codes) => (column.codes = codes)); this.findings.select({ op, column: column.name, codes: [k] }); },
      });
    }

    // --- what the findings ask of the page --------------------------------------------------------------------
    inGeometry(space, geometry) {
      const xy = space === "spatial" ? this.xy : this.umapXY;
      return ns.geometry.maskInRings(xy, geometry.coordinates);
    }

    inCategories(name, codes) {
      const wanted = new Set(codes);
      return Uint8Array.from(this.columns.get(name).codes, (c) => (wanted.has(c) ? 1 : 0));
    }

    shown() {
      const { colour } = this.state;
      const value = !colour ? null : colour.kind === "feature" ? { index: colour.index, layer: this.layer() }
        : this.columns.get(colour.name)?.categories ? null : { column: colour.name };
      return { value, column: this.listed || null };
    }

    withColours(column, categories) {
      const known = this.columns.get(column);
      return (categories || []).map((c) => ({ ...c, colour: known.colours[c.code] }));
    }

    defaultWidth() {
      const pitch = this.meta.um_per_px ? this.meta.spot.pitch_px * this.meta.um_per_px : 100;
      return Math.round((3 * pitch) / 10) * 10;
    }

    // --- the view ---------------------------------------------------------------------------------------------
    moved() {
      this.paintScaleBar();
      clearTimeout(this.resting);
      this.resting = setTimeout(() => this.remember(), 300);
    }

    paintScaleBar() {
      const host = $("explore-scale-bar"), um = this.meta?.um_per_px;
      host.hidden = !um;
      if (!um) return;
      const bar = ns.scaleBar(um, this.spatial.scale);
      host.style.setProperty("--w", `${bar.pixels}px`);
      host.lastElementChild.textContent = bar.label;
    }

    hover(view, at) {
      const tip = $("explore-tip"), i = at ? view.nearest(at) : -1;
      if (i < 0 || !this.shownValues) { tip.hidden = true; return; }
      const { colour } = this.state, column = colour.kind === "obs" && this.columns.get(colour.name);
      const v = this.shownValues[i];
      const value = column && column.categories ? column.categories[v] ?? "no value" : ns.colour.number(v);
      const box = view.stage.getBoundingClientRect();
      tip.textContent = `${colour.name}: ${value}`;
      tip.hidden = false;
      tip.style.left = `${box.left + at[0] + 14}px`;
      tip.style.top = `${box.top + at[1] + 14}px`;
    }

    useTool(tool) {
      this.state.tool = tool;
      this.tools.use(tool);
      this.umapTools.use(tool === "box" ? "box" : tool === "select" ? "select" : "lasso");
      document.querySelectorAll("#explore-toolbar [data-tool]").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.tool === tool)));
      $("explore-hint").replaceChildren(...ns.toolHints[tool].flatMap(([words, key]) =>
        [ns.h("span", {}, words), ...(key ? [ns.h("kbd", { class: "sm-kbd" }, key)] : [])]));
    }

    setControls(controls) {
      this.controls = controls;
      if (!this.meta) return;
      if (controls.result && controls.result !== this.wanted) return this.showResult(controls.result);
      this.applyMarks();
      if (this.colouring() !== this.coloured) this.recolour();
      this.remember();
    }

    /** All that a repaint of the colours depends on; most moves of a control change none of it. */
    colouring() {
      const { scale, clip, log, bivariate } = this.controls;
      return JSON.stringify([this.layer(), scale, clip, log, bivariate]);
    }

    applyMarks() {
      const { histology, spots, size, bivariate } = this.controls;
      this.spatial.setImage(this.meta.image, histology);
      this.spatial.setOpacity(spots);
      this.spatial.setDiameter({ factor: size });
      $("explore-second").hidden = !bivariate;
    }

    // --- keys, history, words ---------------------------------------------------------------------------------
    on(target, name, listener) {
      target.addEventListener(name, listener);
      this.listeners.push([target, name, listener]);
    }

    listen() {
      this.on(document, "keydown", (e) => this.alive && this.key(e));
      this.on(document, "sm:undo", () => this.alive && this.annotations.undo());
      this.on(document, "sm:redo", () => this.alive && this.annotations.redo());
      this.on($("explore-toolbar"), "click", (e) => {
        const button = e.target.closest("[data-tool], [data-view]");
        if (!button) return;
        if (button.dataset.tool) this.useTool(button.dataset.tool);
        else ({ fit: () => this.spatial.fit(), in: () => this.zoom(1.5), out: () => this.zoom(1 / 1.5) })[button.dataset.view]();
      });
    }

    zoom(factor) { this.spatial.zoomAt([this.spatial.width / 2, this.spatial.height / 2], factor); }

    key(event) {
      if (event.target.closest("input, textarea, select, [contenteditable=true]")) return;
      if (event.ctrlKey || event.metaKey || event.defaultPrevented) return;
      if (this.tools.draftKey(event)) return event.preventDefault();
      const tool = ns.toolKeys[event.key.toLowerCase()];
      if (tool && !event.altKey) {
        const button = document.querySelector(`#explore-toolbar [data-tool="${tool}"]`);
        if (button && !button.disabled) this.useTool(tool);
      } else if (event.key === "Escape") {
        if (this.state.tool === "select") this.findings.clearSelection();
        else this.useTool("select");
      } else if (event.key === "Delete" || event.key === "Backspace") this.findings.regions.remove(this.findings.active);
    }

    setHistory({ can_undo, can_redo }) {
      ns.setProps("undo", { disabled: !can_undo });
      ns.setProps("redo", { disabled: !can_redo });
    }

    say(text, level) {
      if (level === "stop" || level === "notice") window.SpatialMeta.toast({ level: level === "stop" ? "danger" : "info", title: text });
      $("explore-saved").textContent = text;
    }

    /** Write what is shown into the address. */
    remember() {
      if (!this.alive || !this.opened || !this.controls) return;
      const c = this.controls, { colour, second } = this.state, { spatial } = this;
      const zoom = spatial.scale / spatial.fitScale();
      const [x0, y0, x1, y1] = spatial.extent;
      const moved = Math.abs(zoom - 1) > 1e-3 || Math.hypot(spatial.centre[0] - (x0 + x1) / 2, spatial.centre[1] - (y0 + y1) / 2) * spatial.scale > 1;
      const { profileOf, active } = this.findings;
      ns.address.write({
        result: this.meta.result, colour: colour ? `${colour.kind}:${colour.name}` : null, layer: this.layer(), scale: c.scale === "viridis" ? null : c.scale,
        clip: c.clip.join("-") === "2-98" ? null : c.clip.join("-"), log: c.log ? 1 : null, histology: percent(c.histology, 100), spots: percent(c.spots, 85), size: percent(c.size, 100),
        second: c.bivariate && second ? second.name : null, shape: active,
        profile: profileOf ? profileOf.map((f) => f.name).join("|") : null,
        at: moved ? [spatial.centre[0].toFixed(0), spatial.centre[1].toFixed(0), zoom.toFixed(3)].join(",") : null,
      });
    }
  }

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.explore = {
    open(context) {
      ns.page?.destroy();
      ns.page = null;
      if (!context || !context.result) return window.dash_clientside.no_update;
      ns.root = document.querySelector(".ex-page");
      ns.page = new Page(context);
      if (ns.waiting) ns.page.controls = ns.waiting;
      const { page } = ns;
      page.open().catch((error) => page.alive && page.say(ns.words(error), "stop"));
      return window.dash_clientside.no_update;
    },
    controls(result, layer, scale, low, high, log, bivariate, histology, spots, size) {
      const clip = [Math.min(low, high - 1), Math.max(high, low + 1)].map(Number);
      ns.waiting = { result, layer, scale, clip, log: Boolean(log), bivariate: Boolean(bivariate), histology: histology / 100, spots: spots / 100, size: size / 100 };
      ns.page?.setControls(ns.waiting);
      return window.dash_clientside.no_update;
    },
    width(value) {
      ns.page?.findings.setWidth(Number(value));
      return window.dash_clientside.no_update;
    },
  };
})();
