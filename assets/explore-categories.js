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

    /** Change how categories look (null: as the data has it); what is as the data has it is not kept. */
    change(column, codes, look) {
      return this.page.annotations.commit((doc) => {
        const all = (doc[MEMBER] = doc[MEMBER] || {}), mine = (all[column.name] = all[column.name] || {});
        for (const category of codes.map((k) => column.categories[k])) {
          mine[category] = { ...mine[category], ...look };
          if (mine[category].name === category) mine[category].name = null;
          for (const [key, value] of Object.entries(mine[category])) if (value === null) delete mine[category][key];
          if (!Object.keys(mine[category]).length) delete mine[category];
        }
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
        onToggle: (codes, on) => hide((off) => codes.forEach((k) => (on ? off.delete(k) : off.add(k)))),
        onOnly: (codes) => hide((off) => { off.clear(); if (codes) column.categories.forEach((_, j) => codes.includes(j) || off.add(j)); }),
        onSelect: (codes, op) => this.select({ op, column: column.name, codes }),
        onColour: (codes, color) => this.change(column, codes, { color }),
        onRenaming: (codes) => this.rename(shown, codes[0]),
        onRename: (codes, name) => this.renamed(shown, column, codes, name),
        onSplit: (codes) => this.change(column, codes, { name: null, color: null }),
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

    renamed(shown, column, codes, name) {
      this.renaming = null;
      const text = (name || "").trim(), now = column.labels[codes[0]], same = text === now ? -1 : column.labels.indexOf(text);
      if (same >= 0) {
        ns.askFirst("Merge two categories?", `There is a category ${text} already. ${now} and ${text} become one, here and in the saved file; they can be split again.`,
          "Merge", () => this.change(column, codes, { name: text, color: column.colours[same] }));
      } else if (text && text !== now) this.change(column, codes, { name: text });
      this.paint(shown);
      if (same < 0) ns.root.querySelector(`[data-key="select-${codes[0]}"]`)?.focus({ preventScroll: true });
    }
  }

  ns.Categories = Categories;
})();
