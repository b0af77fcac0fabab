// Geometry and drawing of the Align page: affine matrices, the two canvases, colours. No state, no requests.
// A matrix is [a, b, c, d, e, f] as the canvas has it: x' = a x + c y + e, y' = b x + d y + f.
(() => {
  "use strict";
  const RAD = Math.PI / 180;

  const multiply = (m, n) => [
    m[0] * n[0] + m[2] * n[1], m[1] * n[0] + m[3] * n[1],
    m[0] * n[2] + m[2] * n[3], m[1] * n[2] + m[3] * n[3],
    m[0] * n[4] + m[2] * n[5] + m[4], m[1] * n[4] + m[3] * n[5] + m[5],
  ];

  const apply = (m, x, y) => [m[0] * x + m[2] * y + m[4], m[1] * x + m[3] * y + m[5]];

  const invert = (m) => {
    const det = m[0] * m[3] - m[1] * m[2];
    return [
      m[3] / det, -m[1] / det, -m[2] / det, m[0] / det,
      (m[2] * m[5] - m[3] * m[4]) / det, (m[1] * m[4] - m[0] * m[5]) / det,
    ];
  };

  function bounds(xy) {
    let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = 0; i < xy.length; i += 2) {
      if (xy[i] < x0) x0 = xy[i];
      if (xy[i] > x1) x1 = xy[i];
      if (xy[i + 1] < y0) y0 = xy[i + 1];
      if (xy[i + 1] > y1) y1 = xy[i + 1];
    }
    return { x0, y0, x1, y1, width: x1 - x0, height: y1 - y0 };
  }

  const VIRIDIS = [
    [68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
    [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37],
  ];

  function viridis(t) {
    const p = Math.max(0, Math.min(1, t)) * (VIRIDIS.length - 1);
    const i = Math.min(Math.floor(p), VIRIDIS.length - 2);
    const mix = VIRIDIS[i].map((c, k) => Math.round(c + (VIRIDIS[i + 1][k] - c) * (p - i)));
    return `rgb(${mix[0]},${mix[1]},${mix[2]})`;
  }

  const STEPS = 64; // colours told apart; spots of one colour are filled together
  const RAMP = Array.from({ length: STEPS }, (_, i) => viridis(i / (STEPS - 1)));

  // values -> for each colour the indices that have it; `range` is the 2nd to 98th percentile
  function buckets(values) {
    const finite = Float32Array.from(values.filter(Number.isFinite)).sort();
    const at = (q) => finite[Math.min(finite.length - 1, Math.floor(q * finite.length))];
    let [low, high] = finite.length ? [at(0.02), at(0.98)] : [0, 1];
    if (high <= low) [low, high] = [finite[0] ?? 0, finite[finite.length - 1] ?? 1];
    if (high <= low) high = low + 1;
    const groups = Array.from({ length: STEPS }, () => []);
    values.forEach((v, i) => {
      if (!Number.isFinite(v)) return;
      const t = Math.max(0, Math.min(1, (v - low) / (high - low)));
      groups[Math.min(STEPS - 1, Math.floor(t * STEPS))].push(i);
    });
    return { range: [low, high], groups: groups.map((index, i) => ({ color: RAMP[i], index })) };
  }

  const LEVELS = 6; // of each channel: 216 colours, filled together as above

  // three values a pixel, interleaved -> colours; each channel from its 2nd to its 98th percentile
  function rgb(values) {
    const count = values.length / 3;
    const groups = new Map();
    const scaled = [0, 1, 2].map((k) => {
      const own = Float32Array.from({ length: count }, (_, i) => values[3 * i + k]);
      const sorted = Float32Array.from(own).sort();
      const [low, high] = [0.02, 0.98].map((q) => sorted[Math.min(count - 1, Math.floor(q * count))]);
      return own.map((v) => Math.max(0, Math.min(LEVELS - 1, Math.round(((v - low) / (high - low || 1)) * (LEVELS - 1)))));
    });
    for (let i = 0; i < count; i += 1) {
      const color = `rgb(${scaled.map((channel) => Math.round((channel[i] * 255) / (LEVELS - 1))).join(",")})`;
      if (!groups.has(color)) groups.set(color, []);
      groups.get(color).push(i);
    }
    return Array.from(groups, ([color, index]) => ({ color, index }));
  }

  // The SM pixels once as a picture in their own frame: one drawImage then follows any affine at any number of pixels.
  function raster(xy, groups, pitch) {
    const box = bounds(xy);
    const scale = Math.min(1600 / (Math.max(box.width, box.height) + pitch), 8 / pitch);
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.ceil((box.width + pitch) * scale));
    canvas.height = Math.max(1, Math.ceil((box.height + pitch) * scale));
    const context = canvas.getContext("2d");
    const side = Math.max(1, pitch * scale);
    for (const { color, index } of groups) {
      context.fillStyle = color;
      for (const i of index) {
        context.fillRect((xy[2 * i] - box.x0) * scale, (xy[2 * i + 1] - box.y0) * scale, side, side);
      }
    }
    return { canvas, toRaw: [1 / scale, 0, 0, 1 / scale, box.x0 - pitch / 2, box.y0 - pitch / 2] };
  }

  function fitCanvas(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    return { context, screen: [ratio, 0, 0, ratio, 0, 0] };
  }

  // Histology and ST spots. `view` maps full-resolution pixels to CSS pixels.
  function drawBase(canvas, view, scene, shown) {
    const { context, screen } = fitCanvas(canvas);
    const matrix = multiply(screen, view);
    if (scene.picture && shown.histology > 0) {
      context.setTransform(...matrix);
      context.globalAlpha = shown.histology;
      context.drawImage(scene.picture, 0, 0, scene.image.width, scene.image.height);
    }
    if (!scene.st || shown.spots <= 0) return;
    context.setTransform(...screen);
    context.globalAlpha = shown.spots;
    context.fillStyle = shown.spotColor;
    const radius = Math.max(1, (scene.spot_px / 2) * view[0]);
    context.beginPath();
    for (let i = 0; i < scene.st.length; i += 2) {
      const [x, y] = apply(view, scene.st[i], scene.st[i + 1]);
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 2 * Math.PI);
    }
    context.fill();
  }

  // SM through an affine: the picture made by raster().
  function drawRaster(canvas, view, matrix, picture) {
    const { context, screen } = fitCanvas(canvas);
    context.setTransform(...multiply(multiply(screen, view), multiply(matrix, picture.toRaw)));
    context.imageSmoothingEnabled = false;
    context.drawImage(picture.canvas, 0, 0);
  }

  // SM at given places (a running job, a non-rigid result): a square each.
  function drawPoints(canvas, view, xy, groups, side) {
    const { context, screen } = fitCanvas(canvas);
    context.setTransform(...screen);
    const size = Math.max(1.5, 1.05 * side * view[0]); // overlapping a little: no seams
    for (const { color, index } of groups) {
      context.fillStyle = color;
      for (const i of index) {
        const [x, y] = apply(view, xy[2 * i], xy[2 * i + 1]);
        context.fillRect(x - size / 2, y - size / 2, size, size);
      }
    }
  }

  // What was drawn stays left of a line (share of the width), or in every second square of the ST frame.
  function mask(canvas, look, view, { swipe, cell }) {
    if (look === "blend") return;
    const ratio = window.devicePixelRatio || 1;
    const context = canvas.getContext("2d");
    context.globalCompositeOperation = "destination-in";
    context.fillStyle = "#000";
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.beginPath();
    if (look === "swipe") context.rect(0, 0, swipe * canvas.width, canvas.height);
    else {
      const side = cell * view[0] * ratio;
      const [x0, y0] = [view[4] * ratio, view[5] * ratio];
      for (let i = Math.floor(-x0 / side); x0 + i * side < canvas.width; i += 1) {
        for (let j = Math.floor(-y0 / side); y0 + j * side < canvas.height; j += 1) {
          if ((i + j) % 2 === 0) context.rect(x0 + i * side, y0 + j * side, side, side);
        }
      }
    }
    context.fill();
    context.globalCompositeOperation = "source-over";
  }

  // Numbered marks at CSS pixels; `half` is one that waits for its partner.
  function drawMarks(canvas, marks) {
    const ratio = window.devicePixelRatio || 1;
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = "600 11px sans-serif";
    for (const { x, y, text, half, to, hot } of marks) {
      context.lineWidth = 2;
      context.strokeStyle = "#fff";
      if (to) {
        context.beginPath();
        context.moveTo(x, y);
        context.lineTo(...to);
        context.strokeStyle = "#d81b60";
        context.stroke();
        context.strokeStyle = "#fff";
      }
      context.beginPath();
      context.arc(x, y, hot ? 9 : 6, 0, 2 * Math.PI);
      context.fillStyle = half ? "rgba(216,27,96,.35)" : "#d81b60";
      context.fill();
      context.stroke();
      context.lineWidth = 3;
      context.strokeText(text, x + 10, y - 6);
      context.fillStyle = "#8e0038";
      context.fillText(text, x + 10, y - 6);
    }
  }

  function crosshair(canvas, x, y) {
    const ratio = window.devicePixelRatio || 1;
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.lineWidth = 1.5;
    context.strokeStyle = "#d81b60";
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 4 * dx, y + 4 * dy);
      context.lineTo(x + 14 * dx, y + 14 * dy);
    }
    context.stroke();
  }

  // the affine map (least squares) of points onto points, both interleaved
  function affineOf(from, to) {
    const n = from.length / 2;
    const mean = (xy, k) => xy.reduce((sum, v, i) => (i % 2 === k ? sum + v : sum), 0) / n;
    const [fx, fy, tx, ty] = [mean(from, 0), mean(from, 1), mean(to, 0), mean(to, 1)];
    let [xx, xy, yy, ux, uy, vx, vy] = [0, 0, 0, 0, 0, 0, 0];
    for (let i = 0; i < from.length; i += 2) {
      const [x, y, u, v] = [from[i] - fx, from[i + 1] - fy, to[i] - tx, to[i + 1] - ty];
      xx += x * x; xy += x * y; yy += y * y;
      ux += u * x; uy += u * y; vx += v * x; vy += v * y;
    }
    const det = xx * yy - xy * xy;
    const [a, c] = [(ux * yy - uy * xy) / det, (uy * xx - ux * xy) / det];
    const [b, d] = [(vx * yy - vy * xy) / det, (vy * xx - vx * xy) / det];
    return [a, b, c, d, tx - a * fx - c * fy, ty - b * fx - d * fy];
  }

  function clear(canvas) { fitCanvas(canvas); }

  // The view that shows a box with a margin in a window of the given size.
  function fitView(box, width, height) {
    const scale = 0.92 * Math.min(width / Math.max(box.width, 1e-9), height / Math.max(box.height, 1e-9));
    return [scale, 0, 0, scale, width / 2 - scale * (box.x0 + box.width / 2), height / 2 - scale * (box.y0 + box.height / 2)];
  }

  window.SpatialMeta = window.SpatialMeta || {};
  window.SpatialMeta.draw = {
    RAD, multiply, apply, invert, affineOf, bounds, buckets, rgb, raster, clear, drawBase, drawRaster, drawPoints, mask,
    drawMarks, crosshair, fitView, viridis,
  };
})();
