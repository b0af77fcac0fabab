/* Regions and paths: the list beside the tissue and every change of what was drawn. A change goes into the document of
 * annotations, whose owner saves it; which shape is active and what it chooses is the findings' business. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const { h, refill, iconButton } = ns;
  const { count } = ns.panels;
  const $ = (id) => ns.root.querySelector(`#${id}`);

  class Regions {
    constructor(findings) {
      this.findings = findings;
      this.measures = new Map();
      this.listActions = {
        renaming: null,
        onActivate: (id) => findings.activate(id === findings.active ? null : id),
        onRenaming: (id) => this.startRenaming(id),
        onRename: (id, name) => this.rename(id, name),
        onColour: (id, colour) => this.change(id, (f) => { f.properties.color = colour; }),
        onRemove: (id) => this.remove(id),
      };
      this.clock = setInterval(() => this.paintSaved(), 1000);
    }

    destroy() { clearInterval(this.clock); }

    get page() { return this.findings.page; }
    get annotations() { return this.page.annotations; }
    get document() { return this.annotations.document; }

    /** The document is another one. */
    changed() {
      this.measure();
      this.paintSaved();
    }

    paint() {
      const typing = this.listActions.renaming && document.activeElement?.dataset.key === `name-${this.listActions.renaming}`;
      if (!typing) shapes($("explore-shapes"), this.document.features, this.measures, this.findings.active, this.listActions);
    }

    /** Save outlines of one selection under one name. */
    async addAll(geometries, name) {
      const color = this.freeColour(), called = name.trim() || this.freeName("Region");
      const features = geometries.map((geometry) => this.append(geometry, "region", { name: called, color }));
      await this.annotations.commit((doc) => doc.features.push(...features));
      this.findings.activate(features[0].id);
    }

    append(geometry, kind, properties) {
      const group = kind === "region" ? { group: "regions" } : { width_um: this.page.defaultWidth() };
      return { type: "Feature", id: ns.newId(), geometry, properties: { kind, ...group, ...properties } };
    }

    /** A drawn shape is saved at once under the next free name, and its name is ready to be typed over. */
    async add(geometry, kind) {
      const name = this.freeName(kind === "region" ? "Region" : "Path");
      const feature = this.append(geometry, kind, { name, color: kind === "region" ? this.freeColour() : "#ffffff" });
      const saved = this.annotations.commit((doc) => doc.features.push(feature));
      this.findings.activate(feature.id);
      this.startRenaming(feature.id);
      this.page.useTool("select");
      await saved;
    }

    change(id, edit) {
      if (!this.annotations.feature(id)) return Promise.resolve();
      return this.annotations.commit((doc) => edit(doc.features.find((f) => f.id === id)));
    }

    edit(id, geometry) {
      this.change(id, (f) => { f.geometry = geometry; });
      if (id === this.findings.active) this.findings.activate(id);
    }

    remove(id) {
      if (!id || !this.annotations.feature(id)) return;
      if (id === this.findings.active) this.findings.clearSelection();
      this.annotations.commit((doc) => { doc.features = doc.features.filter((f) => f.id !== id); });
    }

    startRenaming(id) {
      this.listActions.renaming = id;
      this.findings.paintShapes();
      const box = document.querySelector(`[data-key="name-${id}"]`);
      if (box) { box.focus(); box.select(); }
    }

    rename(id, name) {
      const feature = this.annotations.feature(id), text = (name || "").trim();
      this.listActions.renaming = null;
      if (feature && text && text !== feature.properties.name) this.change(id, (f) => { f.properties.name = text; });
      this.findings.paintShapes();
      $("explore-shapes").querySelector(`[data-key="shape-${id}"]`)?.focus({ preventScroll: true });
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
      if (!page.meta || page.meta.frame !== "st") return;
      this.measuring?.abort();
      const measuring = (this.measuring = new AbortController());
      try {
        const { measures } = await page.data.measure(this.document, measuring.signal);
        this.measures = new Map(Object.entries(measures));
        this.findings.paintShapes();
        this.paintSaved();
      } catch (error) {
        if (error.name !== "AbortError") page.say(ns.words(error), "stop");
      }
    }

    // --- saved ------------------------------------------------------------------------------------------------
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

  /** One line a shape: colour, name, size; rename in place, delete. */
  function shapes(host, features, measures, active, actions) {
    if (!features.length) {
      const text = "Draw around an area with the region tool (R), or select a category and save it. A path (T) gives a profile.";
      return host.replaceChildren(h("li", { class: "sm-note ex-hint" }, text));
    }
    refill(host, features.map((f) => shapeLine(f, measures.get(f.id), f.id === active, actions)));
  }

  function shapeLine(feature, measure, active, actions) {
    const { id, properties: p } = feature;
    const size = measure ? sizeOf(p.kind, measure) : "";
    const name = actions.renaming === id ? ns.renameBox(p.name, `name-${id}`, (value) => actions.onRename(id, value)) : h("button", {
      type: "button", class: "ex-name", "data-key": `shape-${id}`, "aria-pressed": String(active), title: "Click to show, F2 to rename",
      onclick: () => actions.onActivate(id), ondblclick: () => actions.onRenaming(id),
      onkeydown: (e) => {
        if (e.key !== "F2" && e.key !== "Delete") return;
        e.stopPropagation(); // the page's own Delete would take the active shape as well
        (e.key === "F2" ? actions.onRenaming : actions.onRemove)(id);
      },
    }, p.name);
    return h("li", { class: "ex-item" + (active ? " ex-current" : ""), "data-id": id },
      h("label", { class: "ex-dot" + (p.kind === "trajectory" ? " ex-dash" : ""), style: `--c:${p.color}`, title: "Colour" },
        h("input", { type: "color", value: p.color, "aria-label": `Colour of ${p.name}`, "data-key": `colour-${id}`,
          onchange: (e) => actions.onColour(id, e.target.value) })),
      name, h("span", { class: "sm-num sm-muted ex-size" }, size),
      h("span", { class: "ex-edit" }, iconButton("pencil", `Rename ${p.name} (F2)`, () => actions.onRenaming(id), { "data-key": `rename-${id}` }),
        iconButton("trash", `Delete ${p.name} (Delete)`, () => actions.onRemove(id), { "data-key": `remove-${id}` })));
  }

  const sizeOf = (kind, m) => (kind === "trajectory"
    ? `${m.length_mm === null ? "" : `${ns.colour.number(m.length_mm)} mm · `}${count(m.spots)} spots`
    : `${count(m.spots)} spots${m.area_mm2 === null ? "" : ` · ${ns.colour.number(m.area_mm2)} mm²`}`);

  function ago(seconds) {
    if (seconds < 1.5) return "just now";
    if (seconds < 60) return `${Math.round(seconds)} s ago`;
    if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
    return seconds < 86400 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} days ago`;
  }

  ns.Regions = Regions;
})();
