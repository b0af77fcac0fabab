// Curves of a running job: new numbers are fetched and appended to the figure that the server drew.
// layout.meta of the figure: {job, last, terms, hidden, x}: whose curves, the newest event in them, trace i is
// term i, hidden ones are all zero, x the number that counts the steps where there is one.
(() => {
  "use strict";
  const POLL_MS = 500;
  let following = null; // id of the job whose events are asked for

  const figureOf = (id) => document.getElementById(id)?.querySelector(".js-plotly-plot");

  // events -> what Plotly.extendTraces takes; `unknown` says that a term has no trace yet
  function extension(events, meta, lengths) {
    const x = meta.terms.map(() => []);
    const y = meta.terms.map(() => []);
    let unknown = false;
    for (const { numbers } of events) {
      for (const [term, value] of Object.entries(numbers)) {
        const i = meta.terms.indexOf(term);
        if (i >= 0) {
          y[i].push(value);
          x[i].push(numbers[meta.x] ?? lengths[i] + y[i].length);
        } else if (term !== meta.x && !(meta.hidden.includes(term) && value === 0)) unknown = true;
      }
    }
    const index = meta.terms.map((_, i) => i).filter((i) => x[i].length);
    return { unknown, index, update: { x: index.map((i) => x[i]), y: index.map((i) => y[i]) } };
  }

  async function fetchEvents(job, since) {
    const response = await fetch(`/api/jobs/${job}/events?since=${since}`);
    return response.ok ? (await response.json()).events : [];
  }

  async function poll(job, id, redraw) {
    let asked = null; // what was known when the server was asked to draw anew: once is enough
    while (following === job) {
      const plot = figureOf(id);
      if (!plot) break;
      const meta = plot.layout?.meta;
      if (meta && meta.job === job) {
        const events = await fetchEvents(job, meta.last).catch(() => []);
        if (events.length && plot.layout.meta === meta) {
          const { unknown, index, update } = extension(events, meta, plot.data.map((trace) => trace.x.length));
          if (unknown) {
            if (asked !== meta.last) redraw();
            asked = meta.last;
          } else {
            if (index.length) window.Plotly.extendTraces(plot, update, index);
            meta.last = events[events.length - 1].id;
          }
        }
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    if (following === job) following = null;
  }

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.curves = {
    // the job of a step -> polls while it runs; the store that asks the server to draw anew counts up
    follow: (job) => {
      const no = window.dash_clientside.no_update;
      const where = window.dash_clientside.callback_context.outputs_list.id;
      const plotId = JSON.stringify({ form: where.form, part: "curves" });
      if (!document.getElementById(plotId)) return no;
      const running = job && ["running", "cancelling"].includes(job.state) ? job.id : null;
      if (running === following) return no;
      following = running;
      if (running) poll(running, plotId, () => window.SpatialMeta.setProps(where, { data: Date.now() }));
      return Date.now();
    },
  };
})();
