// Quality of the spots on the Features page: histograms with sliders, and a map of what stays. Everything is counted
// here, from typed arrays that travel once; the server hears of a threshold only when a slider is let go.
//
// <div class="sm-qc" data-result data-metrics='[{setting, column, side, start}]'> holds for each metric a
// <div data-setting> with a canvas, a range and the form's number field; and .sm-qc-count, .sm-qc-map.
(() => {
  "use strict";
  const SM = (window.SpatialMeta = window.SpatialMeta || {});
  const BINS = 48;
  const STEPS = 1000; // of a slider

  async function floats(url) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return new Float32Array(await response.arrayBuffer());
  }

  function histogram(values) {
    let low = Infinity;
    let high = -Infinity;
    for (const v of values) if (Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); }
    if (!(high > low)) high = (low = Number.isFinite(low) ? low : 0) + 1;
    const counts = new Float64Array(BINS);
    for (const v of values) {
      if (Number.isFinite(v)) counts[Math.min(BINS - 1, Math.floor((BINS * (v - low)) / (high - low)))] += 1;
    }
    return { low, high, counts, most: Math.max(...counts) };
  }

  // Where a spot passes all thresholds -> {keep (0/1 per spot), kept, missed (by setting, alone)}
  function pass(metrics, n) {
    const keep = new Uint8Array(n).fill(1);
    const missed = {};
    for (const metric of metrics) {
      let count = 0;
      const { values, limit, side } = metric;
      for (let i = 0; i < n; i += 1) {
        if (side === "most" ? values[i] > limit : values[i] < limit) {
          keep[i] = 0;
          count += 1;
        }
      }
      missed[metric.setting] = count;
    }
    let kept = 0;
    for (let i = 0; i < n; i += 1) kept += keep[i];
    return { keep, kept, missed };
  }

  // a number as a person would write it: four significant digits, whole where the metric is
  function rounded(value, whole) {
    return whole ? Math.round(value) : Number(value.toPrecision(4));
  }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function fit(canvas) {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, canvas.clientWidth * ratio);
    canvas.height = Math.max(1, canvas.clientHeight * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    return context;
  }

  class Panel {
    constructor(element) {
      this.element = element;
      this.map = element.querySelector(".sm-qc-map");
      this.count = element.querySelector(".sm-qc-count");
    }

    async load() {
      const base = `/api/view/${this.element.dataset.result}`;
      const told = JSON.parse(this.element.dataset.metrics);
      const [xy, ...arrays] = await Promise.all([
        floats(`${base}/obsm/spatial`), ...told.map((metric) => floats(`${base}/obs/${metric.column}`)),
      ]);
      this.xy = xy;
      this.n = xy.length / 2;
      this.metrics = told.map((metric, i) => this.metric(metric, arrays[i]));
      this.draw();
      new ResizeObserver(() => this.draw()).observe(this.element);
      new MutationObserver(() => this.draw()).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
    }

    metric(told, values) {
      const frame = this.element.querySelector(`[data-setting="${told.setting}"]`);
      const metric = {
        ...told, values, ...histogram(values), canvas: frame.querySelector("canvas"),
        range: frame.querySelector("input[type=range]"), field: frame.querySelector("input[type=number]"),
        note: frame.querySelector(".sm-qc-missed"),
      };
      metric.whole = values.every((v) => Number.isInteger(v));
      metric.limit = Number(metric.field.value || told.start);
      metric.range.max = STEPS;
      metric.range.disabled = metric.field.disabled = false;
      this.place(metric);
      metric.range.addEventListener("input", () => this.slide(metric));
      metric.range.addEventListener("change", () => this.tell(metric));
      metric.field.addEventListener("input", () => {
        metric.limit = metric.field.value === "" ? told.start : Number(metric.field.value);
        this.place(metric);
        this.draw();
      });
      return metric;
    }

    // the slider stands where the limit is
    place(metric) {
      const share = (metric.limit - metric.low) / (metric.high - metric.low);
      metric.range.value = Math.round(STEPS * Math.min(1, Math.max(0, share)));
    }

    slide(metric) {
      const at = Number(metric.range.value);
      const idle = metric.side === "most" ? at === STEPS : at === 0;
      const value = metric.low + ((metric.high - metric.low) * at) / STEPS;
      metric.limit = idle ? metric.start : rounded(value, metric.whole);
      metric.field.value = metric.limit;
      this.draw();
    }

    tell(metric) {
      SM.setProps({ form: "features", option: metric.setting }, { value: metric.limit });
    }

    draw() {
      if (!this.metrics || !this.element.isConnected) return;
      const found = pass(this.metrics, this.n);
      this.count.textContent = `${found.kept.toLocaleString("en")} of ${this.n.toLocaleString("en")} ${this.element.dataset.places} stay`;
      for (const metric of this.metrics) {
        const missed = found.missed[metric.setting];
        metric.note.textContent = missed ? `${missed.toLocaleString("en")} out` : "";
        metric.range.setAttribute("aria-valuetext", `${metric.limit}, ${found.kept} of ${this.n} ${this.element.dataset.places} stay`);
        this.bars(metric);
      }
      this.spots(found.keep);
      this.element.dataset.kept = found.kept;
    }

    bars(metric) {
      const context = fit(metric.canvas);
      const [width, height] = [metric.canvas.clientWidth, metric.canvas.clientHeight];
      const [inside, outside] = [colour("--sm-accent"), colour("--sm-line")];
      const step = width / BINS;
      metric.counts.forEach((count, i) => {
        const middle = metric.low + ((i + 0.5) * (metric.high - metric.low)) / BINS;
        const out = metric.side === "most" ? middle > metric.limit : middle < metric.limit;
        context.fillStyle = out ? outside : inside;
        const tall = count ? Math.max(1, (count / metric.most) * (height - 1)) : 0;
        context.fillRect(i * step + 0.5, height - tall, Math.max(1, step - 1), tall);
      });
      const x = (width * (metric.limit - metric.low)) / (metric.high - metric.low);
      if (x > 0 && x < width) {
        context.fillStyle = colour("--sm-warn");
        context.fillRect(x - 0.75, 0, 1.5, height);
      }
    }

    spots(keep) {
      const context = fit(this.map);
      const [width, height] = [this.map.clientWidth, this.map.clientHeight];
      if (!this.box) {
        this.box = [Infinity, Infinity, -Infinity, -Infinity];
        for (let i = 0; i < this.xy.length; i += 2) {
          this.box = [
            Math.min(this.box[0], this.xy[i]), Math.min(this.box[1], this.xy[i + 1]),
            Math.max(this.box[2], this.xy[i]), Math.max(this.box[3], this.xy[i + 1]),
          ];
        }
      }
      const [x0, y0, x1, y1] = this.box;
      const scale = Math.min((width - 8) / (x1 - x0 || 1), (height - 8) / (y1 - y0 || 1));
      const [left, top] = [(width - scale * (x1 - x0)) / 2, (height - scale * (y1 - y0)) / 2];
      const side = Math.max(1, 0.8 * Math.sqrt((scale * scale * (x1 - x0) * (y1 - y0)) / this.n));
      for (const wanted of [1, 0]) {
        context.fillStyle = wanted ? colour("--sm-accent") : colour("--sm-warn");
        for (let i = 0; i < this.n; i += 1) {
          if (keep[i] !== wanted) continue;
          const [x, y] = [left + scale * (this.xy[2 * i] - x0), top + scale * (this.xy[2 * i + 1] - y0)];
          context.fillRect(x - side / 2, y - side / 2, side, side);
        }
      }
    }
  }

  function start(element) {
    element.dataset.loaded = "1";
    if (!element.dataset.result) return;
    new Panel(element).load().catch((error) => {
      element.querySelector(".sm-qc-count").textContent = `The quality could not be read (${error.message}).`;
    });
  }

  new MutationObserver(() => document.querySelectorAll(".sm-qc:not([data-loaded])").forEach(start))
    .observe(document.documentElement, { childList: true, subtree: true });
  SM.quality = { pass, histogram, rounded };
})();
