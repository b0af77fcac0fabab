/* The trajectory beside the tissue: its corridor, its direction, the profile of chosen features along it, and the features
 * that change most along it. Everything is asked of the server by the path itself, never by the spots near it. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const { h } = ns;
  const LIVE_MS = 90; // how often a moving slider asks for a new profile
  const RANK_MS = 400; // and for a new ranking
  const SETTLE_MS = 500; // a slider that rests this long is saved
  const ROUNDS = 3; // of corner cutting: eight points for each that was drawn
  const $ = (id) => ns.root.querySelector(`#${id}`);
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

  /** Cut every corner at a quarter and three quarters of its sides, keeping both ends; Chaikin, Computer Graphics and
   *  Image Processing 3 (1974). In the limit the quadratic B-spline of the points. */
  function chaikin(points, rounds = ROUNDS) {
    let line = points;
    for (let k = 0; k < rounds && line.length > 2; k++) {
      const cut = [line[0]];
      for (let i = 0; i + 1 < line.length; i++) {
        const [a, b] = [line[i], line[i + 1]];
        cut.push([0.75 * a[0] + 0.25 * b[0], 0.75 * a[1] + 0.25 * b[1]], [0.25 * a[0] + 0.75 * b[0], 0.25 * a[1] + 0.75 * b[1]]);
      }
      line = cut.concat([line[line.length - 1]]);
    }
    return line;
  }

  /** Whether a path is the smooth curve of the points it was drawn with; an edit of the curve makes it a line of its own. */
  const isSmooth = ({ geometry, properties }) => Boolean(properties.drawn) && same(chaikin(properties.drawn), geometry.coordinates);

  class Trajectory {
    constructor(findings) {
      this.findings = findings;
      this.chosen = null; // features of the profile; until a person chooses: what the map shows and one of the other modality
      this.scaled = true;
      this.ranking = { open: false, kind: "all", order: "test", text: "" };
      this.askProfile = ns.throttle(() => this.requestProfile(), LIVE_MS);
      this.askRanking = ns.throttle(() => this.rank(), RANK_MS);
      const { page } = findings;
      this.search = new ns.Search($("explore-profile-search"), {
        label: "Add a gene or metabolite to the profile", placeholder: "Add gene or metabolite …", clear: true,
        find: async (q, signal) => (await page.search(q, signal)).filter((hit) => hit.kind === "feature"),
        onPick: (hit) => this.setFeatures([...this.features().filter((f) => f.index !== hit.index), hit]),
      });
      $("explore-reverse").onclick = () => this.reverse();
      $("explore-smooth").onclick = () => this.smooth();
      $("explore-scaled").onclick = () => { this.scaled = !this.scaled; this.paint(); };
      $("explore-rank").onclick = () => this.toggleRanking();
      $("explore-rank-kind").onchange = (e) => this.setRanking({ kind: e.target.value });
      $("explore-rank-order").onchange = (e) => { this.ranking.order = e.target.value; this.paintRanking(); };
      $("explore-rank-list").onchange = (e) => this.setRanking({ text: e.target.value, list: null });
    }

    get page() { return this.findings.page; }

    /** The result in whose places a path is measured: the one that is shown, or, where that is a section as measured, its
     *  pixels where the alignment puts them; there the lengths are those of the tissue in the ST image. */
    get source() {
      const { meta } = this.page;
      return meta?.frame === "st" ? meta.result : this.findings.regions.aligned;
    }

    get data() { return new ns.Data(this.source); }

    /** The path that is shown: the active one, else the last drawn. */
    path() {
      if (!this.source) return null;
      const paths = this.findings.document.features.filter((f) => f.properties.kind === "trajectory");
      return paths.find((f) => f.id === this.findings.active) || paths[paths.length - 1] || null;
    }

    features() {
      const { colour } = this.page.state;
      const first = this.page.meta?.first_features || [];
      if (this.chosen) return this.chosen;
      if (!colour || colour.kind !== "feature") return first;
      return [colour, ...first.filter((f) => f.tag !== colour.tag)];
    }

    setFeatures(features) {
      this.chosen = features;
      this.paint();
      this.page.remember();
    }

    paint() {
      const path = this.path();
      $("explore-trajectory").hidden = !path;
      if (!path) { this.lastProfile = this.lastRanking = null; return; }
      const width = path.properties.width_um;
      $("explore-trajectory-name").textContent = `Trajectory · ${path.properties.name}`;
      $("explore-trajectory-note").textContent = `corridor ${Math.round(width)} µm`;
      $("explore-scaled").setAttribute("aria-pressed", String(this.scaled));
      $("explore-smooth").setAttribute("aria-pressed", String(isSmooth(path)));
      $("explore-smooth").disabled = path.geometry.coordinates.length < 3;
      if (this.widthShown !== width) ns.setProps("explore-width", { value: width });
      this.widthShown = width;
      const features = this.features();
      ns.panels.chips($("explore-profile-features"), features, this.page.context.palettes.lines,
        (gone) => this.setFeatures(features.filter((f) => f.index !== gone.index)));
      this.askProfile();
      if (this.ranking.open) this.askRanking();
    }

    /** What every question about the path begins with; null where there is none. */
    question() {
      const path = this.path();
      return path && { line: path.geometry.coordinates, width_um: path.properties.width_um, layer: this.page.layer() };
    }

    requestProfile() {
      const question = this.question();
      if (!question) return;
      const request = { ...question, result: this.source, ...this.profileOptions() };
      const text = JSON.stringify(request);
      if (text === this.lastProfile) return;
      this.lastProfile = text;
      ns.setProps("explore-profile-request", { data: request });
    }

    profileOptions() { return { features: this.features().map((f) => f.index), scaled: this.scaled }; }

    // --- the path itself --------------------------------------------------------------------------------------
    /** The corridor follows the slider at once, and is saved when the slider rests. */
    setWidth(width) {
      const path = this.path();
      if (!path || !(width > 0) || width === path.properties.width_um) return;
      path.properties.width_um = this.widthShown = width;
      this.findings.paintShapes();
      clearTimeout(this.settle);
      this.settle = setTimeout(() => this.findings.regions.change(path.id, (f) => { f.properties.width_um = width; }), SETTLE_MS);
    }

    reverse() {
      const path = this.path();
      if (!path) return;
      this.findings.regions.change(path.id, (f) => {
        f.geometry.coordinates.reverse();
        f.properties.drawn?.reverse();
      });
      this.page.announce(`${path.properties.name} runs the other way now`);
    }

    /** Between the points as drawn and the curve through their corners; the sampled curve is what is saved and measured. */
    smooth() {
      const path = this.path();
      if (!path) return;
      this.findings.regions.change(path.id, (f) => {
        const { properties, geometry } = f;
        if (isSmooth(f)) {
          geometry.coordinates = properties.drawn;
          delete properties.drawn;
        } else {
          properties.drawn = geometry.coordinates;
          geometry.coordinates = chaikin(properties.drawn);
        }
      });
    }

    // --- what changes along it --------------------------------------------------------------------------------
    toggleRanking() {
      this.ranking.open = !this.ranking.open;
      $("explore-rank").setAttribute("aria-expanded", String(this.ranking.open));
      $("explore-ranking").hidden = !this.ranking.open;
      this.lastRanking = null;
      if (this.ranking.open) this.askRanking();
    }

    setRanking(change) {
      Object.assign(this.ranking, change);
      $("explore-rank-list").hidden = this.ranking.kind !== "list";
      this.askRanking();
    }

    /** The indices of the pasted list, or null for all features. */
    async listed() {
      const { kind, text } = this.ranking;
      if (kind !== "list") return null;
      if (!this.ranking.list) this.ranking.list = await this.page.data.list(text);
      return this.ranking.list.features.map((f) => f.index);
    }

    async rank() {
      const question = this.question();
      if (!question || !this.ranking.open) return;
      const { kind, text } = this.ranking;
      if (kind === "list" && !text.trim()) return this.sayRanking("Write genes, metabolites or m/z above, one a line or with commas.");
      const asked = JSON.stringify([this.source, question, kind, text]);
      if (asked === this.lastRanking) return;
      this.lastRanking = asked;
      if (!this.ranked) this.sayRanking("Testing every feature along the path …");
      try {
        const features = await this.listed();
        const answer = await this.data.along({ ...question, features, kind: ["ST", "SM"].includes(kind) ? kind : null });
        if (asked !== this.lastRanking) return;
        this.ranked = answer;
        this.paintRanking();
      } catch (error) {
        this.ranked = null;
        this.sayRanking(ns.words(error));
      }
    }

    sayRanking(text) {
      $("explore-along").replaceChildren();
      $("explore-rank-note").textContent = text;
    }

    rows() {
      const rows = this.ranked ? this.ranked.rows.slice() : [];
      return this.ranking.order === "peak" ? rows.sort((a, b) => a.peak_um - b.peak_um) : rows;
    }

    paintRanking() {
      if (!this.ranked) return;
      const { scales } = this.page.context.palettes, ramp = ns.colour.ramp(scales[this.page.controls.scale] || scales.viridis, 64);
      const missing = this.ranking.kind === "list" && this.ranking.list ? this.ranking.list.missing : [];
      const { tested, spots } = this.ranked;
      ns.refill($("explore-along"), this.rows().map((row) => strip(row, ramp, row.name === this.page.state.colour?.name, () => {
        this.page.colourBy(row);
        this.page.announce(`Coloured by ${row.name}`);
      })));
      $("explore-rank-note").textContent = `${ns.panels.count(tested)} features tested in ${ns.panels.count(spots)} spots: F test of a natural spline (4 df) ` +
        `against position, Benjamini–Hochberg FDR. Neighbouring spots are not independent: read it as a ranking.` +
        (missing.length ? ` Not found: ${missing.join(", ")}.` : "");
    }
  }

  /** One row of the heat map: a name that recolours the view, the smooth as colours, the FDR. */
  function strip(row, ramp, shown, onPick) {
    const stops = row.values.map((v) => (v === null ? "transparent" : ramp[Math.round(Math.max(0, Math.min(1, v)) * (ramp.length - 1))]));
    const fdr = ns.panels.pValue(row.fdr);
    return h("li", { class: "ex-strip" + (shown ? " ex-current" : "") },
      h("button", { type: "button", class: "ex-name", "data-key": `along-${row.index}`, onclick: onPick,
        title: `Colour by ${row.name} · F ${ns.colour.number(row.f)} · R² ${row.r2.toFixed(2)} · Spearman ${row.rho.toFixed(2)} · highest at ${Math.round(row.peak_um)} µm` }, row.name),
      h("span", { class: "ex-strip-bar", "aria-hidden": "true", style: `background:linear-gradient(90deg, ${stops.join(", ")})` }),
      h("span", { class: "sm-num sm-muted", title: "FDR" }, fdr));
  }

  Object.assign(ns, { Trajectory, chaikin, isSmooth });
})();
