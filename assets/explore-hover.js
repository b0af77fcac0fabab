/* What the spot under the pointer has. Where the server paints, it is asked, at most once at a time. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const REACH_PX = 3; // from the edge of a spot
  const $ = (id) => ns.root.querySelector(`#${id}`);

  class Hover {
    constructor(page) { this.page = page; }

    /** On a view of the page's own result. */
    on(view, at) {
      const { page } = this;
      return this.show({ view, values: page.shownValues, hit: page.state.colour, result: page.result, space: view === page.umap ? page.meta.umap : "spatial" }, at);
    }

    /** `at`: place inside the view; null: the pointer is elsewhere. */
    show(what, at) {
      this.wanted = at && what.hit ? { ...what, at } : null;
      if (!this.wanted) return this.hide();
      if (what.result.meta.raster) return this.ask();
      const i = what.values ? what.view.nearest(at, REACH_PX) : -1;
      return i < 0 ? this.hide() : this.tell(what, at, what.values[i]);
    }

    async ask() {
      if (this.asking) return; // the last place is asked for when the answer is here
      this.asking = true;
      try {
        for (let done = null; this.wanted && this.wanted !== done;) {
          done = this.wanted;
          const { view, at, hit, result, space = "spatial" } = done, [x, y] = view.toData(at);
          const of = hit.kind === "feature" ? { feature: hit.index, layer: result.layer(this.page.controls.layer) } : { column: hit.name };
          const { value } = await result.data.at({ x, y, space, reach: (view.size / 2 + REACH_PX) / view.scale, ...of });
          if (this.wanted && value !== undefined) this.tell(done, done.at, value);
          else this.hide();
        }
      } catch {
        this.hide(); // the next move asks again
      } finally {
        this.asking = false;
      }
    }

    tell({ view, hit, result }, at, value) {
      const tip = $("explore-tip"), box = view.stage.getBoundingClientRect();
      const labels = result.isCategory(hit) && result.columns.get(hit.name).labels;
      tip.textContent = `${hit.name}: ${labels ? labels[value] ?? "no value" : ns.colour.number(value ?? NaN)}`;
      tip.hidden = false;
      tip.style.left = `${box.left + at[0] + 14}px`;
      tip.style.top = `${box.top + at[1] + 14}px`;
    }

    hide() { $("explore-tip").hidden = true; }
  }

  ns.Hover = Hover;
})();
