/* Figures and the numbers behind them as files: a small panel over the tissue asks what, how wide and how fine; SVG as it is,
 * PNG through a canvas with its resolution written into the file. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const MM_PER_INCH = 25.4;
  const MOST_PIXELS = 120e6; // what browsers still paint into one canvas
  const $ = (id) => ns.root.querySelector(`#${id}`);

  // --- files --------------------------------------------------------------------------------------------------
  const safe = (name) => name.replace(/[^\p{L}\p{N}._ ()-]+/gu, "_");

  function saveBlob(name, blob) {
    const url = URL.createObjectURL(blob), link = ns.h("a", { href: url, download: safe(name) });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  const saveText = (name, text, type) => saveBlob(name, new Blob([text], { type: `${type};charset=utf-8` }));

  /** Rows as CSV; a text that a spreadsheet would run as a formula gets a quote before it. */
  function csv(rows) {
    const cell = (v) => {
      if (v === null || v === undefined || (typeof v === "number" && !Number.isFinite(v))) return "";
      if (typeof v === "number") return String(v);
      const text = /^[=+\-@\t\r]/.test(v) ? `'${v}` : String(v);
      return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
    };
    return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  }

  /** The pixels of a figure of `mm` at `dpi`. */
  const pixels = (mm, dpi) => Math.round((mm / MM_PER_INCH) * dpi);

  /** Paint an SVG at its print size; throws where no browser could. */
  async function toPng(svg, dpi) {
    const [, width, height] = svg.match(/width="([\d.]+)mm" height="([\d.]+)mm"/).map(Number);
    const w = pixels(width, dpi), h = pixels(height, dpi);
    if (w * h > MOST_PIXELS) throw new Error(`A picture of ${w} x ${h} pixels is more than a browser can paint. Choose a smaller width or resolution, or SVG.`);
    const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
    try {
      const image = new Image();
      image.src = url;
      await image.decode();
      const canvas = Object.assign(document.createElement("canvas"), { width: w, height: h });
      canvas.getContext("2d").drawImage(image, 0, 0, w, h);
      const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
      if (!blob) throw new Error("The browser could not paint a picture of this size. Choose a smaller one.");
      return new Blob([withResolution(new Uint8Array(await blob.arrayBuffer()), dpi)], { type: "image/png" });
    } finally {
      URL.revokeObjectURL(url);
    }
  }

  /** A PNG with a pHYs chunk behind its header, so that programs place it at its print size. PNG specification, 11.3.5.3. */
  function withResolution(png, dpi) {
    const header = 33, chunk = new Uint8Array(21), view = new DataView(chunk.buffer), perMetre = Math.round((dpi * 1000) / MM_PER_INCH);
    view.setUint32(0, 9);
    chunk.set(new TextEncoder().encode("pHYs"), 4);
    view.setUint32(8, perMetre);
    view.setUint32(12, perMetre);
    chunk[16] = 1; // per metre
    view.setUint32(17, crc32(chunk.subarray(4, 17)));
    const whole = new Uint8Array(png.length + chunk.length);
    whole.set(png.subarray(0, header));
    whole.set(chunk, header);
    whole.set(png.subarray(header), header + chunk.length);
    return whole;
  }

  function crc32(bytes) {
    let crc = 0xffffffff;
    for (const byte of bytes) {
      crc ^= byte;
      for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return (crc ^ 0xffffffff) >>> 0;
  }

  async function asDataUrl(url) {
    const blob = await (await fetch(url)).blob(), reader = new FileReader();
    return new Promise((done, fail) => {
      reader.onload = () => done(reader.result);
      reader.onerror = () => fail(reader.error);
      reader.readAsDataURL(blob);
    });
  }

  // --- the panel ----------------------------------------------------------------------------------------------
  const WHAT = [["spatial", "Spatial view"], ["umap", "UMAP"], ["profile", "Profile"], ["heat", "Heat map"]];
  const PARTS = [["histology", "Histology"], ["shapes", "Regions and paths"], ["legend", "Legend"], ["scaleBar", "Scale bar"]];

  class Exporter {
    constructor(page) {
      this.page = page;
      this.options = { what: "spatial", width: 120, dpi: 300, histology: true, shapes: true, legend: true, scaleBar: true };
    }

    toggle(what = null) {
      const host = $("explore-figure");
      if (what) this.options.what = what;
      host.hidden = !host.hidden && !what;
      $("explore-toolbar").querySelector('[data-view="figure"]').setAttribute("aria-expanded", String(!host.hidden));
      if (host.hidden) return $("explore-stage").focus({ preventScroll: true });
      this.paint();
      host.querySelector("select").focus();
    }

    paint() {
      const { h, iconButton } = ns, o = this.options, host = $("explore-figure");
      const number = (key, text, least, most, unit) => h("label", { class: "ex-field" }, text, h("input", { type: "number", class: "form-control form-control-sm", min: least, max: most, step: "any", value: o[key],
        onchange: (e) => { o[key] = Math.max(least, Math.min(most, Number(e.target.value) || least)); e.target.value = o[key]; this.paintSize(); } }), unit);
      const boxes = PARTS.map(([key, text]) => h("label", { class: "ex-check" }, h("input", { type: "checkbox", class: "form-check-input", checked: o[key], onchange: (e) => { o[key] = e.target.checked; } }), text));
      const button = (text, work) => h("button", { type: "button", class: "btn btn-primary btn-sm", onclick: () => this.run(work) }, text);
      host.replaceChildren(
        h("h2", { class: "sm-head" }, h("span", {}, "Figure"), iconButton("x-lg", "Close (Esc)", () => this.toggle())),
        h("select", { class: "form-select form-select-sm", "aria-label": "What the figure shows", onchange: (e) => { o.what = e.target.value; this.paintSize(); } },
          this.available().map(([value, text]) => h("option", { value, selected: value === o.what }, text))),
        h("div", { class: "sm-row" }, number("width", "Width", 20, 400, "mm"), number("dpi", "Resolution", 72, 1200, "dpi")),
        h("div", { class: "ex-checks" }, boxes), h("p", { class: "sm-note", id: "explore-figure-size" }),
        h("div", { class: "sm-row" }, button("SVG", () => this.svg()), button("PNG", () => this.png()), button("CSV", () => this.table())));
      host.onkeydown = (e) => { if (e.key === "Escape") { e.stopPropagation(); this.toggle(); } };
      this.paintSize();
    }

    available() {
      const { meta, findings } = this.page, ready = { spatial: true, umap: meta.umap, profile: findings.trajectory.path(), heat: findings.trajectory.ranked && findings.trajectory.path() };
      const found = WHAT.filter(([key]) => ready[key]);
      if (!ready[this.options.what]) this.options.what = "spatial";
      return found;
    }

    paintSize() { $("explore-figure-size").textContent = `PNG ${pixels(this.options.width, this.options.dpi).toLocaleString("en")} pixels wide`; }

    async run(work) {
      try {
        this.page.announce(`Saved ${await work()}`);
      } catch (error) {
        this.page.say(ns.words(error), "stop");
      }
    }

    name(ending) {
      const { state, findings } = this.page, { what } = this.options, path = findings.trajectory.path();
      const of = what === "profile" || what === "heat" ? path.properties.name : state.colour?.name;
      return `${what === "heat" ? "heat map" : what} ${of || ""}.${ending}`;
    }

    async svg() {
      saveText(this.name("svg"), await this.draw(), "image/svg+xml");
      return this.name("svg");
    }

    async png() {
      saveBlob(this.name("png"), await toPng(await this.draw(), this.options.dpi));
      return this.name("png");
    }

    async draw() {
      const { page, options: o } = this, { trajectory } = page.findings, { scales, lines } = page.context.palettes;
      const title = this.name("").slice(0, -1);
      if (o.what === "profile") return ns.figure.profileFigure(await this.profile(), o.width, { colours: lines, scaled: trajectory.scaled, title, legend: o.legend });
      if (o.what === "heat") return ns.figure.heatFigure(trajectory.rows(), trajectory.ranked.position_um, o.width, { ramp: ns.colour.ramp(scales[page.controls.scale], 64), title });
      const tissue = o.what === "spatial", view = tissue ? page.spatial : page.umap, { images } = page.meta;
      const drawn = tissue && o.shapes ? page.findings.regions.shown() : [];
      return ns.figure.viewFigure(view, page.painted(), o.width, {
        title, legend: o.legend, scaleBar: tissue && o.scaleBar, umPerUnit: page.meta.um_per_px, features: drawn, mask: view.selected,
        images: tissue && o.histology ? await Promise.all(images.map(async (i) => ({ ...i, href: await asDataUrl(i.url), opacity: page.controls.histology }))) : [],
        picture: view.raster || view.xy.length > 2 * ns.figure.MOST_SHAPES ? view.canvas.toDataURL("image/png") : null,
      });
    }

    profile() {
      const { trajectory } = this.page.findings;
      return trajectory.data.profile({ ...trajectory.question(), ...trajectory.profileOptions() });
    }

    // --- the numbers behind it --------------------------------------------------------------------------------
    async table() {
      const { what } = this.options;
      const rows = what === "profile" ? this.profileRows(await this.profile()) : what === "heat" ? this.heatRows() : await this.spotRows(what);
      saveText(this.name("csv"), csv(rows), "text/csv");
      return this.name("csv");
    }

    profileRows({ names, position_mm, mean, low, high }) {
      const head = ["position_mm", ...names.flatMap((n) => [n, `${n} low`, `${n} high`])];
      return [head, ...position_mm.map((x, j) => [x, ...names.flatMap((_, i) => [mean[i][j], low[i][j], high[i][j]])])];
    }

    heatRows() {
      const { trajectory } = this.page.findings, { position_um } = trajectory.ranked;
      const numbers = ["f", "p", "fdr", "r2", "rho", "peak_um"];
      return [["feature", "type", ...numbers, ...position_um.map((x) => `${Math.round(x)} um`)], ...trajectory.rows().map((r) => [r.name, r.tag, ...numbers.map((n) => r[n]), ...r.values])];
    }

    /** A row a spot: its name, its place, what it is coloured by, whether it is selected. */
    async spotRows(what) {
      const { page } = this, view = what === "spatial" ? page.spatial : page.umap, { colour, second } = page.state, layer = page.layer();
      if (page.meta.raster) throw new Error(`A table of ${ns.panels.count(page.meta.n_obs)} ${page.result.noun} is not made in the browser. Use the table on the Export page.`);
      const shown = [colour, ...(page.controls.bivariate && second ? [second] : [])];
      const [names, ...values] = await Promise.all([page.data.names(), ...shown.map((hit) => page.result.values(hit, layer))]);
      const words = shown.map((hit) => (page.result.isCategory(hit) ? (v) => page.result.columns.get(hit.name).labels[v] ?? "" : (v) => v));
      const mask = page.findings.mask, axes = what === "spatial" ? ["x_px", "y_px"] : ["umap_1", "umap_2"];
      return [[page.result.noun.slice(0, -1), ...axes, ...shown.map((hit) => hit.name), ...(mask ? ["selected"] : [])],
        ...names.map((name, i) => [name, view.xy[2 * i], view.xy[2 * i + 1], ...values.map((v, k) => words[k](v[i])), ...(mask ? [mask[i]] : [])])];
    }
  }

  Object.assign(ns, { Exporter, saveText, csv });
})();
