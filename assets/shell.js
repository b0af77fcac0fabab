// Theme, keyboard, undo and redo as DOM events, alerts. Everything hangs on window.SpatialMeta, the one global.
(function () {
  "use strict";
  const SM = (window.SpatialMeta = window.SpatialMeta || {});

  const PATIENCE = 8; // answers in a row that may fail, waited for ever longer: half a minute

  // ---- calls to the API: one header, one way errors come back -----------------------------------------------------

  SM.api = async function (path, options) {
    const given = options || {};
    const headers = Object.assign({ "X-SpatialMETA": "1" }, given.headers);
    let body = given.body;
    if (given.json !== undefined) {
      headers["Content-Type"] = "application/json";
      body = JSON.stringify(given.json);
    }
    const response = await fetch(path, Object.assign({}, given, { headers, body }));
    if (response.ok || response.status === 304) return response;
    throw Object.assign(new Error("HTTP " + response.status), {
      status: response.status,
      detail: await response.json().then((j) => j.error || {}, () => ({})),
    });
  };

  // What the server knows of a job now. One answer that fails, as while the server starts anew, is no end of the job.
  SM.job = async function (id) {
    for (let failures = 1; ; failures += 1) {
      try {
        return await (await SM.api("/api/jobs/" + id, { cache: "no-store" })).json();
      } catch (error) {
        if (error.status < 500 || failures === PATIENCE) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1000 * failures));
      }
    }
  };

  // Set properties of a Dash component, unless the page that had it was left meanwhile: Dash throws then, or takes the
  // whole page for what it does not find.
  SM.setProps = function (id, props) {
    let found;
    try {
      found = window.dash_component_api.getLayout(id)?.props?.id;
    } catch (error) {
      return;
    }
    const alike = ([key, value]) => found?.[key] === value;
    if (typeof id === "string" ? found === id : Object.entries(id).every(alike)) window.dash_clientside.set_props(id, props);
  };

  SM.describe = function (error) {
    const d = error.detail || {};
    if (d.expected || d.message) {
      return {
        level: "danger",
        title: d.found ? "Found " + d.found : "This can not be done yet",
        text: d.expected ? "Expected " + d.expected + "." : d.message,
        mend: d.mend || "",
      };
    }
    const offline = error.status === undefined;
    return {
      level: "danger",
      title: offline ? "The server does not answer" : "Something went wrong",
      text: offline ? "The page tries again by itself once the server is back." : error.message,
      mend: "",
    };
  };

  // ---- the scale bar of a view: `.sm-scale` with a line and its length ------------------------------------------------

  /** A length of 1, 2 or 5 times a power of ten µm that is at most `room` pixels long. */
  SM.scaleBar = function (umPerPixel, room = 120) {
    const most = room * umPerPixel;
    const power = 10 ** Math.floor(Math.log10(most));
    const um = power * (most >= 5 * power ? 5 : most >= 2 * power ? 2 : 1);
    return { um, pixels: um / umPerPixel, label: um >= 1000 ? `${um / 1000} mm` : `${um} µm` };
  };

  SM.showScale = function (host, umPerPixel, room) {
    const bar = SM.scaleBar(umPerPixel, room);
    host.style.setProperty("--w", `${bar.pixels}px`);
    host.lastElementChild.textContent = bar.label;
  };

  // ---- alerts -------------------------------------------------------------------------------------------------------

  const ICONS = { danger: "x-octagon", warning: "exclamation-triangle", success: "check-circle", info: "info-circle" };

  SM.element = function (tag, className, text) {
    const e = document.createElement(tag);
    if (className) e.className = className;
    if (text !== undefined) e.textContent = text;
    return e;
  };

  SM.toast = function (alert) {
    const region = document.getElementById("toasts");
    if (!region || !alert || !alert.title) return;
    const box = SM.element("div", "sm-toast");
    box.dataset.level = alert.level || "info";
    const mark = SM.element("i", "bi bi-" + (ICONS[alert.level] || ICONS.info));
    mark.setAttribute("aria-hidden", "true");
    const close = SM.element("button", "btn-close");
    close.setAttribute("aria-label", "Dismiss");
    close.addEventListener("click", () => box.remove());
    box.append(mark, SM.element("strong", "", alert.title), close);
    [alert.text, alert.mend].filter(Boolean).forEach((t) => box.append(SM.element("p", "", t)));
    const same = Array.from(region.children).find((c) => c.textContent === box.textContent);
    if (same) same.remove();
    if (alert.about) SM.forget(alert.about);
    box.dataset.about = alert.about || "";
    region.append(box);
    if (alert.level === "success" || alert.level === "info") setTimeout(() => box.remove(), 6000);
  };

  // What was said about something that is no longer so.
  SM.forget = (about) => document.querySelectorAll(`#toasts [data-about="${about}"]`).forEach((box) => box.remove());

  // ---- theme --------------------------------------------------------------------------------------------------------

  SM.theme = () => document.documentElement.getAttribute("data-bs-theme");

  SM.setTheme = function (theme) {
    document.documentElement.setAttribute("data-bs-theme", theme);
    try {
      window.localStorage.setItem("sm-theme", theme);
    } catch (e) {
      // the choice then lasts as long as the page
    }
    markTheme();
    document.dispatchEvent(new CustomEvent("sm:theme", { detail: theme }));
  };

  function markTheme() {
    const button = document.getElementById("theme");
    if (!button) return;
    const dark = SM.theme() === "dark";
    const label = dark ? "Light theme" : "Dark theme";
    button.setAttribute("aria-label", label);
    button.title = label;
    button.firstElementChild.className = "bi bi-" + (dark ? "sun" : "moon");
  }

  // ---- undo and redo ------------------------------------------------------------------------------------------------

  function history(name) {
    const button = document.getElementById(name);
    if (button && !button.disabled) document.dispatchEvent(new CustomEvent("sm:" + name));
  }

  // ---- clicks and keys ----------------------------------------------------------------------------------------------

  document.addEventListener("click", (event) => {
    const button = event.target.closest("#theme, #undo, #redo");
    if (!button) return;
    if (button.id === "theme") SM.setTheme(SM.theme() === "dark" ? "light" : "dark");
    else history(button.id);
  });

  const GO = { d: "data", a: "align", r: "reassign", f: "features", i: "integrate", e: "explore", x: "export" };
  let goPressed = 0;

  function typing(target) {
    return target.closest && target.closest("input, textarea, select, [contenteditable=true], [role=combobox]");
  }

  function go(page) {
    const link = document.querySelector('.sm-step[href$="/' + page + '"]');
    if (link) link.click();
  }

  // a new name is typed over the one that is suggested
  document.addEventListener("focusin", ({ target }) => {
    if (target.matches("#name-form input")) requestAnimationFrame(() => target.select()); // its value comes after the focus
  });

  function command(event) {
    const key = event.key.toLowerCase();
    if (key === "z") history(event.shiftKey ? "redo" : "undo");
    else if (key === "y") history("redo");
    else return;
    event.preventDefault();
  }

  document.addEventListener("keydown", (event) => {
    if (typing(event.target)) return;
    if (event.ctrlKey || event.metaKey) return command(event);
    if (event.altKey) return;
    if (Date.now() - goPressed < 1200 && GO[event.key]) {
      goPressed = 0;
      event.stopPropagation();
      event.preventDefault();
      return go(GO[event.key]);
    }
    goPressed = event.key === "g" ? Date.now() : 0;
    if (event.key === "?") document.querySelector('a[href="/help"]').click();
    if (event.key === "j") document.getElementById("tray").click();
  }, true);

  const wait = setInterval(() => {
    if (!document.getElementById("theme")) return;
    clearInterval(wait);
    markTheme();
  }, 50);

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.shell = {
    toast: function (alert) {
      SM.toast(alert);
      return window.dash_clientside.no_update;
    },
    submitted: function () {
      SM.askJobs();
      return window.dash_clientside.no_update;
    },
  };
})();
