/* Regions and paths: every change of what was drawn. A change goes into the document of annotations, whose owner saves it;
 * which shape is active and what it chooses is the findings' business; the list is painted by explore-shapelist.js.
 * Shapes are kept in the frame of the ST image. On a section as measured they are shown where the alignment carries them. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const $ = (id) => ns.root.querySelector(`#${id}`);
  const OPERATIONS = { add: "union", subtract: "difference", intersect: "intersection" };
  const SAVE_MS = 700;
  const PLACE = 100; // coordinates are kept to 0.01 of a pixel
  const groupOf = (p) => p.group || "regions";
  const isRegion = (f) => f.properties.kind === "region";
  const homeOf = (p) => (p.kind === "region" ? groupOf(p) : null); // whose classes it has, see Regions.members

  const rounded = (value) => (Array.isArray(value) ? value.map(rounded) : Math.round(value * PLACE) / PLACE);

  class Regions {
    constructor(findings) {
      this.findings = findings;
      this.measures = new Map();
      this.marked = new Set(); // ids chosen beside the active one, for what is done to several
      this.aligned = null; // on a section as measured: the result with its pixels where the alignment puts them
      this.carried = null; // on a section as measured: id -> the feature there; null where no alignment leads there
      this.list = new ns.ShapeList(this);
      this.clock = setInterval(() => this.paintSaved(), 1000);
    }

    destroy() { clearInterval(this.clock); }

    get page() { return this.findings.page; }
    get annotations() { return this.page.annotations; }
    get document() { return this.annotations.document; }
    get active() { return this.findings.active && this.annotations.feature(this.findings.active); }

    // --- frames -----------------------------------------------------------------------------------------------
    get straight() { return this.page.meta?.frame === "st"; }
    get drawable() { return this.straight || Boolean(this.carried); }

    /** The shapes as the view that is shown has them. */
    shown() {
      if (!this.page.meta) return [];
      return this.straight ? this.document.features : this.document.features.map((f) => this.inView(f.id)).filter(Boolean);
    }

    inView(id) {
      if (!this.page.meta) return null;
      return this.straight ? this.annotations.feature(id) : this.carried?.get(id) || null;
    }

    /** Another result is shown: what was drawn goes where its frame is. */
    async follow() {
      this.carried = this.aligned = null;
      if (!this.straight) await this.carry();
      this.page.toolbar?.limit();
      this.list.offerColumns();
      this.findings.paintShapes();
      this.measure();
    }

    async carry() {
      const { features } = this.document;
      try {
        const { geometries, aligned } = await this.annotations.ask("carry", { geometries: features.map((f) => f.geometry), to: "sm" });
        this.aligned = aligned?.sm === this.page.meta.result ? aligned.result : null;
        // null: not aligned yet, as the note on the view says
        this.carried = geometries && new Map(features.map((f, i) => [f.id, { ...f, geometry: geometries[i] }]));
      } catch (error) {
        this.page.say(ns.words(error), "stop");
        this.carried = this.aligned = null;
      }
    }

    /** A geometry drawn in this view, in the frame in which it is kept. */
    async kept(geometry) {
      if (this.straight) return placed(geometry);
      return placed((await this.annotations.ask("carry", { geometries: [geometry], to: "st" })).geometries[0]);
    }

    // --- changes ----------------------------------------------------------------------------------------------
    /** The document is another one; `why` as Annotations say it. */
    async changed(why) {
      for (const id of this.marked) if (!this.annotations.feature(id)) this.marked.delete(id);
      this.paintSaved();
      if (this.page.meta && !this.straight) {
        await this.carry();
        if (this.findings.active && why !== "saved") this.findings.activate(this.findings.active); // where it is now
        else this.findings.paintShapes();
      }
      if (why !== "edit" && why !== "merge") this.measure(); // once it is saved
    }

    append(geometry, kind, properties) {
      const own = kind === "region" ? { group: this.list.group } : { width_um: this.page.defaultWidth() };
      return { type: "Feature", id: ns.newId(), geometry, properties: { kind, ...own, ...properties } };
    }

    /** A drawn shape is saved at once under the next free name, and its name is ready to be typed over. */
    add(geometry, kind) {
      return this.careful(async () => {
        const ring = kind === "region" && geometry.type === "Polygon" ? geometry.coordinates[0] : null;
        if (ring && ns.geometry.crosses(ns.geometry.open(ring))) geometry = await this.combined("union", [geometry]);
        if (!geometry) return;
        const name = this.freeName(kind === "region" ? "Region" : "Path");
        const feature = this.append(await this.kept(geometry), kind, { name, color: kind === "region" ? this.freeColour() : "#ffffff" });
        const saved = this.annotations.commit((doc) => doc.features.push(feature));
        if (!this.straight) await this.carry();
        this.findings.activate(feature.id);
        if (this.page.toolbar.tool !== "brush") {
          this.list.startRenaming(feature.id);
          this.page.toolbar.use("select");
        }
        await saved;
      });
    }

    /** Save outlines of one selection under one name. */
    async addAll(geometries, name) {
      const color = this.freeColour(), called = name.trim() || this.freeName("Region");
      const features = geometries.map((geometry) => this.append(placed(geometry), "region", { name: called, color }));
      await this.annotations.commit((doc) => doc.features.push(...features));
      this.findings.activate(features[0].id);
    }

    change(id, edit) { return this.changeAll([id], edit); }

    changeAll(ids, edit) {
      const wanted = new Set(ids.filter((id) => this.annotations.feature(id)));
      if (!wanted.size) return Promise.resolve();
      return this.annotations.commit((doc) => doc.features.forEach((f) => wanted.has(f.id) && edit(f)));
    }

    /** A shape as a hand changed it in this view; where it is only carried here, it is kept as the alignment carries it back. */
    edit(id, geometry) {
      return this.careful(async () => {
        const shown = this.carried?.get(id);
        if (shown) shown.geometry = geometry; // stays where the hand left it
        const kept = await this.kept(geometry);
        this.change(id, (f) => { f.geometry = kept; });
        if (id === this.findings.active) this.findings.activate(id);
      }, this.straight ? 0 : 1);
    }

    remove(id) { return id && this.removeAll([id]); }

    removeAll(ids) {
      const gone = new Set(ids.filter((id) => this.annotations.feature(id) && !this.annotations.feature(id).properties.locked));
      if (gone.size < ids.length) this.page.say("What is locked stays. Unlock it first.", "notice");
      if (!gone.size) return;
      if (gone.has(this.findings.active)) this.findings.clearSelection();
      this.annotations.commit((doc) => { doc.features = doc.features.filter((f) => !gone.has(f.id)); });
    }

    duplicate(id) {
      const feature = this.annotations.feature(id);
      if (!feature) return;
      const [x0, y0, x1, y1] = ns.geometry.bounds(ns.shapeParts(feature).flat());
      const step = Math.max(x1 - x0, y1 - y0) / 8; // of the shape, not of the spots: they may be of another frame
      const moved = (value) => (Array.isArray(value[0]) ? value.map(moved) : [value[0] + step, value[1] + step]);
      const { locked, ...properties } = feature.properties;
      const geometry = placed({ ...feature.geometry, coordinates: moved(feature.geometry.coordinates) });
      const copy = { ...feature, id: ns.newId(), geometry, properties: { ...properties, name: this.freeName(`${properties.name} copy`) } };
      this.annotations.commit((doc) => doc.features.push(copy));
      this.findings.activate(copy.id);
    }

    lock(id) { return this.change(id, ({ properties: p }) => { if (p.locked) delete p.locked; else p.locked = true; }); }

    // --- groups and classes -----------------------------------------------------------------------------------
    regionsOf(group) { return this.document.features.filter((f) => isRegion(f) && groupOf(f.properties) === group); }

    /** Shapes that share their classes: the regions of a group, or (null) all paths. */
    members(group) { return group === null ? this.document.features.filter((f) => !isRegion(f)) : this.regionsOf(group); }

    groups() { return [...new Set(this.document.features.filter(isRegion).map((f) => groupOf(f.properties)))]; }

    /** name -> colour of the classes that the members of a group were given. */
    classes(group) {
      return new Map(this.members(group).filter((f) => f.properties.class).map((f) => [f.properties.class, f.properties.color]));
    }

    /** Give shapes a class (none: ''); they take the colour of the class. */
    classify(ids, name) {
      const text = name.trim();
      return this.changeAll(ids, ({ properties: p }) => {
        if (!text) { delete p.class; return; }
        p.color = this.classes(homeOf(p)).get(text) || p.color;
        p.class = text;
      });
    }

    regroup(ids, name) {
      const text = name.trim();
      return text ? this.changeAll(ids, (f) => { if (isRegion(f)) f.properties.group = text; }) : Promise.resolve();
    }

    renameClass(group, before, after) {
      const text = after.trim();
      if (text && text !== before) this.classify(this.members(group).filter((f) => f.properties.class === before).map((f) => f.id), text);
    }

    /** A class has one colour, which all its members have. */
    colour(id, color) {
      const { properties: p } = this.annotations.feature(id);
      if (p.class) return this.colourClass(homeOf(p), p.class, color);
      return this.change(id, (f) => { f.properties.color = color; });
    }

    colourClass(group, name, color) {
      return this.changeAll(this.members(group).filter((f) => f.properties.class === name).map((f) => f.id), (f) => { f.properties.color = color; });
    }

    // --- boolean operations, brush ----------------------------------------------------------------------------
    async combined(operation, geometries) { return (await this.annotations.ask("combine", { operation, geometries })).geometry; }

    /** A drawing joined to the active region, cut from it, or what both have. */
    merge(geometry, op) {
      return this.careful(async () => {
        const shape = this.active;
        if (!shape || !isRegion(shape)) {
          if (op === "add") return this.add(geometry, "region");
          return this.page.say("Choose a region first: the drawing changes the one that is shown.", "notice");
        }
        if (shape.properties.locked) return this.page.say(`${shape.properties.name} is locked.`, "notice");
        const found = await this.combined(OPERATIONS[op], [shape.geometry, await this.kept(geometry)]);
        if (!found) return this.page.say("Nothing of the region would be left; it stays as it was.", "notice");
        await this.change(shape.id, (f) => { f.geometry = found; });
        this.findings.activate(shape.id);
      });
    }

    brush(line, radius, op) {
      return this.careful(async () => {
        const { geometry } = await this.annotations.ask("stroke", { line, radius });
        return op === "set" ? this.add(geometry, "region") : this.merge(geometry, op);
      });
    }

    /** Union, difference or intersection of the chosen regions: the first takes the result, the others go. */
    combine(operation, ids) {
      return this.careful(async () => {
        const shapes = ids.map((id) => this.annotations.feature(id)).filter((f) => f && isRegion(f));
        if (shapes.some((f) => f.properties.locked)) return this.page.say("One of them is locked.", "notice");
        const geometry = await this.combined(operation, shapes.map((f) => f.geometry));
        if (!geometry) return this.page.say("Nothing would be left of these regions; they stay as they were.", "notice");
        const [first, ...others] = shapes.map((f) => f.id);
        this.marked.clear();
        await this.annotations.commit((doc) => {
          doc.features.find((f) => f.id === first).geometry = geometry;
          if (operation !== "difference") doc.features = doc.features.filter((f) => !others.includes(f.id));
        });
        this.findings.activate(first);
      });
    }

    // --- files and columns ------------------------------------------------------------------------------------
    importFile(text) {
      return this.careful(async () => {
        const { features, skipped } = await this.annotations.ask("geojson", { text, width_um: this.page.defaultWidth() });
        const known = new Set(this.document.features.map((f) => f.id));
        const fresh = features.filter((f) => !known.has(f.id)), again = new Map(features.filter((f) => known.has(f.id)).map((f) => [f.id, f]));
        if (features.length)
          await this.annotations.commit((doc) => { doc.features = doc.features.map((f) => again.get(f.id) || f).concat(fresh); });
        this.list.report({ added: fresh.length, updated: again.size, skipped, outside: this.outside(features) });
      });
    }

    /** How many shapes lie wholly outside this section: then their coordinates are of another image. */
    outside(features) {
      const [x0, y0, x1, y1] = this.page.spatial.extent;
      return this.straight ? features.filter((f) => {
        const [a, b, c, d] = ns.geometry.bounds(ns.shapeParts(f).flat());
        return a > x1 || c < x0 || b > y1 || d < y0;
      }).length : 0;
    }

    fromColumn(column) {
      return this.careful(async () => {
        const { regions } = await this.page.data.regions(column), { colours, labels, categories, groups } = this.page.result.columns.get(column);
        const made = [];
        for (const codes of groups) {
          const parts = regions.filter((r) => codes.includes(categories.indexOf(r.name))).map((r) => r.geometry);
          const geometry = parts.length > 1 ? await this.combined("union", parts) : parts[0];
          if (geometry) made.push(this.append(geometry, "region", { group: column, name: labels[codes[0]], color: colours[codes[0]] }));
        }
        if (made.length) await this.annotations.commit((doc) => doc.features.push(...made));
      });
    }

    /** Write the AnnData with all annotations; the slots are listed while it is written, and its file when it is there. */
    save() {
      return this.careful(async () => {
        const { job, slots } = await this.annotations.ask("save", {});
        for (;;) {
          const now = await window.SpatialMeta.job(job);
          if (!this.page.alive) return;
          this.list.saved(now, slots);
          if (["done", "failed", "cancelled"].includes(now.state)) return;
          await new Promise((done) => setTimeout(done, SAVE_MS));
        }
      }, 0);
    }

    // --- conflicts, measures, words ---------------------------------------------------------------------------
    /** What a person chose where two had changed one shape; both stand until then. */
    settle(choices) {
      return this.annotations.commit((doc) => {
        for (const { mine, theirs, keep } of choices) {
          const own = doc.features.find((f) => f.id === mine), other = doc.features.find((f) => f.id === theirs);
          if (keep === "both" || !own) continue;
          if (keep === "mine" && other) {
            const name = own.properties.name.replace(/ \(mine\)$/, "");
            Object.assign(other, { geometry: own.geometry, properties: { ...own.properties, name } });
          }
          doc.features = doc.features.filter((f) => f.id !== mine);
        }
      });
    }

    /** Errors as words; while it goes on nothing of others is taken in, and the page is not called saved. */
    async careful(work, waits = 1) {
      this.annotations.pending += waits;
      try {
        return await work();
      } catch (error) {
        return this.page.say(ns.words(error), "stop");
      } finally {
        this.annotations.pending -= waits;
      }
    }

    freeName(word) {
      const taken = new Set(this.document.features.map((f) => f.properties.name));
      let n = 1;
      while (taken.has(`${word} ${n}`)) n++;
      return `${word} ${n}`;
    }

    freeColour() {
      const used = this.document.features.map((f) => f.properties.color);
      const { outlines } = this.page.context.palettes;
      return outlines.find((c) => !used.includes(c)) || outlines[used.length % outlines.length];
    }

    async measure() {
      const { page } = this;
      if (!page.meta || !this.straight) return;
      this.measuring?.abort();
      const measuring = (this.measuring = new AbortController());
      try {
        const { measures } = await page.data.measures(measuring.signal);
        this.measures = new Map(Object.entries(measures));
        this.noun = page.result.noun; // of what was measured
        this.paint();
        this.paintSaved();
      } catch (error) {
        if (error.name !== "AbortError") page.say(ns.words(error), "stop");
      }
    }

    paint() { this.list.paint(); }

    paintSaved() {
      const host = $("explore-saved"), { head } = this.annotations;
      if (!host) return;
      if (!head.number) { host.textContent = "Nothing drawn yet. Every change is saved at once."; return; }
      if (this.annotations.pending && !this.annotations.settled) return;
      const measure = this.measures.get(this.findings.active) || [...this.measures.values()].pop();
      const slot = measure ? ` · obs['${measure.slot}']` : "";
      host.textContent = `Saved ${ago(Date.now() / 1000 - head.created)}${slot} · revision ${head.number}`;
    }
  }

  const placed = (geometry) => ({ ...geometry, coordinates: rounded(geometry.coordinates) });

  function ago(seconds) {
    if (seconds < 1.5) return "just now";
    if (seconds < 60) return `${Math.round(seconds)} s ago`;
    if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
    return seconds < 86400 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} days ago`;
  }

  Object.assign(ns, { Regions, groupOf, homeOf, isRegion });
})();
