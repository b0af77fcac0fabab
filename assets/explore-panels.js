/* The lists and tables beside the tissue. Each function paints one panel from plain data and says what a person did through
 * the callbacks it was given; none of them knows the project or the views. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});

  /** An element: h("button", {class, onclick, "aria-label"}, children…). */
  function h(tag, props = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(props)) {
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (key === "style") node.style.cssText = value;
      else if (value === true) node.setAttribute(key, "");
      else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
    }
    node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
    return node;
  }

  /** Replace all children; what is null is left out. */
  const fill = (host, ...nodes) => host.replaceChildren(...nodes.filter((node) => node !== null));

  const icon = (name) => h("i", { class: `bi bi-${name}`, "aria-hidden": "true" });
  const iconButton = (name, label, onclick, props = {}) =>
    h("button", { type: "button", class: "ex-mini", title: label, "aria-label": label, onclick, ...props }, icon(name));
  const count = (n) => n.toLocaleString("en");
  const pValue = (p) => (p === null || p === undefined ? "–" : p < 1e-300 ? "< 1e-300" : p < 1e-3 ? p.toExponential(0) : p.toFixed(3));
  const tag = (text) => h("span", { class: "sm-tag" }, text);

  /** Make `nodes` the children of an element; those that stay are not touched. */
  function patch(host, nodes) {
    const wanted = new Set(nodes);
    for (const child of [...host.children]) if (!wanted.has(child)) child.remove();
    nodes.forEach((node, i) => { if (host.children[i] !== node) host.insertBefore(node, host.children[i] || null); });
  }

  /** Replace the children of a list, keeping the keyboard focus on the same entry (`data-key`). */
  function refill(host, nodes) {
    const key = host.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    patch(host, nodes);
    if (key) host.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  }

  /** A search box with a list of what fits (WAI-ARIA combobox). `find(query, signal)` -> hits, `onPick(hit)`. */
  class Search {
    constructor(host, { label, placeholder, find, onPick, clear = false }) {
      Object.assign(this, { find, onPick, clear, hits: [], at: -1, shown: "" });
      const id = `${host.id}-list`;
      this.input = h("input", {
        id: `${host.id}-input`, type: "text", class: "form-control", placeholder, autocomplete: "off", spellcheck: "false",
        role: "combobox", "aria-label": label, "aria-expanded": "false", "aria-controls": id, "aria-autocomplete": "list",
        oninput: () => this.ask(), onkeydown: (e) => this.key(e), onfocus: () => this.input.select(),
        onblur: () => setTimeout(() => document.activeElement !== this.input && this.close(), 120),
      });
      this.list = h("ul", { id, role: "listbox", class: "ex-hits", "aria-label": label, hidden: true });
      host.replaceChildren(icon("search"), this.input, this.list);
      host.classList.add("ex-search");
    }

    show(text) {
      this.shown = text;
      if (document.activeElement !== this.input) this.input.value = text;
    }

    async ask() {
      this.abort?.abort();
      this.abort = new AbortController();
      try {
        this.fill(await this.find(this.input.value.trim(), this.abort.signal));
      } catch (error) {
        if (error.name !== "AbortError") this.fill([]);
      }
    }

    fill(hits) {
      this.hits = hits;
      this.at = hits.length ? 0 : -1;
      const none = h("li", { class: "ex-none", role: "option", "aria-disabled": "true" }, "Nothing by this name, m/z or annotation");
      this.list.replaceChildren(...(hits.length ? hits.map((hit, i) => this.entry(hit, i)) : [none]));
      this.list.hidden = false;
      this.input.setAttribute("aria-expanded", "true");
      this.mark();
    }

    entry(hit, i) {
      return h("li", { role: "option", id: `${this.list.id}-${i}`, onpointerdown: (e) => { e.preventDefault(); this.pick(i); } },
        h("span", { class: "ex-hit" }, hit.name), h("span", { class: "sm-note ex-detail" }, hit.detail || ""), tag(hit.tag));
    }

    mark() {
      [...this.list.children].forEach((li, i) => li.setAttribute("aria-selected", i === this.at));
      const current = this.list.children[this.at];
      if (current && this.at >= 0) {
        this.input.setAttribute("aria-activedescendant", current.id);
        current.scrollIntoView({ block: "nearest" });
      } else this.input.removeAttribute("aria-activedescendant");
    }

    key(event) {
      const moves = { ArrowDown: 1, ArrowUp: -1 };
      if (moves[event.key]) {
        event.preventDefault();
        if (this.list.hidden) return this.ask();
        this.at = (this.at + moves[event.key] + this.hits.length) % Math.max(1, this.hits.length);
        this.mark();
      } else if (event.key === "Enter" && !this.list.hidden) this.pick(this.at);
      else if (event.key === "Escape") { this.close(); this.input.blur(); }
      else return;
      event.stopPropagation();
    }

    pick(i) {
      const hit = this.hits[i];
      if (!hit) return;
      this.shown = this.clear ? "" : hit.name;
      this.close();
      this.onPick(hit);
    }

    close() {
      this.abort?.abort();
      this.list.hidden = true;
      this.input.setAttribute("aria-expanded", "false");
      this.input.value = this.shown;
    }
  }

  /** Categories with counts, one row for all that go by one name. A click on the dot hides, "only" isolates, a click on the
   *  name selects the spots; colour and name can be changed. */
  function categories(host, column, hidden, { renaming, onToggle, onOnly, onSelect, onColour, onRenaming, onRename, onSplit }) {
    refill(host, column.groups.map((codes) => {
      const [k] = codes, name = column.labels[k], off = codes.every((c) => hidden.has(c));
      const alone = !off && column.groups.length > 1 && hidden.size === column.categories.length - codes.length;
      const title = renaming === k
        ? renameBox(name, `category-name-${k}`, (value) => onRename(codes, value))
        : h("button", { type: "button", class: "ex-name", title: `Select the spots of ${name}, F2 to rename`, "data-key": `select-${k}`,
          onclick: (e) => onSelect(codes, e.shiftKey ? "add" : e.altKey ? "subtract" : "set"), ondblclick: () => onRenaming(codes),
          onkeydown: (e) => { if (e.key === "F2") onRenaming(codes); } }, name);
      return h("li", { class: "ex-category" + (off ? " ex-off" : "") },
        h("button", { type: "button", class: "ex-swatch", style: `--c:${column.colours[k]}`, "data-key": `hide-${k}`,
          "aria-pressed": String(!off), "aria-label": `Show ${name}`, title: off ? "Show" : "Hide", onclick: () => onToggle(codes, off) }),
        title,
        h("span", { class: "ex-edit" }, h("label", { class: "ex-mini", title: "Colour" }, icon("palette"),
          h("input", { type: "color", value: column.colours[k], "aria-label": `Colour of ${name}`, "data-key": `paint-${k}`, onchange: (e) => onColour(codes, e.target.value) })),
          iconButton("pencil", `Rename ${name} (F2)`, () => onRenaming(codes), { "data-key": `retitle-${k}` }),
          codes.length > 1 ? iconButton("intersect", `Split ${name} into ${codes.map((c) => column.categories[c]).join(", ")}`, () => onSplit(codes), { "data-key": `split-${k}` }) : null),
        h("button", { type: "button", class: "ex-only", "data-key": `only-${k}`, "aria-label": `Show only ${name}`,
          onclick: () => onOnly(alone ? null : codes) }, alone ? "all" : "only"),
        h("span", { class: "sm-num sm-muted" }, count(codes.reduce((sum, c) => sum + column.counts[c], 0))));
    }));
  }

  function colourBar(palette) {
    const stops = palette.slice(0, -1);
    return `linear-gradient(90deg, ${stops.filter((_, i) => i % 8 === 0 || i === stops.length - 1).join(", ")})`;
  }

  /** The legend inside the view: colour bar, square, or the first categories. */
  function legend(host, view) {
    if (!view) return host.replaceChildren();
    const { number } = ns.colour;
    const nodes = [];
    if (view.kind === "number") {
      nodes.push(h("div", { class: "ex-bar", style: `background:${colourBar(view.palette)}` }),
        h("div", { class: "ex-bar-text" }, h("span", {}, number(view.limits[0])), h("span", { class: "ex-bar-name" }, view.label),
          h("span", {}, number(view.limits[1]))));
    } else if (view.kind === "pair") {
      const { SIDE } = ns.colour, colours = ns.colour.square(), order = [...Array(SIDE * SIDE).keys()];
      // row by row from the top: the first feature grows upwards, the second to the right
      const cells = order.map((k) => colours[(SIDE - 1 - Math.floor(k / SIDE)) * SIDE + (k % SIDE)])
        .map((c) => h("i", { style: `background:${c}` }));
      nodes.push(h("div", { class: "ex-pair" }, h("span", { class: "ex-pair-y" }, `${view.labels[0]} →`),
        h("div", { class: "ex-square", style: `--n:${ns.colour.SIDE}` }, cells), h("span", { class: "ex-pair-x" }, `${view.labels[1]} →`)));
    } else {
      const seen = view.categories.filter((c) => !c.hidden), shown = seen.slice(0, seen.length === 9 ? 9 : 8);
      nodes.push(h("ul", { class: "ex-keys" }, shown.map((c) => h("li", {}, h("i", { style: `background:${c.colour}` }), c.name)),
        seen.length > shown.length ? h("li", { class: "sm-muted" }, `and ${seen.length - shown.length} more`) : null));
    }
    if (view.missing) nodes.push(h("div", { class: "ex-missing" }, h("i", { style: `background:${ns.colour.MISSING}` }), "no value"));
    host.replaceChildren(...nodes);
  }

  /** Numbers of a selection, and the ways on from it. */
  function selection(host, summary, { onSave, onMarkers, onClear, onInvert, name, noun }) {
    host.hidden = !summary;
    if (!summary) return host.replaceChildren();
    const { number } = ns.colour;
    const { value } = summary;
    const facts = [[noun[0].toUpperCase() + noun.slice(1), count(summary.spots)], ["Tissue area", summary.area_mm2 === null ? "–" : `${number(summary.area_mm2)} mm²`]];
    if (value) facts.push([`Mean ${value.name}`, `${number(value.inside)}  ·  rest ${number(value.outside)}`]);
    const input = h("input", { class: "form-control form-control-sm", value: name, maxlength: "80", "aria-label": "Name of the new region",
      "data-key": "selection-name", onkeydown: (e) => { if (e.key === "Enter") { e.preventDefault(); onSave(e.target.value); } } });
    fill(host,
      h("h2", { class: "sm-head" }, h("span", {}, summary.saved ? `Region · ${summary.saved}` : "Selection"), iconButton("x-lg", "Clear the selection (Esc)", onClear)),
      h("dl", { class: "sm-facts" }, facts.flatMap(([k, v]) => [h("dt", {}, k), h("dd", { class: "sm-num" }, v)])),
      shares(summary.categories),
      summary.saved || !summary.drawable ? null : h("div", { class: "sm-row ex-save" }, input,
        h("button", { type: "button", class: "btn btn-primary btn-sm", onclick: () => onSave(input.value) }, "Save region")),
      h("div", { class: "sm-row ex-ways" },
        h("button", { type: "button", class: "btn btn-link btn-sm", onclick: onMarkers, title: "What distinguishes it (M)" }, "Markers"),
        h("button", { type: "button", class: "btn btn-link btn-sm", onclick: onInvert }, "Invert")));
  }

  /** What the selection is made of, as one bar. */
  function shares(categories) {
    if (!categories || !categories.length) return null;
    const total = categories.reduce((sum, c) => sum + c.count, 0) || 1;
    return h("div", { class: "ex-shares" },
      h("div", { class: "ex-share-bar", "aria-hidden": "true" }, categories.map((c) => h("i", { style: `width:${(100 * c.count) / total}%;background:${c.colour}` }))),
      h("ul", { class: "ex-keys" }, categories.slice(0, 4).map((c) =>
        h("li", {}, h("i", { style: `background:${c.colour}` }), `${c.name} ${Math.round((100 * c.count) / total)}%`))));
  }

  /** A name that is being typed over; `onDone(text)`, or null where it was left as it was. */
  function renameBox(name, key, onDone) {
    let done = false;
    const finish = (value) => {
      if (done) return;
      done = true;
      onDone(value);
    };
    return h("input", { class: "form-control form-control-sm ex-rename", value: name, maxlength: "80",
      "aria-label": "Name", "data-key": key, onblur: (e) => finish(e.target.value),
      onkeydown: (e) => {
        e.stopPropagation();
        if (e.key !== "Enter" && e.key !== "Escape") return;
        e.preventDefault(); // else this very key would press the button that gets the focus next
        finish(e.key === "Enter" ? e.target.value : null);
      } });
  }

  /** A question before something that others see too. */
  function askFirst(title, text, verb, onYes) {
    const dialog = h("dialog", { class: "ex-dialog", "aria-labelledby": "explore-ask-title" },
      h("h2", { id: "explore-ask-title", class: "sm-head" }, title), h("p", {}, text),
      h("div", { class: "sm-row" }, h("button", { type: "button", class: "btn btn-primary btn-sm", onclick: () => dialog.close("yes") }, verb),
        h("button", { type: "button", class: "btn btn-secondary btn-sm", onclick: () => dialog.close() }, "Cancel")));
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (dialog.returnValue === "yes") onYes();
    });
    ns.root.append(dialog);
    dialog.showModal();
  }

  /** Chips of the features in a profile. */
  function chips(host, features, colours, onRemove) {
    host.replaceChildren(...features.map((f, i) => h("span", { class: "ex-chip", style: `--c:${colours[i % colours.length]}` },
      h("i", {}), f.name, iconButton("x", `Take ${f.name} out of the profile`, () => onRemove(f)))));
  }

  Object.assign(ns, { h, patch, refill, iconButton, renameBox, askFirst, Search, panels: { categories, colourBar, legend, selection, chips, count, pValue } });
})();
