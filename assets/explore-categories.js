/* Categories of a column: which are hidden, and what people call and colour them. Hiding is each person's own and ends with
 * the page; names and colours belong to the sample: they are a member of the annotation document, so that they are saved,
 * undone, merged and written into the file like everything drawn. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const MEMBER = "categories"; // document.categories = {column: {category: {name, color}}}
  const COLOUR = /^#[0-9a-f]{6}$/i;

  class Categories {
    constructor(page) {
      this.page = page;
      this.hidden = new Map();
      this.renaming = null;
    }

    hiddenOf(name) {
      if (!this.hidden.has(name)) this.hidden.set(name, new Set());
      return this.hidden.get(name);
    }

    /** What the document says of names and colours; anything that is neither is left out. */
    changes() {
      const found = {};
      for (const [column, byName] of Object.entries(this.page.annotations.document[MEMBER] || {})) {
        found[column] = {};
        for (const [category, look] of Object.entries(byName || {}))
          found[column][category] = { name: typeof look?.name === "string" ? look.name : null, color: COLOUR.test(look?.color) ? look.color : null };
      }
      return found;
    }

    /** After a change of the document: true where something looks different now. */
    follow() {
      const changes = this.changes(), text = JSON.stringify(changes);
      if (text === this.followed) return false;
      this.followed = text;
      for (const result of this.page.results()) result.look(changes);
      return true;
    }

    /** Change how a category looks; what is as the data has it is not kept. */
    change(column, k, look) {
      const category = column.categories[k];
      return this.page.annotations.commit((doc) => {
        const all = (doc[MEMBER] = doc[MEMBER] || {}), mine = (all[column.name] = all[column.name] || {});
        mine[category] = { ...mine[category], ...look };
        if (mine[category].name === category) delete mine[category].name;
        if (!Object.keys(mine[category]).length) delete mine[category];
        if (!Object.keys(mine).length) delete all[column.name];
        if (!Object.keys(all).length) delete doc[MEMBER];
      });
    }

    /** The list on the left: of the column that colours, else of the first category column there is. */
    paint(shown) {
      const { page } = this, { columns, meta } = page.result;
      const column = shown || columns.get(this.listed) || columns.get(meta.first_category);
      const host = ns.root.querySelector("#explore-categories");
      host.hidden = !column?.categories;
      if (host.hidden) { this.listed = null; return; }
      this.listed = column.name;
      ns.root.querySelector("#explore-categories-name").textContent = `Categories · ${column.name}`;
      if (this.typing()) return;
      const hide = (edit) => { edit(this.hiddenOf(column.name)); page.colourBy({ kind: "obs", name: column.name }); };
      ns.panels.categories(ns.root.querySelector("#explore-category-list"), column, shown ? this.hiddenOf(column.name) : new Set(), {
        renaming: this.renaming,
        onToggle: (k) => hide((off) => (off.has(k) ? off.delete(k) : off.add(k))),
        onOnly: (k) => hide((off) => { off.clear(); if (k !== null) column.categories.forEach((_, j) => j !== k && off.add(j)); }),
        onSelect: (k, op) => this.select({ op, column: column.name, codes: [k] }),
        onColour: (k, color) => this.change(column, k, { color }),
        onRenaming: (k) => this.rename(shown, k),
        onRename: (k, name) => this.renamed(shown, column, k, name),
      });
    }

    /** Select categories, once their codes are here: the spots are dimmed at once. */
    async select(step) {
      await this.page.codes(step.column);
      this.page.findings.select(step);
    }

    typing() { return this.renaming !== null && document.activeElement?.dataset.key === `category-name-${this.renaming}`; }

    rename(shown, k) {
      this.renaming = k;
      this.paint(shown);
      const box = ns.root.querySelector(`[data-key="category-name-${k}"]`);
      box?.focus();
      box?.select();
    }

    renamed(shown, column, k, name) {
      this.renaming = null;
      const text = (name || "").trim();
      if (text && text !== column.labels[k]) this.change(column, k, { name: text });
      this.paint(shown);
      ns.root.querySelector(`[data-key="select-${k}"]`)?.focus({ preventScroll: true });
    }
  }

  ns.Categories = Categories;
})();
