/* Figures for print: SVG made from the numbers that the page shows, in millimetres, black on white whatever the theme. Each
 * function gives the text of a whole SVG; none of them touches the page. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const FONT = 2.47; // mm: 7 pt, what most journals ask of the smallest text
  const LINE = 0.25; // mm; cells of a scale overlap the next, else a thin line of paper shows between them
  const GAP = 2;
  const MOST_SHAPES = 30_000; // more spots than this are put in as one picture: no drawing program opens a million circles

  const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
  const fix = (v) => String(Math.round(v * 1000) / 1000);

  /** An element as text: el("rect", {x: 1}, inner). */
  function el(name, attributes, inner = "") {
    const text = Object.entries(attributes).filter(([, v]) => v !== null && v !== undefined)
      .map(([k, v]) => ` ${k}="${typeof v === "number" ? fix(v) : escape(v)}"`).join("");
    return inner === "" ? `<${name}${text}/>` : `<${name}${text}>${inner}</${name}>`;
  }

  const label = (x, y, text, more = {}) => el("text", { x, y, ...more }, escape(text));
  const d = (points, closed = false) => `M${points.map((p) => p.map(fix).join(",")).join("L")}${closed ? "Z" : ""}`;

  function whole(width, height, body, title) {
    const head = { xmlns: "http://www.w3.org/2000/svg", width: `${fix(width)}mm`, height: `${fix(height)}mm`, viewBox: `0 0 ${fix(width)} ${fix(height)}`,
      "font-family": "Arial, Helvetica, sans-serif", "font-size": FONT, fill: "#000000" };
    return el("svg", head, el("title", {}, escape(title)) + el("rect", { width, height, fill: "#ffffff" }) + body);
  }

  // --- a view -------------------------------------------------------------------------------------------------
  /** The tissue or the UMAP as it is seen now.
   *  @param view the View, @param painting how its spots are coloured; `parts`: {images: [{href, x, y, width, height, opacity}],
   *  features, active, legend, scaleBar, umPerUnit, mask, title, picture} */
  function viewFigure(view, painting, width, parts) {
    const k = width / view.width, height = view.height * k; // mm per screen pixel
    const place = (p) => view.toScreen(p).map((v) => v * k);
    const inner = [];
    for (const image of parts.images) inner.push(picture(image, place));
    if (parts.picture) inner.push(el("image", { href: parts.picture, width, height, preserveAspectRatio: "none" }));
    else inner.push(spots(view, painting, place, k, parts.mask));
    for (const feature of parts.features) inner.push(shape(feature, place, k * view.scale, parts.umPerUnit));
    const clip = el("defs", {}, el("clipPath", { id: "frame" }, el("rect", { width, height })));
    let body = clip + el("g", { "clip-path": "url(#frame)" }, inner.join(""));
    if (parts.scaleBar && parts.umPerUnit) body += scaleBar(view, k, height, parts.umPerUnit);
    const [keys, room] = parts.legend ? legend(painting, width, height + GAP) : ["", 0];
    return whole(width, height + (room ? GAP + room : 0), body + keys, parts.title);
  }

  function picture({ href, x, y, width, height, opacity }, place) {
    const [x0, y0] = place([x, y]), [x1, y1] = place([x + width, y + height]);
    return el("image", { href, x: x0, y: y0, width: x1 - x0, height: y1 - y0, opacity, preserveAspectRatio: "none" });
  }

  /** Spots that are seen, grouped by colour. What is not selected is faint, as on the page. */
  function spots(view, { codes, palette }, place, k, mask) {
    const r = (view.size * k) / 2, [x0, y0, x1, y1] = view.box(), reach = view.size / view.scale, groups = new Map();
    for (let i = 0; i < codes.length; i++) {
      const x = view.xy[2 * i], y = view.xy[2 * i + 1];
      if (!Number.isFinite(x) || view.hidden?.[i] || x < x0 - reach || x > x1 + reach || y < y0 - reach || y > y1 + reach) continue;
      const key = `${palette[codes[i]]}${mask && !mask[i] ? "-" : ""}`, [cx, cy] = place([x, y]);
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(view.points.round ? `<circle cx="${fix(cx)}" cy="${fix(cy)}" r="${fix(r)}"/>` : `<rect x="${fix(cx - r)}" y="${fix(cy - r)}" width="${fix(2 * r)}" height="${fix(2 * r)}"/>`);
    }
    const drawn = [...groups].map(([key, nodes]) => el("g", { fill: key.replace("-", ""), opacity: key.endsWith("-") ? 0.16 : null }, nodes.join("")));
    return el("g", { class: "spots", opacity: view.opacity }, drawn.join(""));
  }

  /** A region's outline and name, or a path with its corridor and arrows in its direction. */
  function shape(feature, place, mmPerUnit, umPerUnit) {
    const { properties: p, geometry } = feature, line = { fill: "none", stroke: p.color, "stroke-width": 2 * LINE, "stroke-linejoin": "round" };
    const halo = { ...line, stroke: "#000000", "stroke-opacity": 0.55, "stroke-width": 4 * LINE };
    if (p.kind === "trajectory") {
      const points = geometry.coordinates.map(place), corridor = { ...line, "stroke-width": ((p.width_um || 0) / (umPerUnit || 1)) * mmPerUnit, "stroke-opacity": 0.18, "stroke-linecap": "round" };
      const heads = ns.arrowsAlong(points, 9).map(([x, y, angle]) => el("path", { d: "M-1.1,-0.75L0.5,0L-1.1,0.75Z", fill: p.color, stroke: "#000000", "stroke-width": 0.1, transform: `translate(${fix(x)} ${fix(y)}) rotate(${fix(angle)})` }));
      return el("g", { class: "trajectory" }, el("title", {}, escape(p.name)) + [corridor, halo, line].map((style) => el("path", { d: d(points), ...style })).join("") + heads.join(""));
    }
    const outline = ns.shapeParts(feature).map((ring) => d(ring.map(place), true)).join("");
    return el("g", { class: "region" }, el("title", {}, escape(p.name)) + el("path", { d: outline, ...halo }) + el("path", { d: outline, ...line }));
  }

  function scaleBar(view, k, height, umPerUnit) {
    const bar = window.SpatialMeta.scaleBar(umPerUnit / view.scale), w = bar.pixels * k, y = height - GAP;
    return el("g", { class: "scale-bar" }, el("rect", { x: GAP - 1, y: y - FONT - 1.6, width: Math.max(w, bar.label.length * FONT * 0.55) + 2, height: FONT + 2.4, fill: "#ffffff", "fill-opacity": 0.8 }) +
      el("rect", { x: GAP, y: y - 0.5, width: w, height: 0.6 }) + label(GAP, y - 1.1, bar.label));
  }

  // --- legends ------------------------------------------------------------------------------------------------
  /** Keys of the colours below a figure: [text, height]. */
  function legend(painting, width, top) {
    const { number } = ns.colour;
    if (painting.kind === "number") {
      const w = Math.min(40, width * 0.6), stops = painting.palette.slice(0, -1), n = stops.length;
      const cells = stops.map((fill, i) => el("rect", { x: (i * w) / n, y: top, width: (i + 1 < n ? 2 : 1) * w / n, height: 2.4, fill })).join("");
      const ends = label(0, top + 2.6 + FONT, number(painting.limits[0])) + label(w, top + 2.6 + FONT, number(painting.limits[1]), { "text-anchor": "end" });
      return [el("g", { class: "colour-bar" }, cells + ends + label(w + GAP, top + 2.2, painting.label)), 3.4 + FONT];
    }
    if (painting.kind === "pair") {
      const { SIDE } = ns.colour, cell = 1.5, side = SIDE * cell;
      const cells = painting.palette.slice(0, -1).map((fill, i) => el("rect", { x: (i % SIDE) * cell, y: top + side - (Math.floor(i / SIDE) + 1) * cell, width: cell, height: cell, fill })).join("");
      return [el("g", { class: "square" }, cells + label(side + GAP, top + FONT, `upwards: ${painting.labels[0]}`) + label(side + GAP, top + 2.4 * FONT, `to the right: ${painting.labels[1]}`)), side + 1];
    }
    return keys(painting.categories.filter((c) => !c.hidden).map((c) => [c.colour, c.name]), width, top);
  }

  /** Coloured squares with names, as many a row as fit. */
  function keys(entries, width, top) {
    let x = 0, y = top;
    const nodes = entries.map(([colour, name]) => {
      const room = 3.2 + name.length * FONT * 0.56 + GAP;
      if (x > 0 && x + room > width) { x = 0; y += 1.5 * FONT; }
      const node = el("rect", { x, y, width: 2.2, height: 2.2, fill: colour }) + label(x + 3, y + 2.1, name);
      x += room;
      return node;
    });
    return [el("g", { class: "keys" }, nodes.join("")), y - top + 1.5 * FONT];
  }

  // --- profile and heat map -----------------------------------------------------------------------------------
  /** Round numbers between two, about `n` of them. */
  function ticks(low, high, n = 5) {
    const rough = (high - low) / n || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * ([1, 2, 5, 10].find((m) => m * power >= rough) || 10), found = [];
    for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9 * step; v += step) found.push(Math.abs(v) < step / 1e6 ? 0 : v);
    return found;
  }

  /** Smooths with their bands: the answer of /api/view/<result>/profile. */
  function profileFigure(table, width, { colours, scaled, title, legend: withKeys = true }) {
    const left = 9, bottom = 8, height = width * 0.5, w = width - left - 1, h = height - bottom - 1;
    const finite = [...table.low, ...table.high].flat().filter((v) => v !== null);
    const low = Math.min(0, ...finite), high = Math.max(...finite, low + 1e-9), end = table.position_mm[table.position_mm.length - 1];
    const at = (x, y) => [left + (x / end) * w, 1 + h - ((y - low) / (high - low)) * h];
    const axis = { stroke: "#000000", "stroke-width": LINE, fill: "none" };
    let body = el("path", { d: d([at(0, high), at(0, low), at(end, low)]), ...axis });
    for (const x of ticks(0, end)) { const [px, py] = at(x, low); body += el("path", { d: d([[px, py], [px, py + 0.8]]), ...axis }) + label(px, py + 1.2 + FONT, ns.colour.number(x), { "text-anchor": "middle" }); }
    for (const y of ticks(low, high, 4)) { const [px, py] = at(0, y); body += el("path", { d: d([[px - 0.8, py], [px, py]]), ...axis }) + label(px - 1.2, py + FONT / 3, ns.colour.number(y), { "text-anchor": "end" }); }
    body += label(left + w / 2, height - 0.6, "position (mm)", { "text-anchor": "middle" }) + label(0, 0, scaled ? "scaled" : "value", { transform: `translate(${fix(FONT)} ${fix(1 + h / 2)}) rotate(-90)`, "text-anchor": "middle" });
    table.names.forEach((name, i) => {
      const stroke = colours[i % colours.length];
      for (const [a, b] of runs(table.mean[i])) {
        const xs = table.position_mm.slice(a, b), line = (values) => xs.map((x, j) => at(x, values[a + j] ?? table.mean[i][a + j]));
        body += el("path", { class: "band", d: d([...line(table.high[i]), ...line(table.low[i]).reverse()], true), fill: stroke, "fill-opacity": 0.2 }) + el("path", { class: "smooth", d: d(line(table.mean[i])), fill: "none", stroke, "stroke-width": 2 * LINE });
      }
    });
    const [names, room] = withKeys ? keys(table.names.map((name, i) => [colours[i % colours.length], name]), width, height + 1) : ["", 0];
    return whole(width, height + 1 + room, body + names, title);
  }

  /** Stretches of a row without a gap, as [first, behind the last]. */
  function runs(values) {
    const found = [];
    values.forEach((v, i) => {
      if (v === null) return;
      if (found.length && found[found.length - 1][1] === i) found[found.length - 1][1] = i + 1;
      else found.push([i, i + 1]);
    });
    return found;
  }

  /** Features along the path, a row each. */
  function heatFigure(rows, position_um, width, { ramp, title }) {
    const longest = Math.min(width * 0.35, Math.max(...rows.map((r) => r.name.length), 8) * FONT * 0.56), right = 11, row = 3.2;
    const w = width - longest - right - GAP, end = position_um[position_um.length - 1] / 1000, height = rows.length * row;
    let body = label(width, FONT, "FDR", { "text-anchor": "end" });
    const top = FONT + 1;
    rows.forEach((r, i) => {
      const y = top + i * row, n = r.values.length;
      body += label(longest, y + 2.4, r.name, { "text-anchor": "end" }) + label(width, y + 2.4, ns.panels.pValue(r.fdr), { "text-anchor": "end" });
      body += el("g", { class: "row" }, r.values.map((v, j) => (v === null ? "" : el("rect", { x: longest + GAP / 2 + (j * w) / n, y, width: (j + 1 < n && r.values[j + 1] !== null ? 2 : 1) * w / n, height: row - 0.2, fill: ramp[Math.round(Math.max(0, Math.min(1, v)) * (ramp.length - 1))] }))).join(""));
    });
    const base = top + height;
    for (const x of ticks(0, end)) body += label(longest + GAP / 2 + (x / end) * w, base + 1 + FONT, ns.colour.number(x), { "text-anchor": "middle" });
    body += label(longest + GAP / 2 + w / 2, base + 2 + 2 * FONT, "position (mm)", { "text-anchor": "middle" });
    const [bar, room] = legend({ kind: "number", palette: [...ramp, ""], limits: [0, 1], label: "smooth, each feature from its lowest to its highest" }, width, base + 4 + 2 * FONT);
    return whole(width, base + 5 + 2 * FONT + room, body + bar, title);
  }

  ns.figure = { viewFigure, profileFigure, heatFigure, MOST_SHAPES };
})();
