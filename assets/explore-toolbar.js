/* The tools above the tissue: which one is in the hand, what the next drawing does, and the keys of both. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const $ = (id) => ns.root.querySelector(`#${id}`);
  const ANYWHERE = ["select", "box", "lasso"]; // tools that draw nothing that is kept

  class Toolbar {
    constructor(page) {
      this.page = page;
      this.tool = "select";
      page.on($("explore-toolbar"), "click", (e) => this.click(e));
      page.on(document, "keydown", (e) => page.alive && this.key(e));
      this.use("select");
    }

    buttons(name) { return [...$("explore-toolbar").querySelectorAll(`[data-${name}]`)]; }

    click(event) {
      const button = event.target.closest("[data-tool], [data-view], [data-op]"), { page } = this;
      if (!button) return;
      const { tool, op, view } = button.dataset;
      if (op) return this.useOp(op);
      if (tool) return this.use(tool);
      ({ figure: () => page.exporter.toggle(), fit: () => page.spatial.fit(), in: () => page.zoom(1.5), out: () => page.zoom(1 / 1.5) })[view]();
    }

    use(tool) {
      const { page } = this, selecting = ANYWHERE.includes(tool) ? tool : "lasso"; // where nothing can be drawn
      this.tool = tool;
      page.tools.use(tool);
      page.umapTools.use(selecting);
      page.panes.use(selecting);
      for (const b of this.buttons("tool")) b.setAttribute("aria-pressed", String(b.dataset.tool === tool));
      const hint = ns.toolHints[tool] || [];
      $("explore-hint").hidden = !hint.length;
      $("explore-hint").replaceChildren(...hint.map(([words, key]) => ns.h("span", {}, words, key ? ns.h("kbd", { class: "sm-kbd" }, key) : null)));
    }

    /** What the next drawings do to the selection or the active region, where no key says otherwise. */
    useOp(op) {
      this.page.tools.op = this.page.umapTools.op = op;
      for (const b of this.buttons("op")) b.setAttribute("aria-pressed", String(b.dataset.op === op));
    }

    /** Shapes live in the frame of the ST image; where no alignment leads there they would mean nothing. */
    limit() {
      const { drawable } = this.page.findings.regions, note = $("explore-frame-note");
      for (const b of this.buttons("tool")) b.disabled = !drawable && !ANYWHERE.includes(b.dataset.tool);
      note.hidden = this.page.meta.frame === "st";
      note.lastChild.textContent = drawable ? " As measured: shapes are carried here through the alignment."
        : " Not aligned yet: regions and paths are drawn on the aligned section.";
    }

    key(event) {
      if (event.target.closest("input, textarea, select, [contenteditable=true]")) return;
      if (event.ctrlKey || event.metaKey || event.defaultPrevented) return;
      const { page } = this, { findings } = page;
      if (page.tools.draftKey(event) || findings.key(event)) return event.preventDefault();
      if (ns.toolOps[event.key]) return this.useOp(ns.toolOps[event.key]);
      const tool = ns.toolKeys[event.key.toLowerCase()];
      if (tool && !event.altKey) {
        if (!this.buttons("tool").find((b) => b.dataset.tool === tool)?.disabled) this.use(tool);
      } else if (event.key === "Escape") {
        if (this.tool === "select") findings.clearSelection();
        else this.use("select");
      } else if (event.key === "Delete" || event.key === "Backspace") findings.regions.remove(findings.active);
    }
  }

  ns.Toolbar = Toolbar;
})();
