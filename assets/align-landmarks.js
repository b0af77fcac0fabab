// The Align page, by landmarks: the same place is clicked in SM (left) and in ST (right). Both are shown in the ST frame
// with one view, SM where it was put by hand, so that like lies beside like; a pair keeps SM as measured.
// The store `align-marks` holds the complete pairs [[sm x, sm y, st x, st y], …].
(() => {
  "use strict";
  const A = (window.SpatialMeta.alignPage = window.SpatialMeta.alignPage || {});
  const draw = window.SpatialMeta.draw;
  const s = (A.s = A.s || {});
  const NEAR = 10; // CSS pixels within which a mark is grasped
  const STEP = 8; // CSS pixels that an arrow key moves the crosshair; with Shift 1

  const stored = () => `spatialmeta.align.marks.${s.scene.key}`;
  const screen = (side, row) => (side === "sm"
    ? draw.apply(s.view, ...draw.apply(A.manual.matrix(), row[0], row[1]))
    : draw.apply(s.view, row[2], row[3]));

  // CSS pixels of a pane -> coordinates of its section
  function place(side, x, y) {
    const full = draw.apply(draw.invert(s.view), x, y);
    return side === "sm" ? draw.apply(draw.invert(A.manual.matrix()), ...full) : full;
  }

  function setMarks(rows, { remember = true } = {}) {
    if (remember) A.remember();
    s.marks = rows;
    publish();
    A.paint();
  }

  function publish() {
    s.published = JSON.stringify(s.marks);
    sessionStorage.setItem(stored(), s.published);
    window.SpatialMeta.setProps("align-marks", { data: s.marks });
    showTable();
  }

  // a click: the first half of a pair waits for the second; another click in the same section corrects it
  function set(side, x, y) {
    const at = place(side, x, y);
    if (!s.pending || s.pending.side === side) {
      A.remember();
      s.pending = { side, at };
      showTable();
      return A.paint();
    }
    const row = side === "sm" ? [...at, ...s.pending.at] : [...s.pending.at, ...at];
    A.remember();
    s.pending = null;
    return setMarks([...s.marks, row], { remember: false });
  }

  const grasped = (side, x, y) => s.marks.findIndex((row) => {
    const [mx, my] = screen(side, row);
    return Math.hypot(mx - x, my - y) < NEAR;
  });

  function move(side, index, x, y) {
    const at = place(side, x, y);
    const row = s.marks[index];
    s.marks[index] = side === "sm" ? [...at, row[2], row[3]] : [row[0], row[1], ...at];
    A.paint();
  }

  // the marks of a pane of the pairs, or of the overlay of their fit: where SM lies, with a line to where it should
  function paintMarks(pane, content) {
    const named = (i, x, y, more) => ({ x, y, text: String(i + 1), hot: i === s.hot, ...more });
    if (content.fit) {
      const lines = s.marks.map((row, i) => {
        const [x, y] = draw.apply(s.view, row[2], row[3]);
        const to = content.matrix ? draw.apply(s.view, ...draw.apply(content.matrix, row[0], row[1])) : null;
        return named(i, x, y, { to });
      });
      return draw.drawMarks(pane.overlay, lines);
    }
    const marks = s.marks.map((row, i) => named(i, ...screen(content.side, row)));
    if (s.pending?.side === content.side) {
      const at = content.side === "sm" ? [...s.pending.at, 0, 0] : [0, 0, ...s.pending.at];
      marks.push(named(s.marks.length, ...screen(content.side, at), { half: true }));
    }
    draw.drawMarks(pane.overlay, marks);
    if (s.cursor?.side === content.side && document.activeElement === pane.element) {
      draw.crosshair(pane.overlay, s.cursor.x, s.cursor.y);
    }
    return null;
  }

  // arrows move a crosshair, Enter sets a landmark there
  function key(event, pane) {
    const side = pane === s.panes[0] ? "sm" : "st";
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (s.cursor?.side !== side) s.cursor = { side, x: pane.element.clientWidth / 2, y: pane.element.clientHeight / 2 };
    if (event.key === "Enter") set(side, s.cursor.x, s.cursor.y);
    else if (event.key === "Escape") s.pending = null;
    else if (steps[event.key]) {
      const far = event.shiftKey ? 1 : STEP;
      s.cursor.x += far * steps[event.key][0];
      s.cursor.y += far * steps[event.key][1];
    } else return false;
    showTable();
    A.paint();
    return true;
  }

  // ---- the list -----------------------------------------------------------------------------------------------------

  const um = (value) => (value === null || value === undefined ? "–" : `${value.toPrecision(value < 100 ? 2 : 3) * 1} µm`);
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

  function showTable() {
    const table = document.querySelector('[data-marks="table"]');
    const body = document.querySelector('[data-marks="rows"]');
    if (!table || !body) return;
    table.hidden = !s.marks.length;
    const { um: errors = [], left_out_um: left = [], said = "" } = s.marked || {};
    const current = errors.length === s.marks.length;
    body.replaceChildren(...s.marks.map((_, i) => {
      const row = document.createElement("tr");
      const cells = [String(i + 1), um(current ? errors[i] : null), um(current ? left[i] : null)];
      row.append(...cells.map((text, k) => Object.assign(document.createElement("td"), {
        textContent: text, className: k ? "sm-num" : "",
      })));
      const button = Object.assign(document.createElement("button"), { type: "button", className: "sm-icon" });
      button.setAttribute("aria-label", `Delete landmark ${i + 1}`);
      button.append(Object.assign(document.createElement("i"), { className: "bi bi-x-lg" }));
      button.addEventListener("click", () => setMarks(s.marks.filter((__, k) => k !== i)));
      row.append(Object.assign(document.createElement("td"), { className: "sm-num" }));
      row.lastChild.append(button);
      row.addEventListener("mouseenter", () => { s.hot = i; A.paint(); });
      row.addEventListener("mouseleave", () => { s.hot = null; A.paint(); });
      return row;
    }));
    const known = left.filter((v) => v !== null);
    const errorsSaid = current && errors.length ? `Mean ${um(mean(errors))}` : "";
    const leftSaid = current && known.length ? `, each left out ${um(mean(known))}` : "";
    const other = s.pending ? `Now the same place in ${s.pending.side === "sm" ? "ST" : "SM"}.` : "";
    const words = document.querySelector('[data-marks="said"]');
    if (words) words.textContent = [other, errorsSaid + leftSaid, said].filter(Boolean).join(" · ");
  }

  // stores `align-marks` and `align-marked` -> what is drawn; a file that was opened comes this way
  function take(rows, marked) {
    if (JSON.stringify(rows || []) !== s.published) {
      if (s.published !== undefined) A.remember();
      s.marks = rows || [];
      s.pending = null;
      s.published = JSON.stringify(s.marks);
      sessionStorage.setItem(stored(), s.published);
    }
    s.marked = marked || null;
    s.markedXY = null;
    if (marked?.xy) {
      const bytes = Uint8Array.from(atob(marked.xy), (c) => c.charCodeAt(0));
      s.markedXY = new Float32Array(bytes.buffer);
    }
    showTable();
    A.paint();
  }

  function restoreMarks() {
    const saved = sessionStorage.getItem(stored());
    s.marks = saved ? JSON.parse(saved) : s.scene.marks || [];
    s.pending = null;
    publish();
  }

  function openFile() {
    const input = Object.assign(document.createElement("input"), { type: "file", accept: ".csv,.tsv,.txt" });
    input.addEventListener("change", async () => {
      const file = input.files[0];
      if (!file) return;
      const data = { name: file.name, text: await file.text(), at: Date.now() };
      window.SpatialMeta.setProps("align-marks-file", { data });
    });
    input.click();
  }

  function saveFile() {
    const text = ["sm_x,sm_y,st_x,st_y", ...s.marks.map((row) => row.join(","))].join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = "landmarks.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  Object.assign(A.actions = A.actions || {}, {
    "open-marks": openFile,
    "save-marks": () => s.marks.length && saveFile(),
    "clear-marks": () => { A.remember(); s.pending = null; setMarks([], { remember: false }); },
  });
  Object.assign(A, { setMarks, restoreMarks, marks: { set, grasped, move, publish, key, paint: paintMarks, take } });
})();
