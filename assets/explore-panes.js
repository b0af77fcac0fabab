/* More than one picture in the middle: up to three more features of the same result, which move with the first, or the
 * other samples of the project in the same colours on the same scale, each of which moves by itself. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const MOST_BESIDE = 3, MOST_SAMPLES = 11;
  const h = (...given) => ns.h(...given); // explore-panels.js may come later
  const $ = (id) => ns.root.querySelector(`#${id}`);

  /** A view of a result beside the main one. */
  class Pane {
    constructor(page, host, { title, href = null, result, leader = null }) {
      Object.assign(this, { page, result, leader });
      const graph = h("div", { class: "ex-graph" }), overlay = h("div", { class: "ex-layer" });
      this.legendHost = h("div", { class: "ex-legend sm-veil", role: "group", "aria-label": `Legend of ${title}` });
      this.note = h("div", { class: "ex-note sm-veil", hidden: true });
      const head = h("div", { class: "ex-title sm-veil" }, href ? h("a", { href, title: "Open this sample" }, title) : title);
      this.stage = h("div", { class: "sm-canvas ex-stage", tabindex: "0", role: "application",
        "aria-label": `${title}. Arrow keys pan, plus and minus zoom, 0 shows everything.` }, graph, overlay, this.legendHost, head, this.note);
      host.append(this.stage);
      this.view = new ns.View(graph, this.stage);
      this.raster = new ns.Raster(this.view, { onPainted: (scale) => this.legend(scale), onError: (error) => page.say(ns.words(error), "stop") });
      const select = leader ? (step) => page.findings.select({ ...step, space: "spatial" }) : () => {};
      const nothing = () => {};
      this.tools = new ns.Tools(this.view, overlay, { select, add: nothing, edit: nothing, activate: nothing, hover: (at) => page.hover.show(this, at) }, { drawable: false });
      result.setUp(this.view);
      if (leader) this.follow(leader);
      else this.view.fit();
    }

    /** Move with the main view: what one does here is done there. */
    follow(leader) {
      const { view } = this;
      for (const name of ["zoomAt", "panBy", "fit"]) view[name] = (...given) => leader[name](...given);
      this.moved = () => view.place(leader.centre, leader.scale);
      view.resize = () => { view.measure(); this.moved(); };
      leader.onMove(this.moved);
      this.moved();
    }

    async load(hit, layer) {
      this.hit = hit;
      this.values = hit ? await this.result.values(hit, layer) : null;
      return this.values;
    }

    paint(controls, limits, marks) {
      const { view, hit, page, result } = this;
      this.note.hidden = Boolean(hit);
      view.canvas.hidden = !hit;
      if (!hit) { this.note.textContent = "This sample has no such feature."; return this.legendHost.replaceChildren(); }
      const hidden = page.categories.hiddenOf(hit.name);
      this.painting = result.painting(hit, this.values, controls, { hidden, limits });
      marks(view, result);
      if (result.meta.raster) return this.raster.show(result.data.base, page.rasterQuery(result, hit, { limits, leader: this.leader }));
      ns.paintInto(view, this.painting);
      if (this.leader) view.setSelected(page.spatial.selected);
      this.legend({ limits: this.painting.limits, missing: this.painting.codes.includes(this.painting.palette.length - 1) });
    }

    legend(scale) { ns.panels.legend(this.legendHost, { ...this.painting, ...scale }); }

    destroy() {
      if (this.leader) this.leader.listeners = this.leader.listeners.filter((l) => l !== this.moved);
      this.raster.destroy();
      this.view.destroy();
      this.stage.remove();
    }
  }

  class Panes {
    constructor(page) {
      Object.assign(this, { page, panes: [], beside: [], tool: "select", others: new Map() });
      this.search = new ns.Search($("explore-beside"), { label: "Show a feature side by side", placeholder: "Add side by side …", clear: true,
        find: (q, signal) => page.search(q, signal), onPick: (hit) => this.add(hit) });
    }

    /** Other results than the page's own. */
    results() { return [...this.others.values()]; }

    described() { return this.beside.map(ns.wordsOf).join("|") || null; }

    add(hit) {
      if (this.beside.some((b) => ns.wordsOf(b) === ns.wordsOf(hit))) return;
      if (this.beside.length >= MOST_BESIDE) return this.page.say("Four features fit side by side. Take one out first.", "notice");
      this.beside.push(hit);
      return this.page.recolour();
    }

    remove(hit) {
      this.beside = this.beside.filter((b) => b !== hit);
      return this.page.recolour();
    }

    /** Another result is shown: the same features, as far as it has them. */
    async take(words) {
      this.beside = (await Promise.all(words.slice(0, MOST_BESIDE).map((w) => this.page.result.find(w)))).filter(Boolean);
      this.clear();
    }

    clear() {
      this.panes.forEach((pane) => pane.destroy());
      this.panes = [];
      this.shape = null;
    }

    /** The panes that should be there, made where they are not. */
    async arrange() {
      const { page } = this, grid = page.controls.grid;
      const wanted = grid ? page.context.samples.filter((s) => s.id !== page.context.sample && s.result).slice(0, MOST_SAMPLES) : this.beside;
      const shape = JSON.stringify([grid, wanted.map((w) => w.id || ns.wordsOf(w)), page.result.id]);
      this.paintChips();
      page.title(grid ? page.context.samples.find((s) => s.id === page.context.sample)?.name : wanted.length ? page.state.colour?.name : null);
      if (shape === this.shape) return;
      if (grid) await Promise.all(wanted.map((s) => this.open(s.result)));
      if (!page.alive) return;
      this.clear();
      this.shape = shape;
      const count = wanted.length + 1, host = $("explore-more");
      $("explore-panes").style.setProperty("--columns", count === 1 ? 1 : count <= 4 ? 2 : count <= 9 ? 3 : 4);
      this.panes = wanted.map((w) => (grid
        ? new Pane(page, host, { title: w.name, href: `/p/${page.context.project}/${w.id}/explore`, result: this.others.get(w.result) })
        : new Pane(page, host, { title: w.name, result: page.result, leader: page.spatial })));
      if (!grid) this.panes.forEach((pane, i) => { pane.own = wanted[i]; });
      this.use(this.tool);
      for (const view of [page.spatial, ...this.panes.map((pane) => pane.view)]) view.resize(); // now that all have their place
    }

    async open(id) {
      if (!this.others.has(id)) this.others.set(id, await ns.Result.open(id, this.page.context.palettes));
      this.others.get(id).look(this.page.categories.changes());
    }

    /** Fetch what the panes show of `hit`; the range of all of them where one scale must hold for all samples. */
    async load(hit, first) {
      await this.arrange();
      const { grid, clip, log } = this.page.controls;
      const clustered = [this.page.result, ...this.panes.map((pane) => pane.result)].filter((result) => result.meta.step === "cluster");
      $("explore-grid-note").hidden = !grid || hit.name !== "leiden" || hit.kind === "feature" || clustered.length < 2;
      const found = await Promise.all(this.panes.map(async (pane) => {
        const own = pane.own || (await pane.result.find(ns.wordsOf(hit)));
        return pane.load(own, pane.result.layer(this.page.controls.layer));
      }));
      if (!grid || this.page.result.isCategory(hit)) return null;
      const shown = [this.page.result, ...this.panes.map((pane) => pane.result)];
      if (shown.some((result) => result.meta.raster)) return this.askLimits(hit);
      const all = [first, ...found].filter(Boolean);
      if (!all.length) return null;
      const joined = new Float32Array(all.reduce((n, v) => n + v.length, 0));
      all.reduce((at, v) => { joined.set(v, at); return at + v.length; }, 0);
      return ns.colour.limits(log ? ns.colour.logged(joined) : joined, ...clip);
    }

    /** The range over all samples, where the values of some of them never come here. */
    async askLimits(hit) {
      const { page } = this, { clip, log, layer } = page.controls;
      const of = [[page.result, hit], ...this.panes.map((pane) => [pane.result, pane.hit])].filter(([, own]) => own)
        .map(([result, own]) => ({ result: result.id, ...(own.kind === "feature" ? { feature: own.index, layer: result.layer(layer) } : { column: own.name }) }));
      return (await page.data.limits({ of, clip, log })).limits;
    }

    paint(limits, marks) {
      for (const pane of this.panes) pane.paint(this.page.controls, pane.leader ? null : limits, marks);
    }

    use(tool) {
      this.tool = tool;
      this.panes.forEach((pane) => pane.tools.use(tool));
    }

    marks(apply) { this.panes.forEach((pane) => apply(pane.view, pane.result)); }

    select(mask) { this.panes.forEach((pane) => pane.leader && pane.view.setSelected(mask)); }

    paintChips() {
      const chips = this.beside.map((hit) => h("span", { class: "ex-chip ex-plain" }, hit.name,
        h("button", { type: "button", class: "ex-mini", "aria-label": `Take ${hit.name} away`, title: "Take away", onclick: () => this.remove(hit) }, h("i", { class: "bi bi-x", "aria-hidden": "true" }))));
      $("explore-beside-chips").replaceChildren(...chips);
      $("explore-beside-chips").hidden = !chips.length;
    }

    destroy() { this.clear(); }
  }

  ns.Panes = Panes;
})();
