/* Plane geometry of regions and paths. Points are [x, y]; nothing here knows the page or the project. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});

  /** Even-odd rule, as core.analysis.regions: whether (x, y) lies inside the ring. */
  function inRing(x, y, ring) {
    let inside = false;
    for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
      const [xi, yi] = ring[i], [xj, yj] = ring[j];
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
    }
    return inside;
  }

  function bounds(points) {
    let x0 = Infinity, y0 = Infinity, x1 = -Infinity, y1 = -Infinity;
    for (const [x, y] of points) {
      if (x < x0) x0 = x;
      if (x > x1) x1 = x;
      if (y < y0) y0 = y;
      if (y > y1) y1 = y;
    }
    return [x0, y0, x1, y1];
  }

  /** Mark the points of a flat [x0, y0, x1, y1, …] array that lie inside by the even-odd rule over all rings (holes). */
  function maskInRings(xy, rings) {
    const n = xy.length / 2, mask = new Uint8Array(n);
    for (const ring of rings) {
      const [x0, y0, x1, y1] = bounds(ring);
      for (let i = 0; i < n; i++) {
        const x = xy[2 * i], y = xy[2 * i + 1];
        if (x >= x0 && x <= x1 && y >= y0 && y <= y1 && inRing(x, y, ring)) mask[i] ^= 1;
      }
    }
    return mask;
  }

  /** Mark the points that lie inside a GeoJSON Polygon or MultiPolygon, as core.analysis.regions.points_in_geometry. */
  function maskInGeometry(xy, { type, coordinates }) {
    if (type === "Polygon") return maskInRings(xy, coordinates);
    const mask = new Uint8Array(xy.length / 2);
    for (const rings of coordinates) maskInRings(xy, rings).forEach((v, i) => { mask[i] |= v; });
    return mask;
  }

  /** Whether a ring, closing point left out, crosses itself: then it is for the server to take it apart. */
  function crosses(ring) {
    const n = ring.length, side = (a, b, p) => Math.sign((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]));
    for (let i = 0; i < n; i++)
      for (let j = i + 2; j < n; j++) {
        if (i === 0 && j === n - 1) continue; // neighbours across the closing point
        const a = ring[i], b = ring[i + 1], c = ring[j], d = ring[(j + 1) % n];
        if (side(a, b, c) !== side(a, b, d) && side(c, d, a) !== side(c, d, b)) return true;
      }
    return false;
  }

  function area(ring) {
    let twice = 0;
    for (let i = 0, j = ring.length - 1; i < ring.length; j = i++)
      twice += ring[j][0] * ring[i][1] - ring[i][0] * ring[j][1];
    return Math.abs(twice) / 2;
  }

  function length(path) {
    let sum = 0;
    for (let i = 1; i < path.length; i++) sum += Math.hypot(path[i][0] - path[i - 1][0], path[i][1] - path[i - 1][1]);
    return sum;
  }

  function distanceToSegment(p, a, b) {
    const dx = b[0] - a[0], dy = b[1] - a[1], len2 = dx * dx + dy * dy;
    const t = len2 ? Math.max(0, Math.min(1, ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / len2)) : 0;
    return Math.hypot(p[0] - a[0] - t * dx, p[1] - a[1] - t * dy);
  }

  /** Douglas-Peucker: drop vertices closer than `tolerance` to the line that stays. A drag leaves hundreds of points;
   *  without this nobody could edit the result by its vertices. Iterative: a long stroke must not overflow the stack. */
  function simplify(path, tolerance) {
    if (path.length < 3) return path.slice();
    const keep = new Uint8Array(path.length);
    keep[0] = keep[path.length - 1] = 1;
    const stack = [[0, path.length - 1]];
    while (stack.length) {
      const [first, last] = stack.pop();
      let worst = tolerance, at = -1;
      for (let i = first + 1; i < last; i++) {
        const d = distanceToSegment(path[i], path[first], path[last]);
        if (d > worst) { worst = d; at = i; }
      }
      if (at > 0) { keep[at] = 1; stack.push([first, at], [at, last]); }
    }
    return path.filter((_, i) => keep[i]);
  }

  /** Simplify a closed ring: split at the point farthest from the first one, so that both halves are open paths. */
  function simplifyRing(ring, tolerance) {
    if (ring.length < 4) return ring.slice();
    let far = 0, best = -1;
    ring.forEach((p, i) => {
      const d = Math.hypot(p[0] - ring[0][0], p[1] - ring[0][1]);
      if (d > best) { best = d; far = i; }
    });
    const there = simplify(ring.slice(0, far + 1), tolerance);
    const back = simplify(ring.slice(far).concat([ring[0]]), tolerance);
    return there.concat(back.slice(1, -1));
  }

  /** Index of the edge of `points` nearest to p, and its distance; `closed` adds the edge from last to first. */
  function nearestEdge(p, points, closed) {
    let best = { index: 0, distance: Infinity };
    for (let i = 0; i < points.length - (closed ? 0 : 1); i++) {
      const distance = distanceToSegment(p, points[i], points[(i + 1) % points.length]);
      if (distance < best.distance) best = { index: i, distance };
    }
    return best;
  }

  /** Places of arrow heads along a line, [x, y, degrees]: one at its end, others evenly between, about `spacing` apart. A head
   *  follows the stretch before it, not the last jitter of the hand. */
  function arrowsAlong(line, spacing) {
    const before = [0];
    for (let i = 1; i < line.length; i++) before.push(before[i - 1] + Math.hypot(line[i][0] - line[i - 1][0], line[i][1] - line[i - 1][1]));
    const total = before[before.length - 1], n = Math.max(1, Math.round(total / spacing));
    const at = (s) => {
      let i = 1;
      while (i < line.length - 1 && before[i] < s) i++;
      const t = (s - before[i - 1]) / (before[i] - before[i - 1] || 1), [a, b] = [line[i - 1], line[i]];
      return [a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])];
    };
    return Array.from({ length: n }, (_, k) => {
      const s = (total * (k + 1)) / n, [x, y] = at(s), [px, py] = at(Math.max(0, s - spacing / 8));
      return [x, y, (Math.atan2(y - py, x - px) * 180) / Math.PI];
    });
  }

  const close = (ring) => ring.concat([ring[0].slice()]);
  const isClosed = (r) => r.length > 1 && r[0][0] === r[r.length - 1][0] && r[0][1] === r[r.length - 1][1];
  const open = (ring) => (isClosed(ring) ? ring.slice(0, -1) : ring);

  ns.arrowsAlong = arrowsAlong;
  ns.geometry = { inRing, bounds, maskInRings, maskInGeometry, crosses, area, length, simplify, simplifyRing, nearestEdge, close, open };
})();
