// The life of a step on its page: which job to show, its progress, Cancel, the first sign after Run.
// The truth is the store `jobs` (assets/jobs.js); nothing is remembered here.
(() => {
  "use strict";
  const SM = (window.SpatialMeta = window.SpatialMeta || {});
  const ACTIVE = ["queued", "running", "cancelling"];
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

  // The newest job of a step in a sample that a person still has to know of: active, or ended badly.
  function pick(jobs, sample, step) {
    const own = jobs.filter((job) => job.sample === sample && job.kind === step);
    const newest = own.reduce((a, b) => (a && a.created >= b.created ? a : b), null);
    return newest && newest.state !== "done" ? newest : null;
  }

  const sampleOf = (pathname) => (pathname || "").split("/")[3];

  function waits({ waiting, after, mine }) {
    if (!waiting) return after ? "Waits for the step before it" : "Waits for its turn";
    if (waiting.own) return mine ? "Waits until another job of yours ends" : "Waits for its turn";
    if (!waiting.before) return "Waits for its turn";
    return `Waits for its turn · ${waiting.before} ${waiting.before === 1 ? "job" : "jobs"} before it`;
  }

  function words(job) {
    if (job.state === "queued") return waits(job);
    if (job.state === "cancelling") return "Stopping …";
    const left = SM.timeLeft ? SM.timeLeft(job, Date.now()) : null;
    const end = left === null ? "" : ` · ${SM.duration(left)} left`;
    return `${job.message || "Running"} · ${Math.round(100 * (job.fraction || 0))}%${end}`;
  }

  // the server is asked again for the runs of a step, where the page lists them
  function touch(step) {
    if (!document.getElementById(JSON.stringify({ form: step, part: "runs" }))) return;
    SM.setProps({ form: step, part: "touched" }, { data: Date.now() });
  }

  let taken = null; // the job whose file was fetched
  let submitted = null; // the job that `jobs` was asked about at once, not at its next round

  const calls = {
    // store `jobs`, URL, the store of this step -> the job of this step
    pick: (jobs, pathname, before) => {
      const no = window.dash_clientside.no_update;
      if (!jobs || !Array.isArray(jobs.jobs)) return no;
      const step = window.dash_clientside.callback_context.outputs_list.id.form;
      const job = pick(jobs.jobs, sampleOf(pathname), step);
      if (before && before.active && job === null && !jobs.jobs.some((j) => j.id === before.id)) return no; // just submitted
      if (before && before.active && !(job && job.active)) touch(step);
      return same(job, before) ? no : job;
    },

    // the job of a step -> panel hidden, bar width, message, Cancel disabled, error, error hidden, Run disabled,
    // Resume hidden, Cancel hidden
    show: (job) => {
      const active = Boolean(job) && ACTIVE.includes(job.state);
      if (active && job.state === "queued" && job.id !== submitted) {
        submitted = job.id;
        document.dispatchEvent(new CustomEvent("sm:job-submitted"));
      }
      const error = job && job.state === "failed" ? job.error || "It failed without a word; see its log." : "";
      const cancelled = job && job.state === "cancelled" ? "Cancelled." : "";
      const width = { width: active ? `${Math.max(2, 100 * (job.fraction || 0))}%` : "0" };
      return [
        !active && !cancelled, width, active ? words(job) : cancelled, !active || job.state === "cancelling",
        error, !error, active, !job?.resumable, !active,
      ];
    },

    // a page that waits for its input opens once a job of its sample has ended well
    arrived: (ended, pathname) => {
      const own = (job) => job.sample === sampleOf(pathname) && job.state === "done";
      if (ended?.jobs.some(own)) window.location.reload();
      return window.dash_clientside.no_update;
    },

    // first sign, before the server has answered
    sign: (clicks) => {
      const no = window.dash_clientside.no_update;
      return clicks ? [false, "Submitting …"] : [no, no];
    },

    // the form of the step that follows by itself -> what Run hands on
    then: (values, ids) => (ids.length ? { step: ids[0].form, ids, values } : null),

    // a file that a job writes: the job's id, store `jobs` -> what to say; the file is fetched once it is there
    fetched: (id, jobs) => {
      if (!id) return "";
      const job = jobs?.jobs?.find((j) => j.id === id);
      if (!job) {
        SM.askJobs();
        return "Submitting …";
      }
      if (job.active) return words(job);
      if (job.state === "done" && taken !== id) {
        taken = id;
        const link = SM.element("a", "");
        link.href = `/api/download/${id}`;
        link.download = "";
        link.click();
      }
      return job.state === "done" ? "" : `${job.state[0].toUpperCase()}${job.state.slice(1)}.`;
    },

    cancel: (clicks, job) => {
      const no = window.dash_clientside.no_update;
      if (!clicks || !job) return no;
      SM.api(`/api/jobs/${job.id}/cancel`, { method: "POST" }).catch((error) => SM.toast(SM.describe(error)));
      return job.state === "running" ? { ...job, state: "cancelling" } : no;
    },

    // it goes on where it was stopped; the jobs are asked for at once, not at the next round
    resume: (clicks, job) => {
      const no = window.dash_clientside.no_update;
      if (!clicks || !job) return no;
      SM.api(`/api/jobs/${job.id}/resume`, { method: "POST" })
        .then(() => document.dispatchEvent(new CustomEvent("sm:job-submitted")))
        .catch((error) => SM.toast(SM.describe(error)));
      return { ...job, state: "queued", active: true, resumable: false };
    },
  };

  // "Run again" in the notice presses Run
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-press]");
    if (!button) return;
    const id = JSON.stringify({ form: button.dataset.press, part: "run" });
    document.getElementById(id)?.click();
  });

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.steps = calls;
  SM.steps = { pick, words };
})();
