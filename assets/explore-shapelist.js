/* The list of regions and paths, and what is done to those that are chosen. A row is made anew only when what it shows has
 * changed, so that a thousand regions stay usable. Every change is asked of the regions (explore-regions.js). */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const { h, iconButton } = ns;
  const $ = (id) => ns.root.querySelector(`#${id}`);
  const SHOWN_SKIPPED = 5;
  const link = (icon, text, onclick, props = {}) =>
    h("button", { type: "button", class: "btn btn-link btn-sm", onclick, ...props }, h("i", { class: `bi bi-${icon}`, "aria-hidden": "true" }), ` ${text}`);

  class ShapeList {
    constructor(regions) {
      Object.assign(this, { regions, rows: new Map(), renaming: null });
      this.file = h("input", { type: "file", accept: ".geojson,.json,application/geo+json", hidden: true, "aria-label": "GeoJSON file",
        onchange: (e) => this.read(e.target) });
      this.paintTools();
    }

    get findings() { return this.regions.findings; }
    get annotations() { return this.regions.annotations; }

    /** Group of the next region: that of the shown one. */
    get group() {
      const { active } = this.regions;
      return active && ns.isRegion(active) ? ns.groupOf(active.properties) : "regions";
    }

    /** The shown shape and those marked beside it, in the order of the list. */
    chosen() {
      const { marked, document, findings } = this.regions;
      return document.features.filter((f) => f.id === findings.active || marked.has(f.id)).map((f) => f.id);
    }

    // --- the list ---------------------------------------------------------------------------------------------
    paint() {
      const host = $("explore-shapes"), { features } = this.regions.document;
      if (this.renaming && document.activeElement?.matches(`input[data-key="${CSS.escape(this.renaming)}"]`)) return;
      const nodes = features.length ? this.lines() : [h("li", { class: "sm-note ex-hint" },
        "Draw around an area with the region tool (R), or select a category and save it. A path (T) gives a profile.")];
      ns.refill(host, nodes);
      this.paintEdit();
    }

    /** Regions under their groups, where there are several or classes; then the paths. */
    lines() {
      const { regions } = this, kept = this.rows, groups = regions.groups();
      this.rows = new Map();
      const row = (f) => {
        const line = this.row(f, kept.get(f.id));
        this.rows.set(f.id, line);
        return line.node;
      };
      const lines = groups.flatMap((group) => {
        const classes = regions.classes(group), own = regions.regionsOf(group).map(row);
        return groups.length > 1 || group !== "regions" || classes.size ? [this.heading(group, classes, own.length), ...own] : own;
      });
      const paths = regions.members(null), classes = regions.classes(null);
      return [...lines, ...(classes.size ? [this.heading(null, classes, paths.length)] : []), ...paths.map(row)];
    }

    row(feature, before) {
      const { measures, marked, findings } = this.regions, { id, properties: p } = feature;
      const renaming = this.renaming === `name-${id}`, size = sizeOf(p.kind, measures.get(id), this.regions.noun);
      const key = JSON.stringify([p.name, p.color, p.class, p.locked, p.kind, size, id === findings.active, marked.has(id), renaming]);
      return before?.key === key ? before : { key, node: this.line(feature, size, renaming) };
    }

    line({ id, properties: p }, size, renaming) {
      const { regions } = this, active = id === regions.findings.active, marked = regions.marked.has(id);
      const name = renaming ? ns.renameBox(p.name, `name-${id}`, (value) => this.rename(id, value)) : h("button", {
        type: "button", class: "ex-name", "data-key": `shape-${id}`, "aria-pressed": String(active || marked),
        title: "Click to show, Ctrl click to choose several, F2 to rename",
        onclick: (e) => (e.ctrlKey || e.metaKey || e.shiftKey ? this.mark(id) : this.show(id)), ondblclick: () => this.startRenaming(id),
        onkeydown: (e) => {
          if (e.key !== "F2" && e.key !== "Delete") return;
          e.stopPropagation(); // the page's own Delete would take the active shape as well
          if (e.key === "F2") this.startRenaming(id);
          else regions.remove(id);
        },
      }, p.name);
      const colour = h("label", { class: "ex-dot" + (p.kind === "trajectory" ? " ex-dash" : ""), style: `--c:${p.color}`, title: "Colour" },
        h("input", { type: "color", value: p.color, "aria-label": `Colour of ${p.name}`, "data-key": `colour-${id}`, onchange: (e) => regions.colour(id, e.target.value) }));
      return h("li", { class: "ex-item" + (active ? " ex-current" : "") + (marked ? " ex-marked" : "") + (p.locked ? " ex-locked" : ""), "data-id": id },
        colour, name, p.class ? h("span", { class: "sm-tag" }, p.class) : null, h("span", { class: "sm-num sm-muted ex-size", title: rimOf(regions.measures.get(id)) }, size),
        h("span", { class: "ex-edit" },
          iconButton(p.locked ? "lock-fill" : "unlock", `${p.locked ? "Unlock" : "Lock"} ${p.name}`, () => regions.lock(id), { "data-key": `lock-${id}` }),
          iconButton("copy", `Duplicate ${p.name}`, () => regions.duplicate(id), { "data-key": `copy-${id}` }),
          iconButton("pencil", `Rename ${p.name} (F2)`, () => this.startRenaming(id), { "data-key": `rename-${id}` }),
          iconButton("trash", `Delete ${p.name} (Delete)`, () => regions.remove(id), { "data-key": `remove-${id}` })));
    }

    /** A group's name, and its classes with their colours: all of them can be changed. Paths (null) have no groups. */
    heading(group, classes, number) {
      const { regions } = this, key = `group-${group}`;
      const regroup = (value) => { this.renaming = null; if (value) regions.regroup(regions.regionsOf(group).map((f) => f.id), value); this.paint(); };
      const title = group === null ? h("span", {}, "paths") : this.renaming === key ? ns.renameBox(group, key, regroup) : h("button", { type: "button", class: "ex-name", "data-key": key,
        title: "Double click or F2 to rename the group", ondblclick: () => this.retitle(key), onkeydown: (e) => e.key === "F2" && this.retitle(key) }, group);
      const chips = [...classes].map(([name, color]) => this.classChip(group, name, color));
      return h("li", { class: "ex-group" }, h("div", { class: "ex-group-name" }, title, h("span", { class: "sm-num sm-muted" }, ns.panels.count(number))), chips.length ? h("div", { class: "ex-chips" }, chips) : null);
    }

    classChip(group, name, color) {
      const { regions } = this, key = `class-${group ?? "paths"}-${name}`;
      const renamed = (value) => { this.renaming = null; if (value) regions.renameClass(group, name, value); this.paint(); };
      return h("span", { class: "ex-chip ex-plain" },
        h("label", { class: "ex-dot", style: `--c:${color}`, title: "Colour of the class" }, h("input", { type: "color", value: color,
          "aria-label": `Colour of class ${name}`, "data-key": `paint-${key}`, onchange: (e) => regions.colourClass(group, name, e.target.value) })),
        this.renaming === key ? ns.renameBox(name, key, renamed) : h("button", { type: "button", class: "ex-name", "data-key": key,
          title: "Double click or F2 to rename the class", ondblclick: () => this.retitle(key), onkeydown: (e) => e.key === "F2" && this.retitle(key) }, name));
    }

    show(id) {
      this.regions.marked.clear();
      this.findings.activate(id === this.findings.active ? null : id);
      this.paint();
    }

    mark(id) {
      const { marked } = this.regions;
      if (id !== this.findings.active && !marked.delete(id)) marked.add(id);
      this.paint();
    }

    startRenaming(id) { this.retitle(`name-${id}`); }

    retitle(key) {
      this.renaming = key;
      this.findings.paintShapes();
      const box = ns.root.querySelector(`input[data-key="${CSS.escape(key)}"]`);
      if (box) { box.focus(); box.select(); }
    }

    rename(id, name) {
      const feature = this.annotations.feature(id), text = (name || "").trim();
      this.renaming = null;
      if (feature && text && text !== feature.properties.name) this.regions.change(id, (f) => { f.properties.name = text; });
      this.findings.paintShapes();
      $("explore-shapes").querySelector(`[data-key="shape-${id}"]`)?.focus({ preventScroll: true });
    }

    // --- what is done to the chosen ones ----------------------------------------------------------------------
    paintEdit() {
      const host = $("explore-shape-edit"), { regions } = this, ids = this.chosen();
      const all = ids.map((id) => this.annotations.feature(id)), areas = all.filter(ns.isRegion), chosen = areas.length ? areas : all;
      const key = JSON.stringify(chosen.map((f) => [f.id, f.properties.class, f.properties.group]));
      host.hidden = !chosen.length;
      if (key === this.edited || host.contains(document.activeElement) && host.querySelector(":focus")?.tagName === "INPUT") return;
      this.edited = key;
      if (!chosen.length) return host.replaceChildren();
      const of = chosen.map((f) => f.id), p = chosen[0].properties, what = areas.length ? "regions" : "paths";
      const field = (label, value, known, done) => h("label", { class: "ex-field" }, label,
        h("input", { class: "form-control form-control-sm", value, maxlength: "80", list: `explore-known-${label}`, "aria-label": `${label} of the chosen ${what}`,
          onchange: (e) => { const text = e.target.value; e.target.blur(); done(text); }, onkeydown: (e) => e.key === "Enter" && e.target.blur() }),
        h("datalist", { id: `explore-known-${label}` }, known.map((name) => h("option", { value: name }))));
      const known = [...regions.classes(ns.homeOf(p)).keys()];
      const operations = areas.length < 2 ? [] : [h("div", { class: "sm-row ex-ways", role: "group", "aria-label": "Combine the chosen regions" },
        h("span", { class: "sm-note" }, `${chosen.length} regions`),
        link("union", "Union", () => regions.combine("union", of)), link("subtract", "Difference", () => regions.combine("difference", of), { title: "The first without the others" }),
        link("intersect", "Intersection", () => regions.combine("intersection", of)), link("trash", "Delete", () => regions.removeAll(of)))];
      host.replaceChildren(h("div", { class: "sm-row" }, field("Class", p.class || "", known, (text) => regions.classify(of, text)),
        areas.length ? field("Group", ns.groupOf(p), regions.groups(), (text) => regions.regroup(of, text)) : null), ...operations);
    }

    // --- files ------------------------------------------------------------------------------------------------
    paintTools() {
      const { regions } = this, columns = h("select", { class: "form-select form-select-sm", "aria-label": "Regions from a column of obs",
        onchange: () => { if (columns.value) regions.fromColumn(columns.value); columns.value = ""; } });
      this.columns = columns;
      $("explore-shape-tools").replaceChildren(
        link("box-arrow-in-down", "Import", () => this.file.click(), { title: "Read regions and paths from a GeoJSON file, as QuPath writes it" }),
        link("box-arrow-up", "GeoJSON", () => { location.href = `${regions.annotations.url}/geojson`; }, { title: "Write all regions and paths as GeoJSON that QuPath reads" }),
        columns, link("floppy", "Save to AnnData", () => regions.save(), { title: "Write an h5ad with obs['roi_…'] and obs['toi_…']" }), this.file);
    }

    /** The columns of the result that is shown, where what is made of them is drawn in its frame. */
    offerColumns() {
      const { page, straight } = this.regions, names = straight ? [...page.result.columns.values()].filter((c) => c.categories).map((c) => c.name) : [];
      this.columns.disabled = !names.length;
      this.columns.replaceChildren(h("option", { value: "" }, "From column …"), ...names.map((name) => h("option", { value: name }, name)));
    }

    async read(input) {
      const [file] = input.files;
      if (!file) return;
      const text = await file.text();
      input.value = "";
      await this.regions.importFile(text);
    }

    say(...nodes) {
      const host = $("explore-shape-report");
      host.hidden = false;
      host.replaceChildren(iconButton("x", "Close", () => { host.hidden = true; }), ...nodes);
    }

    report({ added, updated, skipped, outside }) {
      const words = [`${added} added`, updated ? `${updated} updated` : "", skipped.length ? `${skipped.length} skipped` : ""].filter(Boolean).join(", ");
      const list = skipped.slice(0, SHOWN_SKIPPED).map((s) => h("li", {}, `${s.which}: ${s.why}`));
      if (skipped.length > SHOWN_SKIPPED) list.push(h("li", {}, `and ${skipped.length - SHOWN_SKIPPED} more`));
      const far = outside ? h("p", { class: "sm-note" }, `${outside} lie outside this section. Coordinates are pixels of the full-resolution image: was the file made on another one?`) : "";
      this.say(h("p", {}, `GeoJSON: ${words}.`), list.length ? h("ul", { class: "sm-note" }, list) : "", far);
    }

    /** How the writing of the AnnData stands, with the slots that are in it. */
    saved(job, slots) {
      const lists = h("ul", { class: "ex-slots" }, slots.map((slot) => h("li", {}, h("code", {}, slot))));
      const said = job.state === "done" ? h("p", {}, "Saved: ", h("a", { href: `/api/download/${job.id}`, download: "" }, job.result))
        : h("p", {}, ["failed", "cancelled"].includes(job.state) ? `Not saved: ${job.error || job.state}` : `Writing … ${job.message || ""}`);
      this.say(said, slots.length && job.state !== "failed" ? lists : "");
    }
  }

  const sizeOf = (kind, m, noun) => {
    if (!m) return "";
    const { count } = ns.panels, { number } = ns.colour;
    if (kind === "trajectory") return `${m.length_mm === null ? "" : `${number(m.length_mm)} mm · `}${count(m.spots)} ${noun}`;
    return `${count(m.spots)} ${noun}${m.area_mm2 === null ? "" : ` · ${number(m.area_mm2)} mm²`}`;
  };

  const rimOf = (m) => (m?.perimeter_mm ? `Perimeter ${ns.colour.number(m.perimeter_mm)} mm` : "");

  /** Two people changed one shape at the same time. Both versions stand already; here one may choose. */
  function askConflicts(conflicts, onDone) {
    const options = [["both", "Keep both"], ["mine", "Only mine"], ["theirs", "Only theirs"]];
    const rows = conflicts.map(({ name }, i) => h("fieldset", { class: "ex-conflict" }, h("legend", {}, name),
      options.map(([value, text]) => h("label", {}, h("input", { type: "radio", name: `conflict-${i}`, value, checked: value === "both" }), ` ${text}`))));
    const dialog = h("dialog", { class: "ex-dialog", "aria-labelledby": "explore-conflict-title" },
      h("h2", { id: "explore-conflict-title", class: "sm-head" }, "Changed by somebody else at the same time"),
      h("p", { class: "sm-note" }, "Nothing is lost: both versions are saved. Which should stand?"), ...rows,
      h("button", { type: "button", class: "btn btn-primary btn-sm", onclick: () => dialog.close() }, "Done"));
    dialog.addEventListener("close", () => {
      const keep = conflicts.map((_, i) => dialog.querySelector(`[name=conflict-${i}]:checked`).value);
      dialog.remove();
      if (keep.some((k) => k !== "both")) onDone(conflicts.map((c, i) => ({ ...c, keep: keep[i] })));
    });
    ns.root.append(dialog);
    dialog.showModal();
  }

  Object.assign(ns, { ShapeList, askConflicts });
})();
