/* Results with more spots than a browser should hold: the server paints what is seen now as one picture of the screen's size.
 * While the view moves the last picture is stretched; when it rests a sharp one is asked for. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const REST_MS = 150;
  const LARGEST = 4096; // pixels a side, as services.raster allows

  class Raster {
    /** `onPainted({limits, missing})`: what the legend must know; `onError(error)`. */
    constructor(view, { onPainted, onError }) {
      Object.assign(this, { view, onPainted, onError, what: null });
      view.onMove(() => this.later());
    }

    /** Show `what` (fields of the query of /api/view/<result>/raster but for box and size); null: nothing. */
    show(base, what) {
      this.base = base;
      this.what = what;
      if (!what) { this.asking?.abort(); return this.view.setRaster(null); }
      return this.ask();
    }

    later() {
      clearTimeout(this.resting);
      if (this.what) this.resting = setTimeout(() => this.ask(), REST_MS);
    }

    async ask() {
      clearTimeout(this.resting);
      this.asking?.abort();
      const { view, what } = this, { signal } = (this.asking = new AbortController());
      const box = view.box(), ratio = Math.min(window.devicePixelRatio || 1, LARGEST / Math.max(view.width, view.height));
      const size = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
      const diameter = view.diameter.pixels ? view.diameter.pixels / view.scale : Math.max(view.diameter.data * view.diameter.factor, 0);
      const query = new URLSearchParams({ ...what, box: box.join(","), size: size.join(","), diameter, up: view.sign < 0 ? 1 : 0, round: view.points.round ? 1 : 0 });
      view.stage.classList.add("ex-busy");
      try {
        const answer = await ns.picture(`${this.base}/raster`, query, signal);
        const bitmap = await createImageBitmap(await answer.blob());
        if (signal.aborted) return bitmap.close();
        this.onPainted(JSON.parse(answer.headers.get("X-Scale")));
        view.setRaster({ bitmap, box });
        this.painted = (this.painted || 0) + 1;
      } catch (error) {
        if (error.name !== "AbortError") this.onError(error);
      } finally {
        if (this.asking?.signal === signal) view.stage.classList.remove("ex-busy");
      }
    }

    destroy() {
      clearTimeout(this.resting);
      this.asking?.abort();
    }
  }

  ns.Raster = Raster;
})();
