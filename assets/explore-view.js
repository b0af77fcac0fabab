/* One painted view (tissue or UMAP). Plotly paints the histology and the spots; which datum lies at which pixel is
 * decided here and nowhere else (centre and scale), so that tools, scale bar and overlay agree with the picture after any
 * zoom, pan or resize. Setters only note what changed; everything is painted once per animation frame. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const ZOOM = { min: 0.4, max: 80 }; // times the scale at which everything fits
  const REST_MS = 80; // a wheel that rests this long gets a sharp picture

  class PlotView {
    /** @param {HTMLElement} gd the Plotly element, @param {HTMLElement} stage its frame, flipY: y grows upwards */
    constructor(gd, stage, { flipY = false } = {}) {
      this.gd = gd;
      this.stage = stage;
      this.sign = flipY ? -1 : 1;
      this.centre = [0, 0];
      this.scale = 1; // css pixels per data unit
      this.xy = new Float32Array(0);
      this.hidden = null;
      this.diameter = { data: 0, factor: 1, least: 2 }; // in data units; a view without a unit (UMAP) has only `least`
      this.listeners = [];
      this.restyle = {};
      this.relayout = {};
      this.resizer = new ResizeObserver(() => this.resize());
      this.resizer.observe(stage);
      this.measure();
    }

    destroy() {
      this.resizer.disconnect();
      clearTimeout(this.resting);
      this.listeners = [];
    }

    measure() {
      this.width = Math.max(1, this.stage.clientWidth);
      this.height = Math.max(1, this.stage.clientHeight);
    }

    // --- where things are -------------------------------------------------------------------------------------
    toScreen([x, y]) {
      return [(x - this.centre[0]) * this.scale + this.width / 2,
        this.sign * (y - this.centre[1]) * this.scale + this.height / 2];
    }

    toData([px, py]) {
      return [(px - this.width / 2) / this.scale + this.centre[0],
        this.sign * ((py - this.height / 2) / this.scale) + this.centre[1]];
    }

    /** A mouse event's place inside the view. */
    local(event) {
      const box = this.stage.getBoundingClientRect();
      return [event.clientX - box.left - this.stage.clientLeft, event.clientY - box.top - this.stage.clientTop];
    }

    /** Window coordinates of a datum (browser tests draw with these). */
    clientXY(point) {
      const box = this.stage.getBoundingClientRect(), [x, y] = this.toScreen(point);
      return [x + box.left + this.stage.clientLeft, y + box.top + this.stage.clientTop];
    }

    fit() {
      const [x0, y0, x1, y1] = this.extent;
      this.centre = [(x0 + x1) / 2, (y0 + y1) / 2];
      this.scale = this.fitScale();
      this.moved();
    }

    fitScale() {
      const [x0, y0, x1, y1] = this.extent, pad = 0.94;
      return pad * Math.min(this.width / Math.max(x1 - x0, 1e-9), this.height / Math.max(y1 - y0, 1e-9));
    }

    zoomAt([px, py], factor) {
      const fit = this.fitScale();
      const scale = Math.max(ZOOM.min * fit, Math.min(ZOOM.max * fit, this.scale * factor));
      const [x, y] = this.toData([px, py]);
      this.scale = scale;
      const [nx, ny] = this.toData([px, py]);
      this.centre = [this.centre[0] + x - nx, this.centre[1] + y - ny];
      this.moved(REST_MS);
    }

    panBy(dx, dy) {
      this.centre = [this.centre[0] - dx / this.scale, this.centre[1] - (this.sign * dy) / this.scale];
      this.moved();
    }

    place(centre, scale) {
      this.centre = centre;
      this.scale = scale;
      this.moved();
    }

    resize() {
      const before = [this.width, this.height];
      this.measure();
      if (this.width !== before[0] || this.height !== before[1]) this.moved();
    }

    onMove(listener) { this.listeners.push(listener); }

    /** The view moved. Spots have a true size, so a zoom makes Plotly draw all of them again; while the wheel turns the
     *  last picture is stretched instead, which is right for everything in it, and redrawn once the wheel rests. */
    moved(rest = 0) {
      this.listeners.forEach((listener) => listener(this));
      if (this.shown && (this.stretched || this.shown.scale !== this.scale)) this.stretch();
      clearTimeout(this.resting);
      this.resting = rest ? setTimeout(() => this.settle(), rest) : null;
      if (!rest) this.settle();
    }

    settle() {
      this.resting = null;
      this.stale = true;
      this.schedule();
    }

    /** What Plotly must know of the view as it is now. */
    ranges() {
      const w = this.width / 2 / this.scale, h = (this.sign * this.height) / 2 / this.scale;
      return {
        width: this.width, height: this.height,
        "xaxis.range": [this.centre[0] - w, this.centre[0] + w],
        "yaxis.range": [this.centre[1] + h, this.centre[1] - h],
      };
    }

    /** Put the last picture where its data are now. */
    stretch() {
      const { centre, scale, width, height } = this.shown;
      const corner = [centre[0] - width / 2 / scale, centre[1] - (this.sign * height) / 2 / scale];
      const [x, y] = this.toScreen(corner);
      this.gd.style.transformOrigin = "0 0";
      this.gd.style.transform = `translate(${x}px, ${y}px) scale(${this.scale / scale})`;
      this.stretched = true;
    }

    unstretch(shown) {
      this.shown = shown;
      const same = shown.scale === this.scale && shown.centre[0] === this.centre[0] && shown.centre[1] === this.centre[1];
      if (!same && this.stretched) return this.stretch();
      this.gd.style.transform = "";
      this.stretched = false;
    }

    // --- what is shown ----------------------------------------------------------------------------------------
    setPoints(xy) {
      this.xy = xy;
      const pairs = [];
      for (let i = 0; i < xy.length; i += 2) if (Number.isFinite(xy[i])) pairs.push([xy[i], xy[i + 1]]);
      this.extent = pairs.length ? ns.geometry.bounds(pairs) : [0, 0, 1, 1];
      this.setHidden(null);
    }

    /** Spots of hidden categories lose their place (NaN is not drawn); every index keeps its meaning. */
    setHidden(hidden) {
      this.hidden = hidden;
      const n = this.xy.length / 2, x = new Float32Array(n), y = new Float32Array(n);
      for (let i = 0; i < n; i++) {
        x[i] = hidden && hidden[i] ? NaN : this.xy[2 * i];
        y[i] = this.xy[2 * i + 1];
      }
      Object.assign(this.restyle, { x: [x], y: [y] });
      this.schedule();
    }

    setColours({ codes, palette }) {
      Object.assign(this.restyle, {
        "marker.color": [codes], "marker.cmin": -0.5, "marker.cmax": palette.length - 0.5,
        "marker.colorscale": [ns.colour.stepScale(palette)],
      });
      this.schedule();
    }

    setOpacity(value) {
      this.restyle["marker.opacity"] = value;
      this.schedule();
    }

    setSymbol(symbol) {
      this.restyle["marker.symbol"] = symbol;
      this.schedule();
    }

    setDiameter(diameter) {
      Object.assign(this.diameter, diameter);
      this.settle();
    }

    resizeSpots() {
      const { data, factor, least } = this.diameter;
      const size = Math.max(least, data * this.scale * factor);
      if (size !== this.size) this.restyle["marker.size"] = this.size = size;
    }

    setSelected(mask) {
      const chosen = [];
      if (mask) for (let i = 0; i < mask.length; i++) if (mask[i]) chosen.push(i);
      this.restyle.selectedpoints = [mask ? chosen : null];
      this.schedule();
    }

    /** Histology below the spots: an address, never bytes inside the figure. */
    setImage(image, opacity) {
      this.relayout.images = image ? [{
        source: image.url, xref: "x", yref: "y", layer: "below", sizing: "stretch", opacity,
        x: image.x, y: image.y, sizex: image.width, sizey: image.height, xanchor: "left", yanchor: "top",
      }] : [];
      this.schedule();
    }

    /** The spot nearest to a pixel, within `reach` pixels of its edge; -1 where there is none. */
    nearest([px, py], reach = 3) {
      const [x, y] = this.toData([px, py]);
      let best = -1, least = ((this.size / 2 + reach) / this.scale) ** 2;
      for (let i = 0; i < this.xy.length / 2; i++) {
        if (this.hidden && this.hidden[i]) continue;
        const d = (this.xy[2 * i] - x) ** 2 + (this.xy[2 * i + 1] - y) ** 2;
        if (d < least) { least = d; best = i; }
      }
      return best;
    }

    // --- painting ---------------------------------------------------------------------------------------------
    schedule() {
      if (this.frame || this.busy) return;
      this.frame = requestAnimationFrame(() => this.paint());
    }

    async paint() {
      this.frame = null;
      if (!document.body.contains(this.gd)) return;
      const { stale, centre, scale, width, height } = this;
      if (stale) this.resizeSpots();
      const restyle = this.restyle, relayout = stale ? { ...this.relayout, ...this.ranges() } : this.relayout;
      this.restyle = {};
      this.relayout = {};
      this.stale = false;
      this.busy = true; // Plotly must finish one drawing before the next begins; what comes meanwhile is drawn together
      try {
        if (Object.keys(restyle).length) await window.Plotly.update(this.gd, restyle, relayout, [0]);
        else if (Object.keys(relayout).length) await window.Plotly.relayout(this.gd, relayout);
        if (stale) this.unstretch({ centre, scale, width, height });
      } finally {
        this.busy = false;
      }
      this.painted = (this.painted || 0) + 1;
      if (this.stale || Object.keys(this.restyle).length || Object.keys(this.relayout).length) this.schedule();
    }

    get idle() { return !this.frame && !this.busy && !this.resting; }
  }

  /** A length of 1, 2 or 5 times a power of ten µm that is at most `room` pixels long. */
  function scaleBar(umPerUnit, scale, room = 120) {
    const most = (room / scale) * umPerUnit;
    const power = 10 ** Math.floor(Math.log10(most));
    const um = power * (most >= 5 * power ? 5 : most >= 2 * power ? 2 : 1);
    return { pixels: (um / umPerUnit) * scale, label: um >= 1000 ? `${um / 1000} mm` : `${um} µm`, um };
  }

  ns.PlotView = PlotView;
  ns.scaleBar = scaleBar;
})();
