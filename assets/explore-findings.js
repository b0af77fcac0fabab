/* The right side of the page: what is selected and what is in it. It holds which shape is active and
 * which spots are selected; a selection is a list of steps (geometry or categories), and that list, never a list of
 * spots, is what the server is asked about. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  // within this page, also when the person has left it while an answer was on its way: what is painted then goes nowhere
  const $ = (id) => ns.root.querySelector(`#${id}`);

  /** Call `work` at once, then at most every `ms`, and always once after the last call. */
  function throttle(work, ms) {
    let timer = null, again = false;
    return function run(...args) {
      if (timer) { again = args; return; }
      work(...args);
      timer = setTimeout(() => { timer = null; if (again) { const last = again; again = false; run(...last); } }, ms);
    };
  }

  class Findings {
    constructor(page) {
      this.page = page;
      this.steps = [];
      this.mask = null;
      this.active = null;
      this.regions = new ns.Regions(this);
      this.markers = new ns.Markers(this);
      this.trajectory = new ns.Trajectory(this);
    }

    destroy() { this.regions.destroy(); }

    get annotations() { return this.page.annotations; }
    get document() { return this.annotations.document; }

    // --- selection --------------------------------------------------------------------------------------------
    /** Add a step ({op, space, geometry} or {op, column, codes} or {op: "invert"}) to the selection. */
    select(step) {
      if (step.op === "set") this.steps = [];
      this.active = null;
      this.steps = this.steps.concat([step]);
      this.applySteps();
      this.paintShapes();
      this.page.remember();
    }

    clearSelection() {
      this.steps = [];
      this.active = null;
      this.applySteps();
      this.paintShapes();
      this.page.remember();
    }

    /** The spots at once, by the browser; the numbers follow from the server, whose answer also settles the spots. */
    applySteps() {
      this.mask = this.steps.length ? this.evaluate() : null;
      this.highlight();
      this.markers.close();
      if (!this.mask) {
        this.summary = null;
        return this.paintSelection();
      }
      this.askSummary();
    }

    evaluate() {
      const mask = new Uint8Array(this.page.meta.n_obs);
      if (this.page.meta.raster) return mask; // the server has the places and paints
      for (const step of this.steps) {
        if (step.op === "invert") { for (let i = 0; i < mask.length; i++) mask[i] ^= 1; continue; }
        const chosen = step.column ? this.page.inCategories(step.column, step.codes) : this.page.inGeometry(step.space, step.geometry);
        if (step.op === "intersect") for (let i = 0; i < mask.length; i++) mask[i] &= chosen[i];
        else for (let i = 0; i < chosen.length; i++) if (chosen[i]) mask[i] = step.op === "subtract" ? 0 : 1;
      }
      return mask;
    }

    /** A region's own outline shows where it is; other spots are dimmed only where there is no outline to see. */
    highlight() {
      if (this.page.result) this.page.showSelected(this.active ? null : this.mask, this.mask);
    }

    async askSummary() {
      this.asking?.abort();
      const asking = (this.asking = new AbortController());
      try {
        const answer = await this.page.data.selection({ steps: this.steps, ...this.page.shown() }, asking.signal);
        if (asking.signal.aborted || !this.mask) return;
        this.mask = unpack(answer.mask, this.page.meta.n_obs);
        this.highlight();
        this.summary = { ...answer, categories: this.page.withColours(answer.column, answer.categories) };
        this.paintSelection();
      } catch (error) {
        if (error.name !== "AbortError") this.page.say(ns.words(error), "stop");
      } finally {
        if (this.asking === asking) this.asking = null;
      }
    }

    paintSelection() {
      const feature = this.active && this.annotations.feature(this.active);
      const summary = this.summary && { ...this.summary, saved: feature ? feature.properties.name : null, drawable: this.page.meta.frame === "st" };
      ns.panels.selection($("explore-selection"), summary, {
        name: this.regions.freeName("Region"), noun: this.page.result.noun, onSave: (name) => this.saveSelection(name), onMarkers: () => this.askMarkers(),
        onClear: () => this.clearSelection(), onInvert: () => { this.active = null; this.steps.push({ op: "invert" }); this.applySteps(); this.paintShapes(); },
      });
    }

    /** One lasso is saved as it was drawn; anything else as the outline of its spots. */
    async saveSelection(name) {
      const only = this.steps.length === 1 && this.steps[0];
      try {
        const geometries = only && only.space === "spatial" ? [only.geometry] : (await this.page.data.outline(this.steps)).geometries;
        if (!geometries.length) return;
        await this.regions.addAll(geometries, name);
      } catch (error) {
        this.page.say(ns.words(error), "stop");
      }
    }

    askMarkers() {
      const feature = this.active && this.annotations.feature(this.active);
      this.markers.open(feature ? feature.properties.name : "selection");
    }

    /** Keys of the right side; true when the key was for it. */
    key(event) {
      const works = {
        f: () => this.page.exporter.toggle(), m: () => this.mask && this.askMarkers(),
        d: () => this.trajectory.reverse(), s: () => this.trajectory.smooth(), h: () => this.trajectory.path() && this.trajectory.toggleRanking(),
      };
      const work = !event.altKey && works[event.key.toLowerCase()];
      if (work) work();
      return Boolean(work);
    }

    // --- shapes -----------------------------------------------------------------------------------------------
    /** Show one shape: handles on the tissue, its spots in the UMAP, its numbers; a path also its profile. */
    activate(id) {
      const feature = id ? this.regions.inView(id) : null;
      if (!feature) {
        if (this.active) this.clearSelection();
        return;
      }
      this.active = id;
      this.steps = feature.properties.kind === "region" ? [{ op: "set", space: "spatial", geometry: feature.geometry }] : [];
      this.applySteps();
      this.paintShapes();
      this.page.remember();
    }

    /** After any change of the document: my own, undone, or somebody else's. */
    documentChanged(why) {
      if (this.active && !this.annotations.feature(this.active)) this.clearSelection();
      else if (this.active && why !== "saved") this.activate(this.active);
      this.paintShapes();
      this.regions.changed(why);
      this.page.setHistory(this.annotations.head);
    }

    paintShapes() {
      this.page.tools?.show(this.regions.shown(), this.active);
      this.regions.paint();
      this.trajectory.paint();
    }
  }

  /** Bits, first spot first, as numpy.packbits(bitorder="little") packs them. */
  function unpack(base64, n) {
    const text = atob(base64), mask = new Uint8Array(n); // a loop: a million bits in milliseconds
    for (let i = 0; i < n; i++) mask[i] = (text.charCodeAt(i >> 3) >> (i & 7)) & 1;
    return mask;
  }

  ns.Findings = Findings;
  ns.throttle = throttle;
})();
