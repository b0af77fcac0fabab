/* One view (tissue or UMAP): the histology, above it the spots, painted in the browser or as a picture from the server.
 * Which datum lies at which pixel is decided here and nowhere else (centre and scale), so that tools, scale bar and overlay
 * agree with the picture after any zoom, pan or resize. Setters only note what changed; everything is painted once per
 * animation frame. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const ZOOM = { min: 0.4, max: 200 }; // times the scale at which everything fits

  class View {
    /** @param {HTMLElement} host what is painted into, @param {HTMLElement} stage its frame, flipY: y grows upwards */
    constructor(host, stage, { flipY = false } = {}) {
      this.stage = stage;
      this.sign = flipY ? -1 : 1;
      this.centre = [0, 0];
      this.scale = 1; // css pixels per data unit
      this.extent = [0, 0, 1, 1];
      this.xy = new Float32Array(0);
      this.hidden = this.selected = this.raster = null;
      this.opacity = 1;
      this.diameter = { data: 0, factor: 1, least: 2, pixels: null }; // `data` in data units; a view without a unit has only pixels
      this.listeners = [];
      this.points = new ns.Points();
      const image = ns.h("div", { class: "ex-image" });
      this.histology = new ns.Histologies(image);
      this.canvas = ns.h("canvas", { class: "ex-canvas" });
      host.replaceChildren(image, this.canvas);
      this.resizer = new ResizeObserver(() => this.resize());
      this.resizer.observe(stage);
      this.measure();
    }

    destroy() {
      this.resizer.disconnect();
      this.histology.destroy();
      this.points.destroy();
      cancelAnimationFrame(this.frame);
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
      this.moved();
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
      const { width, height } = this, zoom = this.scale / this.fitScale();
      this.measure();
      if (this.width === width && this.height === height) return;
      this.scale = zoom * this.fitScale(); // what was seen whole is seen whole
      this.moved();
    }

    onMove(listener) { this.listeners.push(listener); }

    moved() {
      this.listeners.forEach((listener) => listener(this));
      this.histology.place(this);
      this.schedule();
    }

    /** What is seen, in data units: [x0, y0, x1, y1]. */
    box() {
      const [ax, ay] = this.toData([0, 0]), [bx, by] = this.toData([this.width, this.height]);
      return [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
    }

    // --- what is shown ----------------------------------------------------------------------------------------
    /** Places of the spots, flat [x0, y0, …]; `extent` where the server paints them and they never come here. */
    setPoints(xy, extent = null) {
      this.xy = xy;
      this.extent = extent || boundsOf(xy);
      this.hidden = this.selected = this.raster = null;
      this.points.setPlaces(xy);
      this.schedule();
    }

    setHidden(hidden) {
      this.hidden = hidden;
      this.points.setState(hidden, this.selected);
      this.schedule();
    }

    setSelected(mask) {
      this.selected = mask;
      this.points.setState(this.hidden, mask);
      this.schedule();
    }

    setColours(painting) {
      this.points.setColours(painting);
      this.schedule();
    }

    /** A picture of all spots, from the server: {bitmap, box}. */
    setRaster(raster) {
      this.raster = raster;
      this.schedule();
    }

    setOpacity(value) {
      this.opacity = value;
      this.schedule();
    }

    setSymbol(symbol) {
      this.points.round = symbol === "circle";
      this.schedule();
    }

    setDiameter(diameter) {
      Object.assign(this.diameter, diameter);
      this.schedule();
    }

    /** Diameter of a spot on the screen, css pixels. */
    get size() {
      const { data, factor, least, pixels } = this.diameter;
      return pixels || Math.max(least, data * this.scale * factor);
    }

    /** Histology below the spots: addresses and places of pictures, see services.pictures. */
    setImages(images, opacity) {
      this.histology.show(images);
      this.histology.setOpacity(opacity);
      this.histology.place(this);
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
      this.frame = this.frame || requestAnimationFrame(() => this.paint());
    }

    paint() {
      this.frame = null;
      if (!this.canvas.isConnected) return;
      const { canvas, width, height, centre, scale } = this, ratio = window.devicePixelRatio || 1;
      const w = Math.round(width * ratio), h = Math.round(height * ratio);
      if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
      const target = canvas.getContext("2d");
      target.clearRect(0, 0, w, h);
      if (this.raster) this.paintRaster(target, ratio);
      else this.points.paint(target, { centre, scale: [scale, this.sign * scale], width, height, ratio, diameter: this.size, opacity: this.opacity });
      this.painted = (this.painted || 0) + 1;
    }

    /** The last picture where its data are now; soft until the next one comes. */
    paintRaster(target, ratio) {
      const [x0, y0, x1, y1] = this.raster.box, [ax, ay] = this.toScreen([x0, y0]), [bx, by] = this.toScreen([x1, y1]);
      target.globalAlpha = this.opacity;
      target.imageSmoothingEnabled = false;
      target.drawImage(this.raster.bitmap, Math.min(ax, bx) * ratio, Math.min(ay, by) * ratio, Math.abs(bx - ax) * ratio, Math.abs(by - ay) * ratio);
      target.globalAlpha = 1;
    }

    get idle() { return !this.frame; }
  }

  function boundsOf(xy) {
    let x0 = Infinity, y0 = Infinity, x1 = -Infinity, y1 = -Infinity;
    for (let i = 0; i < xy.length; i += 2) {
      const x = xy[i], y = xy[i + 1];
      if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
      if (x < x0) x0 = x;
      if (x > x1) x1 = x;
      if (y < y0) y0 = y;
      if (y > y1) y1 = y;
    }
    return x0 <= x1 ? [x0, y0, x1, y1] : [0, 0, 1, 1];
  }

  ns.View = View;
})();
