// The Align page while a job runs: the best alignment so far, its stage and loss terms, several times a second.
(() => {
  "use strict";
  const A = (window.SpatialMeta.alignPage = window.SpatialMeta.alignPage || {});
  const s = (A.s = A.s || {});
  const POLL_MS = 200;
  const ACTIVE = ["running", "cancelling"];
  const UNITS = { outline_um: ["outline", "µm"], landmark_um: ["landmarks", "µm"], landmarks_um: ["landmarks", "µm"] };
  let following = null;

  function follow(job) {
    const id = job && ACTIVE.includes(job.state) ? job.id : null;
    if (id === following) return;
    following = id;
    if (id) poll(id);
    else if (s.mode === "live") { s.live = null; A.setMode(s.aligned ? "result" : "manual"); }
  }

  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const answer = (url, options) => fetch(url, options).catch(() => null);

  async function newEvents(id, since) {
    const response = await answer(`/api/jobs/${id}/events?since=${since}`);
    return response?.ok ? (await response.json()).events : [];
  }

  async function poll(id) {
    const seen = { tag: null, last: 0 };
    s.arrivals = [];
    while (following === id && A.mounted()) {
      const began = performance.now();
      await Promise.all([askEvents(id, seen), seen.last ? askPreview(id, seen) : null]);
      await pause(Math.max(0, POLL_MS - (performance.now() - began)));
    }
  }

  async function askEvents(id, seen) {
    const events = await newEvents(id, seen.last);
    if (!events.length || following !== id) return;
    seen.last = events[events.length - 1].id;
    tell(events[events.length - 1]);
  }

  // a job has its first preview with its first numbers; before that there is nothing to ask for
  async function askPreview(id, seen) {
    const headers = seen.tag ? { "If-None-Match": seen.tag } : {};
    const response = await answer(`/api/jobs/${id}/preview/alignment`, { headers });
    if (response?.status !== 200 || following !== id || !s.scene.sm) return;
    seen.tag = response.headers.get("ETag");
    show(await response.arrayBuffer(), response.headers.get("X-Arrays"));
  }

  function show(bytes, described) {
    const entry = JSON.parse(described || "[]").find((a) => a.name === "xy");
    if (!entry || entry.shape[0] * 2 !== s.scene.sm.length) return;
    s.live = new Float32Array(bytes, entry.offset || 0, s.scene.sm.length);
    s.arrivals.push(performance.now());
    if (s.mode === "live") A.paint(); // the histology under it stays as it is
    else A.setMode("live");
    s.stage.dataset.previews = s.arrivals.length;
  }

  // the stage and every term, in words over the overlay
  function tell(event) {
    const stage = document.querySelector('[data-live="stage"]');
    const terms = document.querySelector('[data-live="terms"]');
    if (!stage || !terms) return;
    stage.textContent = event.message || "running";
    terms.replaceChildren(...Object.entries(event.numbers).filter(([, v]) => v !== null).map(([name, value]) => {
      const [label, unit] = UNITS[name] || [name.replaceAll("_", " "), ""];
      const row = Object.assign(document.createElement("div"), { className: "sm-row sm-between" });
      for (const text of [label, `${value.toPrecision(3) * 1} ${unit}`]) {
        row.append(Object.assign(document.createElement("span"), { textContent: text }));
      }
      return row;
    }));
    s.told = (s.told || 0) + 1;
  }

  A.follow = follow;
})();
