/* One result as the page shows it: its arrays (kept for coming back to a feature), how a feature is found again by its
 * name, and how values become colours. Of a result with very many spots nothing but pictures is asked for. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const KEPT = 48; // arrays of values
  const HUGE_KEPT = 6; // of more than 50,000 spots

  /** What identifies a feature or a column in an address, and between samples. */
  const wordsOf = (hit) => `${hit.kind}:${hit.name}`;

  /** The codes that have each name, in the order of their first. */
  function oneName(labels) {
    const groups = new Map();
    labels.forEach((name, k) => groups.set(name, [...(groups.get(name) || []), k]));
    return [...groups.values()];
  }

  class Result {
    static async open(id, palettes) {
      const result = new Result(id, palettes);
      await result.load();
      return result;
    }

    constructor(id, palettes) {
      Object.assign(this, { id, palettes, data: new ns.Data(id), kept: new Map() });
    }

    async load() {
      const { data } = this, meta = (this.meta = await data.meta());
      this.columns = new Map(meta.columns.map((c) => [c.name, c]));
      const none = new Float32Array(0);
      [this.xy, this.umapXY] = meta.raster ? [none, none]
        : await Promise.all([data.obsm("spatial"), meta.umap ? data.obsm(meta.umap) : none]);
      this.look({});
    }

    /** Names and colours of categories: the data's own, and what people changed (see explore-categories.js). */
    look(changes) {
      const usual = this.palettes.categories;
      for (const column of this.columns.values()) {
        if (!column.categories) continue;
        const mine = changes[column.name] || {};
        column.labels = column.categories.map((name) => mine[name]?.name || name);
        column.colours = column.categories.map((name, k) => mine[name]?.color || column.colors?.[k] || usual[k % usual.length]);
        column.groups = oneName(column.labels); // what goes by one name is one category, in the colour of its first
        for (const codes of column.groups) for (const k of codes) column.colours[k] = column.colours[codes[0]];
      }
    }

    isCategory(hit) { return hit?.kind === "obs" && Boolean(this.columns.get(hit.name)?.categories); }

    layer(wanted) {
      const names = this.meta.layers.map((l) => l.name);
      return names.includes(wanted) ? wanted : names.includes("normalized") ? "normalized" : names[0];
    }

    async search(query, signal) { return (await this.data.search(query, signal)).hits; }

    /** The feature or column of "feature:Pcp4"; null where this result has none. */
    async find(text) {
      const [kind, ...rest] = text.split(":"), name = rest.join(":");
      return (await this.search(name)).find((hit) => hit.kind === kind && hit.name === name) || null;
    }

    /** Values of every spot; null where the server paints. */
    async values(hit, layer) {
      if (this.meta.raster) return null;
      const key = hit.kind === "feature" ? `${hit.index}/${layer}` : hit.name;
      if (!this.kept.has(key)) {
        const work = hit.kind === "feature" ? this.data.values(hit.index, layer) : this.isCategory(hit) ? this.data.codes(hit.name) : this.data.numbers(hit.name);
        this.kept.set(key, work);
        work.catch(() => this.kept.delete(key));
        if (this.kept.size > (this.meta.n_obs > 50_000 ? HUGE_KEPT : KEPT)) this.kept.delete(this.kept.keys().next().value);
      }
      return this.kept.get(key);
    }

    /** Colours of every spot. `second`: a second feature and its values; `limits`: those of a scale shared by views. */
    painting(hit, values, { clip, log, scale }, { second = null, hidden = new Set(), limits = null } = {}) {
      const options = { clip, log, limits, stops: this.palettes.scales[scale] }, nothing = new Float32Array(0);
      if (second) return { kind: "pair", labels: [hit.name, second.hit.name], ...ns.colour.bivariate(values || nothing, second.values || nothing, options) };
      if (this.isCategory(hit)) {
        const column = this.columns.get(hit.name);
        const categories = column.groups.map((codes) => ({ name: column.labels[codes[0]], colour: column.colours[codes[0]], hidden: codes.every((k) => hidden.has(k)) }));
        return { kind: "category", column, categories, hidden, ...ns.colour.categorical(values || new Uint16Array(0), column.colours) };
      }
      return { kind: "number", label: hit.name + (log ? ", log" : ""), ...ns.colour.continuous(values || nothing, options) };
    }

    /** What its places are called. */
    get noun() { return this.meta.spot.symbol === "square" ? "pixels" : "spots"; }

    countText() {
      const { meta } = this;
      const size = meta.um_per_px ? ` · ${Math.round(meta.spot.diameter_px * meta.um_per_px)} µm` : "";
      return `${ns.panels.count(meta.n_obs)} ${this.noun}${size}`;
    }

    /** Give a view the places and the form of the spots of this result. */
    setUp(view) {
      const { meta } = this;
      view.umPerUnit = meta.um_per_px;
      view.setPoints(this.xy, meta.extent);
      view.setSymbol(meta.spot.symbol);
      view.setDiameter({ data: meta.spot.diameter_px });
    }
  }

  /** Which spots a painting leaves out: those of hidden categories. Null: none. */
  function hiddenMask({ kind, hidden, codes }) {
    if (kind !== "category" || !hidden.size || !codes.length) return null;
    return Uint8Array.from(codes, (c) => (hidden.has(c) ? 1 : 0));
  }

  function paintInto(view, painting) {
    view.setColours(painting);
    view.setHidden(hiddenMask(painting));
  }

  Object.assign(ns, { Result, wordsOf, paintInto });
})();
