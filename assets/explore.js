/* The Explore page: puts the views, the tools and the findings together, loads a result, and paints it by what is chosen on
 * the left. A recolour asks for one small array and repaints in the browser; no figure travels. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  // within this page, also when the person has left it while an answer was on its way: what is painted then goes nowhere
  const $ = (id) => ns.root.querySelector(`#${id}`);
  ns.setProps = (id, props) => window.SpatialMeta.setProps(id, props);

  class Page {
    constructor(context) {
      this.context = context;
      this.link = new ns.Link();
      this.asked = this.link.asked;
      this.state = { colour: null, second: null };
      this.annotations = new ns.Annotations(context.project, context.sample, {
        onChange: (why) => this.documentChanged(why),
        onStatus: (text, level) => this.say(text, level),
        onConflict: (conflicts) => ns.askConflicts(conflicts, (choices) => this.findings.regions.settle(choices)),
      });
      this.categories = new ns.Categories(this);
      this.findings = new ns.Findings(this);
      this.exporter = new ns.Exporter(this);
      this.hover = new ns.Hover(this);
      this.listeners = [];
    }

    async open() {
      this.spatial = new ns.View($("explore-spatial"), $("explore-stage"));
      this.umap = new ns.View($("explore-umap"), $("explore-umap-stage"), { flipY: true });
      const onError = (error) => this.say(ns.words(error), "stop");
      this.rasters = [[this.spatial, "spatial"], [this.umap, "umap"]].map(([view, space]) =>
        Object.assign(new ns.Raster(view, { onPainted: (scale) => this.legend(scale), onError }), { space }));
      const actions = this.actions();
      this.tools = new ns.Tools(this.spatial, $("explore-overlay"), actions);
      this.umapTools = new ns.Tools(this.umap, $("explore-umap-overlay"),
        { ...actions, select: (step) => this.findings.select({ ...step, space: this.meta.umap }), hover: (at) => this.hover.on(this.umap, at) }, { drawable: false });
      this.panes = new ns.Panes(this);
      this.spatial.onMove(() => this.moved());
      this.makeSearch();
      this.listen();
      this.toolbar = new ns.Toolbar(this);
      await this.showResult(this.context.result, true);
      await this.annotations.load();
      if (this.asked.shape) this.findings.activate(this.asked.shape);
      else await this.restoreSelection();
      this.opened = true;
      this.remember();
    }

    destroy() {
      this.annotations.stop();
      this.findings.destroy();
      this.rasters?.forEach((raster) => raster.destroy());
      this.panes?.destroy();
      this.spatial?.destroy();
      this.umap?.destroy();
      this.listeners.forEach(([target, name, listener]) => target.removeEventListener(name, listener));
    }

    get alive() { return document.body.contains($("explore-stage")) && ns.page === this; }

    actions() {
      const f = this.findings;
      return {
        select: (step) => f.select({ ...step, space: "spatial" }), add: (geometry, kind) => f.regions.add(geometry, kind),
        edit: (id, geometry) => f.regions.edit(id, geometry),
        merge: (geometry, op) => f.regions.merge(geometry, op), paint: (line, radius, op) => f.regions.brush(line, radius, op), hover: (at) => this.hover.on(this.spatial, at),
        activate: (id) => (id ? f.activate(id) : f.clearSelection()),
      };
    }

    // --- a result ---------------------------------------------------------------------------------------------
    get meta() { return this.result?.meta; }
    get data() { return this.result?.data; }

    /** Every result that is shown somewhere on the page. */
    results() { return [this.result, ...(this.panes ? this.panes.results() : [])].filter(Boolean); }

    async showResult(id, first = false) {
      this.wanted = id;
      const result = await ns.Result.open(id, this.context.palettes);
      if (!this.alive || id !== this.wanted) return;
      result.look(this.categories.changes());
      this.result = result;
      const { meta } = result;
      result.setUp(this.spatial);
      this.umap.setPoints(result.umapXY, meta.umap_extent);
      this.umap.points.round = true;
      this.umap.setDiameter({ data: 0, least: 3 });
      $("explore-umap-panel").hidden = !meta.umap;
      this.umap.resize();
      this.place(first);
      this.umap.fit();
      this.setLayers();
      $("explore-histology-row").hidden = !meta.images.length;
      if (this.controls) this.applyMarks();
      $("explore-count").textContent = $("explore-count").title = result.countText();
      await this.startColours(first);
      this.findings.clearSelection();
      await this.findings.regions.follow();
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

    layer() { return this.result.layer(this.controls?.layer); }

    title(text) {
      $("explore-title").hidden = !text;
      $("explore-title").textContent = text || "";
    }

    // --- colour -----------------------------------------------------------------------------------------------
    makeSearch() {
      const find = (q, signal) => this.search(q, signal);
      this.first = new ns.Search($("explore-search"), { label: "Colour by gene, metabolite or column", placeholder: "Gene, metabolite, m/z or column", find, onPick: (hit) => this.colourBy(hit) });
      this.other = new ns.Search($("explore-second"), { label: "Second feature", placeholder: "Second gene or metabolite", onPick: (hit) => this.secondBy(hit),
        find: async (q, signal) => (await find(q, signal)).filter((hit) => hit.kind === "feature") });
    }

    search(query, signal) { return this.result.search(query, signal); }

    /** The colouring of the address, of the result before (where it has that feature), or the result's own first one. */
    async startColours(first) {
      const query = this.asked, { result } = this;
      const wanted = first ? query.colour : this.state.colour && ns.wordsOf(this.state.colour);
      this.state.colour = null; // that of the result before means nothing to this one until it is found here,
      this.turn = (this.turn || 0) + 1; // nor does what is on its way for it
      this.state.colour = (wanted && (await result.find(wanted))) || this.meta.first;
      const second = first ? query.second : this.state.second?.name;
      this.state.second = second ? await result.find(`feature:${second}`) : null;
      if (first && query.profile) this.findings.trajectory.chosen = (await Promise.all(query.profile.split("|").map((n) => result.find(`feature:${n}`)))).filter(Boolean);
      await this.panes.take(first ? (query.beside || "").split("|").filter(Boolean) : this.panes.beside.map(ns.wordsOf));
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

    /** Fetch what is missing and paint; of two quick choices only the last is painted. */
    async recolour() {
      const { colour, second } = this.state, turn = (this.turn = (this.turn || 0) + 1), { result } = this;
      if (!colour || !this.controls) return;
      this.coloured = this.colouring();
      const pair = this.controls.bivariate && colour.kind === "feature" && second, layer = this.layer();
      try {
        const [a, b] = await Promise.all([result.values(colour, layer), pair ? result.values(second, layer) : null]);
        const limits = await this.panes.load(colour, a);
        if (turn !== this.turn || !this.alive) return;
        this.shownValues = a;
        const hidden = this.categories.hiddenOf(colour.name);
        this.paint(result.painting(colour, a, this.controls, { second: pair && { hit: second, values: b }, hidden, limits }), pair ? second : null, limits);
      } catch (error) {
        this.say(ns.words(error), "stop");
      }
    }

    paint(painting, second, limits) {
      const { colour } = this.state, { raster } = this.meta;
      this.painting = painting;
      this.scaleShown = null;
      for (const view of [this.spatial, this.umap]) if (!raster) ns.paintInto(view, painting);
      this.shared = { second, limits };
      this.showRasters();
      this.first.show(colour.name);
      this.other.show(this.state.second ? this.state.second.name : "");
      if (!raster) this.legend({ limits: painting.limits, missing: painting.codes.includes(painting.palette.length - 1) });
      this.categories.paint(painting.kind === "category" ? painting.column : null);
      this.spatial.canvas.setAttribute("role", "img");
      this.spatial.canvas.setAttribute("aria-label", `Spatial view, ${this.result.countText()}, coloured by ${painting.label || colour.name}`);
      this.findings.trajectory.paint();
      if (this.findings.mask) this.findings.askSummary();
      this.remember();
    }

    /** Pictures of the server, and what stands beside them, as all is coloured now. */
    showRasters() {
      const { second, limits } = this.shared;
      for (const each of this.rasters) {
        const seen = this.meta.raster && this.state.colour && (each.space === "spatial" || this.meta.umap);
        each.show(this.data.base, seen ? this.rasterQuery(this.result, this.state.colour, { second, space: each.space, limits, leader: true }) : null);
      }
      this.panes.paint(limits, (view, result) => this.mark(view, result));
    }

    /** What the server must know to paint `hit`; see /api/view/<result>/raster. */
    rasterQuery(result, hit, { second = null, space = "spatial", limits = null, leader = false } = {}) {
      const { clip, log, scale } = this.controls, query = { space: space === "umap" ? result.meta.umap : space, layer: result.layer(this.controls.layer), clip: clip.join(","), log: log ? 1 : 0, scale };
      if (hit.kind === "feature") query.feature = hit.index;
      else query.column = hit.name;
      if (second) query.second = second.index;
      if (limits) query.limits = limits.join(",");
      if (result.isCategory(hit)) Object.assign(query, { colours: result.columns.get(hit.name).colours.join(","), hidden: [...this.categories.hiddenOf(hit.name)].join(",") });
      if (leader && this.findings.steps.length && !this.findings.active) query.steps = JSON.stringify(this.findings.steps);
      return query;
    }

    /** How the spots are coloured now, with what only their painter knows. */
    painted() { return { ...this.painting, ...this.scaleShown }; }

    /** The keys of the colours; `scale` is what is known once everything is painted: {limits, missing}. */
    legend(scale) {
      this.scaleShown = scale;
      const painting = this.painted();
      ns.panels.legend($("explore-legend"), painting);
      const { kind, palette, limits } = painting, number = kind === "number";
      $("explore-range").hidden = kind === "category";
      $("explore-range-bar").hidden = !number;
      if (number) $("explore-range-bar").style.background = ns.panels.colourBar(palette);
      $("explore-range-text").textContent = number && limits ? `${ns.colour.number(limits[0])} – ${ns.colour.number(limits[1])}` : "";
    }

    // --- what the findings ask of the page --------------------------------------------------------------------
    /** The spots inside a geometry; none where only the server has their places, whose answer follows. */
    inGeometry(space, geometry) {
      const xy = space === "spatial" ? this.result.xy : this.result.umapXY;
      return ns.geometry.maskInGeometry(xy, geometry);
    }

    /** The spots of some categories, whose `codes` have been asked for. */
    inCategories(name, codes) {
      const wanted = new Set(codes);
      return Uint8Array.from(this.result.columns.get(name).codes || [], (c) => (wanted.has(c) ? 1 : 0));
    }

    async codes(name) {
      const column = this.result.columns.get(name);
      if (column?.categories) column.codes = await this.result.values({ kind: "obs", name });
    }

    /** Dim what is not selected, in every view of this result. */
    showSelected(mask, inUmap = mask) {
      if (this.meta.raster) {
        if (this.painting) this.paintRasters();
        return;
      }
      this.spatial.setSelected(mask);
      this.umap.setSelected(inUmap);
      this.panes.select(mask);
    }

    paintRasters() {
      const steps = JSON.stringify(this.findings.active ? [] : this.findings.steps);
      if (steps === this.rasterSteps) return;
      this.rasterSteps = steps;
      this.showRasters();
    }

    async restoreSelection() {
      const steps = await this.link.steps();
      for (const { column } of steps) if (column) await this.codes(column);
      if (!steps.length || !this.alive) return;
      this.findings.steps = steps;
      this.findings.applySteps();
      this.findings.paintShapes();
    }

    documentChanged(why) {
      if (this.categories.follow() && this.result) this.recolour();
      this.findings.documentChanged(why);
    }

    shown() {
      const { colour } = this.state;
      const value = !colour ? null : colour.kind === "feature" ? { index: colour.index, layer: this.layer() }
        : this.result.isCategory(colour) ? null : { column: colour.name };
      return { value, column: this.categories.listed || null };
    }

    withColours(column, categories) {
      const known = this.result.columns.get(column), counts = new Map((categories || []).map((c) => [c.code, c.count]));
      const shares = (known?.groups || []).map((codes) => ({ name: known.labels[codes[0]], colour: known.colours[codes[0]],
        count: codes.reduce((sum, k) => sum + (counts.get(k) || 0), 0) }));
      return shares.filter((c) => c.count).sort((a, b) => b.count - a.count);
    }

    defaultWidth() {
      const pitch = this.meta.um_per_px ? this.meta.spot.pitch_px * this.meta.um_per_px : 100;
      return Number((3 * pitch).toPrecision(2)); // never 0, however small the pixels are
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
      window.SpatialMeta.showScale(host, um / this.spatial.scale);
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
      const { scale, clip, log, bivariate, grid, size, pixels } = this.controls;
      return JSON.stringify([this.layer(), scale, clip, log, bivariate, grid, this.meta.raster ? [size, pixels] : null]);
    }

    applyMarks() {
      this.mark(this.spatial, this.result);
      this.panes.marks((view, result) => this.mark(view, result));
      $("explore-second").hidden = !this.controls.bivariate;
      $("explore-size-row").hidden = Boolean(this.controls.pixels);
      $("explore-dot-row").hidden = !this.controls.pixels;
    }

    /** Opacities and sizes, the same in every view. */
    mark(view, { meta }) {
      const { histology, spots, size, pixels } = this.controls;
      view.setImages(meta.images, histology);
      view.setOpacity(spots);
      view.setDiameter({ factor: size, pixels });
    }

    // --- keys, history, words ---------------------------------------------------------------------------------
    on(target, name, listener) {
      target.addEventListener(name, listener);
      this.listeners.push([target, name, listener]);
    }

    listen() {
      this.on(document, "sm:undo", () => this.alive && this.annotations.undo());
      this.on(document, "sm:redo", () => this.alive && this.annotations.redo());
    }

    zoom(factor) { this.spatial.zoomAt([this.spatial.width / 2, this.spatial.height / 2], factor); }

    setHistory({ can_undo, can_redo }) {
      ns.setProps("undo", { disabled: !can_undo });
      ns.setProps("redo", { disabled: !can_redo });
    }

    /** Words for those who can not see the change; nothing for the eye. */
    announce(text) { $("explore-announce").textContent = text; }

    say(text, level) {
      if (level === "stop" || level === "notice") window.SpatialMeta.toast({ level: level === "stop" ? "danger" : "info", title: text });
      $("explore-saved").textContent = text;
    }

    /** Write what is shown into the address. */
    remember() {
      if (this.alive && this.opened && this.controls) this.link.write(this);
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
    controls(result, layer, scale, low, high, log, bivariate, histology, spots, unit, size, dot, grid) {
      const clip = [Math.min(low, high - 1), Math.max(high, low + 1)].map(Number);
      ns.waiting = { result, layer, scale, clip, log: Boolean(log), bivariate: Boolean(bivariate), histology: histology / 100, spots: spots / 100,
        size: size / 100, pixels: unit === "px" ? Number(dot) : null, grid: Boolean(grid) };
      ns.page?.setControls(ns.waiting);
      return window.dash_clientside.no_update;
    },
    width(value) {
      ns.page?.findings.trajectory.setWidth(Number(value));
      return window.dash_clientside.no_update;
    },
  };
})();
