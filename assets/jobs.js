// Follows the jobs of the open project: asks /api/jobs once a second while something runs, now and then otherwise, puts
// the answer into the stores 'jobs' and 'jobs-ended', and draws the tray. The server is the truth, so every tab and
// every reload sees the same.
(function () {
  "use strict";
  const SM = (window.SpatialMeta = window.SpatialMeta || {});
  const BUSY_MS = 1000;
  const IDLE_MS = 5000;
  const ACTIVE = ["queued", "running", "cancelling"];
  const TITLES = {
    st: "ST import", sm: "SM import", align: "Align", reassign: "Reassign", features: "Features", integrate: "Training",
    cluster: "Clusters", demo: "Demonstration", export: "Export", spots: "Table",
    markers: "Markers",
  };

  let project = null;
  let seq = 0;
  let jobs = new Map();
  let timer = null;
  let asking = false;
  let failures = 0;
  let opened = 0; // when the page of this project was opened, in ms as performance.now() counts

  function projectOfPage() {
    const parts = window.location.pathname.split("/");
    if (parts[1] === "p") return parts[2];
    const waiting = document.querySelector("[data-follow-project]");
    return waiting ? waiting.dataset.followProject : null;
  }

  function sorted() {
    return Array.from(jobs.values()).sort((a, b) => b.created - a.created);
  }

  function busy() {
    return sorted().some((j) => ACTIVE.includes(j.state));
  }

  SM.jobTitle = (job) => TITLES[job.kind] || job.kind;

  SM.duration = function (seconds) {
    const s = Math.max(0, Math.round(seconds));
    const two = (n) => String(n).padStart(2, "0");
    if (s < 3600) return Math.floor(s / 60) + ":" + two(s % 60);
    return Math.floor(s / 3600) + ":" + two(Math.floor((s % 3600) / 60)) + ":" + two(s % 60);
  };

  SM.timeLeft = function (job, now) {
    const elapsed = now / 1000 - job.started;
    if (!job.started || job.fraction < 0.02 || elapsed < 1.5) return null;
    return (elapsed * (1 - job.fraction)) / job.fraction;
  };

  // ---- asking -------------------------------------------------------------------------------------------------------

  function schedule(delay) {
    clearTimeout(timer);
    timer = setTimeout(tick, delay);
  }

  async function tick() {
    if (!document.getElementById("tray")) return schedule(200); // before Dash has drawn the page
    const here = projectOfPage();
    if (here !== project) reset(here);
    if (!project || document.hidden) {
      draw();
      return schedule(document.hidden ? IDLE_MS : 500);
    }
    if (!asking) await ask();
    draw();
    schedule(busy() || failures ? BUSY_MS : IDLE_MS);
  }

  function reset(here) {
    if (project !== null) opened = performance.now();
    project = here;
    seq = 0;
    jobs = new Map();
  }

  async function ask() {
    asking = true;
    const asked = project;
    try {
      const url = "/api/jobs?project=" + encodeURIComponent(asked) + "&since=" + seq;
      const response = await SM.api(url, seq ? {} : { cache: "no-store" }); // the first answer tells the time
      if (response.status !== 304 && asked === project) take(await response.json());
      failures = 0;
    } catch (error) {
      failures += 1;
      if (failures === 3 && error.status === undefined) SM.toast(SM.describe(error));
    } finally {
      asking = false;
    }
  }

  function take(answer) {
    const first = seq === 0;
    const changed = answer.jobs || [];
    // at first, only what ended while the page was on its way: what it shows may be older; what is older still it knows
    const since = answer.now - (performance.now() - opened) / 1000; // s, by the server's clock
    const ended = changed.filter((j) => !ACTIVE.includes(j.state) && (!first || j.finished > since));
    changed.forEach((j) => jobs.set(j.id, j));
    const moved = placed(answer.waiting || {}) || (answer.seq !== seq && (first || changed.length));
    seq = Math.max(seq, answer.seq || 0);
    if (moved) window.dash_clientside.set_props("jobs", { data: { project, seq, jobs: sorted() } });
    changed.filter((j) => ACTIVE.includes(j.state)).forEach((j) => SM.forget(about(j)));
    if (!ended.length) return;
    window.dash_clientside.set_props("jobs-ended", { data: { seq, jobs: ended } });
    ended.filter((j) => j.state === "failed" && !shown(j)).forEach((j) => SM.toast({
      level: "danger", title: SM.jobTitle(j) + " failed", text: firstLine(j.error), mend: "", about: about(j),
    }));
  }

  // what the queued jobs wait for changes with the jobs of others -> whether it did
  function placed(waiting) {
    const moved = sorted().filter((j) => j.state === "queued" && JSON.stringify(j.waiting) !== JSON.stringify(waiting[j.id]));
    moved.forEach((j) => jobs.set(j.id, { ...j, waiting: waiting[j.id] }));
    return moved.length > 0;
  }

  /** Whether this page tells the whole message of a failed job: in its step's panel, or on the picture of its section. */
  function shown(job) {
    const there = document.querySelector(`[id='{"form":"${job.kind}","part":"error"}'], .sm-slot[data-slot="${job.kind}"]`);
    return Boolean(there) && window.location.pathname.split("/")[3] === job.sample;
  }

  // a failure is news until the same is tried again
  const about = (job) => `${job.kind} ${job.sample}`;

  function firstLine(text) {
    return String(text || "").split("\n")[0].slice(0, 300);
  }

  SM.askJobs = () => schedule(0);
  document.addEventListener("visibilitychange", () => !document.hidden && schedule(0));
  document.addEventListener("sm:job-submitted", () => schedule(0));

  // ---- the tray -----------------------------------------------------------------------------------------------------

  function summary(active) {
    const main = active.find((j) => j.state !== "queued") || active[active.length - 1]; // the next in turn
    const parts = [active.length + (active.length === 1 ? " job" : " jobs")];
    if (main.state === "queued") parts.push(SM.jobTitle(main) + " waits");
    else parts.push(SM.jobTitle(main) + " " + Math.round(100 * main.fraction) + "%");
    const left = SM.timeLeft(main, Date.now());
    if (left !== null) parts.push(SM.duration(left) + " left");
    return parts.join(" · ");
  }

  function draw() {
    const tray = document.getElementById("tray");
    if (!tray) return;
    const all = sorted();
    const active = all.filter((j) => ACTIVE.includes(j.state));
    const last = all[0];
    tray.hidden = !all.length;
    if (!all.length) return show(false);
    const state = active.length ? "running" : last.state;
    const text = active.length ? summary(active) : SM.jobTitle(last) + " " + last.state;
    tray.querySelector(".sm-dot").dataset.state = active.every((j) => j.state === "queued") && active.length
      ? "queued" : state;
    tray.querySelector(".sm-tray-text").textContent = text;
    tray.title = text;
    if (!document.getElementById("tray-panel").hidden) drawPanel(all);
  }

  function show(open) {
    const panel = document.getElementById("tray-panel");
    panel.hidden = !open;
    document.getElementById("tray").setAttribute("aria-expanded", String(open));
    if (open) drawPanel(sorted());
  }

  function drawPanel(all) {
    const panel = document.getElementById("tray-panel");
    if (!panel.firstChild) panel.append(panelHead(), SM.element("div", "sm-job-list"));
    panel.querySelector("a").href = "/p/" + project + "/jobs";
    const list = panel.querySelector(".sm-job-list");
    const shown = all.slice(0, 12);
    const kept = new Map(Array.from(list.children).map((row) => [row.dataset.job, row]));
    shown.forEach((job, i) => {
      const row = kept.get(job.id) || newRow(job);
      kept.delete(job.id);
      fillRow(row, job);
      if (list.children[i] !== row) list.insertBefore(row, list.children[i] || null);
    });
    kept.forEach((row) => row.remove());
  }

  function panelHead() {
    const head = SM.element("div", "sm-head");
    head.append(SM.element("span", "", "Jobs"));
    const link = SM.element("a", "sm-note", "All jobs");
    head.append(link);
    return head;
  }

  function newRow(job) {
    const row = SM.element("div", "sm-job");
    row.dataset.job = job.id;
    const line = SM.element("div", "sm-job-line");
    const log = SM.element("button", "btn btn-sm btn-link", "Log");
    const cancel = SM.element("button", "btn btn-sm btn-danger", "Cancel");
    log.addEventListener("click", () => toggleLog(row, job.id));
    cancel.addEventListener("click", () => cancelJob(job.id, cancel));
    line.append(SM.element("span", "sm-dot"), SM.element("span", "sm-job-title", SM.jobTitle(job)),
      SM.element("span", "sm-note sm-job-time"), SM.element("span", "sm-job-spacer"), log, cancel);
    const bar = SM.element("div", "sm-bar");
    bar.setAttribute("role", "progressbar");
    bar.setAttribute("aria-label", "Progress of " + SM.jobTitle(job));
    bar.append(SM.element("div"));
    row.append(line, bar, SM.element("div", "sm-job-message"));
    return row;
  }

  function fillRow(row, job) {
    const active = ACTIVE.includes(job.state);
    const percent = Math.round(100 * job.fraction);
    const bar = row.querySelector(".sm-bar");
    row.querySelector(".sm-dot").dataset.state = job.state;
    row.querySelector(".sm-job-time").textContent = timeText(job, active, percent);
    row.querySelector(".btn-danger").hidden = !active;
    bar.hidden = !active;
    bar.setAttribute("aria-valuenow", String(percent));
    bar.firstChild.style.width = percent + "%";
    row.querySelector(".sm-job-message").textContent =
      job.state === "failed" ? firstLine(job.error) : active ? job.message || SM.steps.words(job) : "";
  }

  function timeText(job, active, percent) {
    if (!active) return job.started && job.finished
      ? job.state + " · " + SM.duration(job.finished - job.started) : job.state;
    if (job.state === "queued") return "waits";
    const left = SM.timeLeft(job, Date.now());
    return percent + "%" + (left === null ? "" : " · " + SM.duration(left) + " left");
  }

  async function cancelJob(id, button) {
    button.disabled = true;
    button.textContent = "Stopping";
    try {
      await SM.api("/api/jobs/" + id + "/cancel", { method: "POST" });
    } catch (error) {
      SM.toast(SM.describe(error));
      button.disabled = false;
      button.textContent = "Cancel";
    }
    SM.askJobs();
  }

  async function toggleLog(row, id) {
    const shown = row.querySelector(".sm-log");
    if (shown) return shown.remove();
    const box = SM.element("pre", "sm-log", "Reading the log …");
    box.tabIndex = 0;
    row.append(box);
    try {
      const response = await SM.api("/api/jobs/" + id + "/log");
      box.textContent = (await response.text()).trim() || "The log is empty.";
      box.scrollTop = box.scrollHeight;
    } catch (error) {
      box.textContent = SM.describe(error).text;
    }
  }

  document.addEventListener("click", (event) => {
    const panel = document.getElementById("tray-panel");
    if (!panel) return;
    if (event.target.closest("#tray")) show(panel.hidden);
    else if (!panel.hidden && !event.target.closest("#tray-panel")) show(false);
  });
  document.addEventListener("keydown", (event) => {
    const panel = document.getElementById("tray-panel");
    if (event.key !== "Escape" || !panel || panel.hidden) return;
    show(false);
    document.getElementById("tray").focus();
  });

  // another project was opened: do not wait for the slow beat
  setInterval(() => projectOfPage() !== project && schedule(0), 250);
  schedule(300);
})();
