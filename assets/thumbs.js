// Small maps of a section on a canvas: spots at their places, coloured by one number per spot (viridis, 1st to 99th
// percentile). <canvas class="sm-thumb" data-xy="URL of float32 pairs" data-values="URL of float32"> is all it needs.
(function () {
  "use strict";
  // viridis at nine steps, as matplotlib gives it
  const VIRIDIS = [
    [68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140], [40, 174, 128], [94, 201, 98],
    [173, 220, 48], [253, 231, 37],
  ];

  function colour(t) {
    const x = Math.min(0.9999, Math.max(0, t)) * (VIRIDIS.length - 1);
    const i = Math.floor(x);
    const mix = (k) => Math.round(VIRIDIS[i][k] + (x - i) * (VIRIDIS[i + 1][k] - VIRIDIS[i][k]));
    return "rgb(" + mix(0) + "," + mix(1) + "," + mix(2) + ")";
  }

  async function floats(url) {
    const response = await fetch(url);
    if (!response.ok) throw new Error("HTTP " + response.status);
    return new Float32Array(await response.arrayBuffer());
  }

  function percentiles(values) {
    const sorted = Float32Array.from(values).filter(Number.isFinite).sort();
    const at = (p) => sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))];
    return [at(0.01), at(0.99)];
  }

  function bounds(xy) {
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = 0; i < xy.length; i += 2) {
      if (!Number.isFinite(xy[i]) || !Number.isFinite(xy[i + 1])) continue;
      box[0] = Math.min(box[0], xy[i]);
      box[1] = Math.min(box[1], xy[i + 1]);
      box[2] = Math.max(box[2], xy[i]);
      box[3] = Math.max(box[3], xy[i + 1]);
    }
    return box;
  }

  function draw(canvas, xy, values) {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width || !height || !xy.length) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    const [x0, y0, x1, y1] = bounds(xy);
    const margin = Math.min(14, 0.06 * width);
    const scale = Math.min((width - 2 * margin) / (x1 - x0 || 1), (height - 2 * margin) / (y1 - y0 || 1));
    const left = (width - scale * (x1 - x0)) / 2;
    const top = (height - scale * (y1 - y0)) / 2;
    const n = xy.length / 2;
    // spots that fill about two thirds of the area they stand for
    const radius = Math.max(0.7, 0.45 * Math.sqrt((scale * scale * (x1 - x0) * (y1 - y0)) / n));
    const [low, high] = percentiles(values);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    for (let i = 0; i < n; i += 1) {
      context.fillStyle = colour((values[i] - low) / (high - low || 1));
      const x = left + scale * (xy[2 * i] - x0);
      const y = top + scale * (xy[2 * i + 1] - y0);
      if (radius < 1) {
        context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius); // too small to be seen as round, and quicker
        continue;
      }
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    }
    canvas.dataset.drawn = "1";
  }

  async function load(canvas, tried) {
    canvas.dataset.loaded = "1";
    try {
      const [xy, values] = await Promise.all([floats(canvas.dataset.xy), floats(canvas.dataset.values)]);
      draw(canvas, xy, values);
      new ResizeObserver(() => draw(canvas, xy, values)).observe(canvas);
    } catch (error) {
      if (tried < 3 && canvas.isConnected) setTimeout(() => load(canvas, tried + 1), 1000 * 2 ** tried);
    }
  }

  new MutationObserver(() => document.querySelectorAll("canvas.sm-thumb:not([data-loaded])").forEach((c) => load(c, 0)))
    .observe(document.documentElement, { childList: true, subtree: true });
})();
