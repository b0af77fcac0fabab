/* From numbers to colours. Every colouring ends as small integer codes into a short list of colours (a palette), so
 * that numbers, categories and pairs of features are painted by one path, and a missing value has a colour of its own. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const STEPS = 128; // finer steps are not seen
  const SIDE = 8; // the square legend of two features has 8 x 8 colours
  const MISSING = "#b8bec9";

  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const hex = (c) => "#" + c.map((v) => Math.round(Math.max(0, Math.min(255, v))).toString(16).padStart(2, "0")).join("");

  /** The colour at t in [0, 1] of a list of equally spaced colours. */
  function at(stops, t) {
    const p = t * (stops.length - 1), i = Math.min(stops.length - 2, Math.floor(p)), f = p - i;
    const a = rgb(stops[i]), b = rgb(stops[i + 1]);
    return hex(a.map((v, k) => v + (b[k] - v) * f));
  }

  const ramp = (stops, n) => Array.from({ length: n }, (_, i) => at(stops, i / (n - 1)));

  /** Values at two percentiles (0-100) of the finite values. Where both meet, as in a feature that is zero in most
   *  spots, the true extremes are taken: a map of one colour says nothing. */
  function limits(values, low, high) {
    const finite = values.filter(Number.isFinite).sort();
    if (!finite.length) return [0, 1];
    const pick = (p) => {
      const q = (p / 100) * (finite.length - 1), i = Math.floor(q), f = q - i;
      return i + 1 < finite.length ? finite[i] * (1 - f) + finite[i + 1] * f : finite[i];
    };
    let lo = pick(low), hi = pick(high);
    if (!(hi > lo)) { lo = finite[0]; hi = finite[finite.length - 1]; }
    return [lo, hi > lo ? hi : lo + 1];
  }

  /** log(1 + x) of the positive part; what is negative keeps its sign (a normalised layer may hold it). */
  const logged = (values) => values.map((v) => Math.sign(v) * Math.log1p(Math.abs(v)));

  function steps(values, [lo, hi], n, missing = 0xffff) {
    const codes = new Uint16Array(values.length), scale = n / (hi - lo);
    for (let i = 0; i < values.length; i++) {
      const v = values[i];
      codes[i] = Number.isFinite(v) ? Math.max(0, Math.min(n - 1, Math.floor((v - lo) * scale))) : missing;
    }
    return codes;
  }

  /** @returns {{codes, palette, limits}} of one continuous feature */
  function continuous(values, { clip, log, stops, limits: given = null }) {
    const shown = log ? logged(values) : values;
    const range = given || limits(shown, clip[0], clip[1]);
    return { codes: steps(shown, range, STEPS, STEPS), palette: ramp(stops, STEPS).concat([MISSING]), limits: range };
  }

  /** @returns {{codes, palette}} of categories; 0xffff is "no value" */
  function categorical(codes, colours) {
    return { codes: codes.map((c) => (c === 0xffff ? colours.length : c)), palette: colours.concat([MISSING]) };
  }

  /** Two features at once: the first runs from grey to orange, the second from grey to blue, both are dark violet. */
  function bivariate(first, second, options) {
    const [a, b] = [first, second].map((v) => (options.log ? logged(v) : v));
    const ranges = [a, b].map((v) => limits(v, ...options.clip));
    const [ca, cb] = [steps(a, ranges[0], SIDE), steps(b, ranges[1], SIDE)];
    const codes = ca.map((c, i) => (c === 0xffff || cb[i] === 0xffff ? SIDE * SIDE : c * SIDE + cb[i]));
    return { codes, palette: square().concat([MISSING]), ranges };
  }

  function square() {
    const none = [232, 232, 236], one = [243, 130, 20], two = [0, 130, 200], both = [64, 12, 72];
    const colours = [];
    for (let i = 0; i < SIDE; i++)
      for (let j = 0; j < SIDE; j++) {
        const u = i / (SIDE - 1), v = j / (SIDE - 1);
        colours.push(hex(none.map((_, k) =>
          none[k] * (1 - u) * (1 - v) + one[k] * u * (1 - v) + two[k] * (1 - u) * v + both[k] * u * v)));
      }
    return colours;
  }

  /** A number in as few characters as still tell it apart. */
  function number(v) {
    if (!Number.isFinite(v)) return "–";
    const size = Math.abs(v);
    if (size >= 1e5 || (size > 0 && size < 1e-3)) return v.toExponential(1).replace("e+", "e");
    return v.toLocaleString("en", { maximumFractionDigits: size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3 });
  }

  ns.colour = { ramp, continuous, categorical, bivariate, square, limits, logged, number, SIDE, MISSING };
})();
