/* Markers: what distinguishes the selection from the rest or from another region. The rank test answers at once where that
 * is quick; random places of the region, and large tables, are a job whose progress is said here. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const ROWS = 12;
  const PERMUTATIONS = 999;
  const FOLLOW_MS = 500;
  const ENDED = ["done", "failed", "cancelled"];
  const NOTE = "Wilcoxon with tie correction, FDR by Benjamini–Hochberg. Neighbouring spots are not independent: trust effect and AUC before the FDR.";
  const PLACED = "p (places): how often a region of this size and shape, put down at random, differs as much.";
  const $ = (id) => ns.root.querySelector(`#${id}`);

  class Markers {
    constructor(findings) {
      this.findings = findings;
      this.options = { against: "", kind: "", low: false };
      this.table = null;
    }

    get page() { return this.findings.page; }

    open(name) {
      this.name = name;
      this.ask(0);
    }

    close() {
      this.turn = (this.turn || 0) + 1; // an answer that is on its way is for nobody
      this.table = null;
      this.paint();
    }

    /** Other regions that the selection can be compared with. */
    others() {
      const { active, document } = this.findings;
      return document.features.filter((f) => f.properties.kind === "region" && f.id !== active);
    }

    async ask(permutations) {
      const turn = (this.turn = (this.turn || 0) + 1), other = this.others().find((f) => f.id === this.options.against);
      const against = other ? [{ op: "set", space: "spatial", geometry: other.geometry }] : null;
      const stale = () => turn !== this.turn;
      const rows = permutations ? this.table?.rows : null; // what is known stays while the places are tried
      this.table = { rows, message: `Comparing with ${other ? other.properties.name : "the rest"} …` };
      this.paint();
      try {
        let answer = await this.page.data.markers({ steps: this.findings.steps, against, permutations, layer: this.page.layer() });
        if (answer.job) answer = await this.follow(answer.job, stale);
        if (stale() || !answer) return;
        this.table = answer;
        this.page.announce(`${answer.rows.length} markers of ${this.name}`);
      } catch (error) {
        if (stale()) return;
        this.table = { rows, message: ns.words(error) };
      }
      this.paint();
    }

    /** Wait for a job and say how far it is; its file is the answer. */
    async follow(id, stale) {
      const api = window.SpatialMeta.api;
      document.dispatchEvent(new CustomEvent("sm:job-submitted"));
      this.job = id;
      for (;;) {
        const job = await window.SpatialMeta.job(id);
        if (stale()) { // nobody waits for it any more
          if (!ENDED.includes(job.state)) await api(`/api/jobs/${id}/cancel`, { method: "POST", json: {} });
          return null;
        }
        if (job.state === "done") return (await api(`/api/download/${id}`, { cache: "no-store" })).json();
        if (ENDED.includes(job.state)) throw new Error(job.error || "The comparison was stopped.");
        this.table = { ...this.table, message: job.state === "queued" ? "Waiting for its turn …" : `${job.message || "starting"} …`, fraction: job.fraction };
        this.paint();
        await new Promise((done) => setTimeout(done, FOLLOW_MS));
      }
    }

    set(change, again) {
      Object.assign(this.options, change);
      if (again) this.ask(0);
      else this.paint();
    }

    shown() {
      const { kind, low } = this.options, rows = (this.table?.rows || []).filter((r) => !kind || r.tag === kind);
      return (low ? rows.slice().reverse() : rows).filter((r) => (low ? r.auc < 0.5 : r.auc >= 0.5)).slice(0, ROWS);
    }

    csv() {
      const numbers = ["auc", "log2fc", "p", "fdr", "p_spatial", "fdr_spatial", "mean_in", "mean_out", "share_in", "share_out"];
      const rows = this.table.rows.map((r) => [r.name, r.tag, ...numbers.map((n) => r[n])]);
      ns.saveText(`markers ${this.name}.csv`, ns.csv([["feature", "type", ...numbers], ...rows]), "text/csv");
    }

    paint() {
      const { h, iconButton } = ns, host = $("explore-markers"), { table, options } = this;
      host.hidden = !table;
      if (!table) return host.replaceChildren();
      const key = host.contains(document.activeElement) ? document.activeElement.dataset.key : null;
      const select = (name, label, choices, chosen, onchange) => h("select", { class: "form-select form-select-sm", "aria-label": label, "data-key": name, onchange: (e) => onchange(e.target.value) },
        choices.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
      const nodes = [
        h("h2", { class: "sm-head" }, h("span", {}, `Markers · ${this.name}`), h("span", {},
          table.rows ? iconButton("filetype-csv", "Save the markers as CSV", () => this.csv()) : null, iconButton("x-lg", "Close the markers", () => this.close()))),
        h("div", { class: "sm-row ex-choices" },
          select("marker-against", "Compare with", [["", "against the rest"], ...this.others().map((f) => [f.id, `against ${f.properties.name}`])], options.against, (v) => this.set({ against: v }, true)),
          select("marker-kind", "Kind of feature", [["", "all"], ["ST", "genes"], ["SM", "metabolites"]], options.kind, (v) => this.set({ kind: v })),
          select("marker-low", "Direction", [["", "higher"], ["low", "lower"]], options.low ? "low" : "", (v) => this.set({ low: Boolean(v) }))),
      ];
      if (table.rows) nodes.push(this.body(table));
      if (table.message) nodes.push(this.waiting(table));
      else nodes.push(h("div", { class: "sm-row" }, h("button", { type: "button", class: "btn btn-link btn-sm", "data-key": "marker-places",
        title: PLACED, onclick: () => this.ask(PERMUTATIONS) }, table.permutations ? "Try random places again" : "p from random places of the region")),
        h("p", { class: "sm-note" }, NOTE + (table.permutations ? ` ${PLACED} ${table.permutations} places.` : "")));
      host.replaceChildren(...nodes);
      if (key) host.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
    }

    waiting({ message, fraction }) {
      const { h } = ns;
      return h("div", { class: "ex-waiting" }, h("p", { class: "sm-note", role: "status" }, message),
        fraction === undefined ? null : h("progress", { max: "1", value: String(fraction), "aria-label": "Progress of the comparison" }),
        fraction === undefined ? null : h("button", { type: "button", class: "btn btn-link btn-sm", "data-key": "marker-stop", onclick: () => this.stop() }, "Stop"));
    }

    /** Back to what was known before the places were tried. */
    stop() {
      const rows = this.table?.rows;
      this.turn++;
      this.table = rows ? { rows, permutations: 0 } : null;
      this.paint();
    }

    body(table) {
      const { h } = ns, { number } = ns.colour, { pValue } = ns.panels;
      const cell = (text) => h("td", { class: "sm-num" }, text);
      const placed = table.rows.some((r) => r.p_spatial !== undefined);
      const heads = ["Marker", "log2 FC", "AUC", "FDR", ...(placed ? ["p (places)"] : [])];
      const rows = this.shown().map((r) => h("tr", {},
        h("td", {}, h("button", { type: "button", class: "ex-name", title: `Colour by ${r.name}`, "data-key": `marker-${r.index}`,
          onclick: () => this.page.colourBy({ kind: "feature", ...r }) }, r.name), " ", h("span", { class: "sm-tag" }, r.tag)),
        cell(number(r.log2fc)), cell(r.auc.toFixed(2)), cell(pValue(r.fdr)), placed ? cell(pValue(r.p_spatial)) : null));
      return h("table", { class: "sm-table ex-markers" },
        h("thead", {}, h("tr", {}, heads.map((t, i) => h("th", { scope: "col", class: i ? "sm-num" : "" }, t)))), h("tbody", {}, rows));
    }
  }

  ns.Markers = Markers;
})();
