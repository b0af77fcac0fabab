// Resumable uploads: a file goes in pieces to /api/uploads, one after the other. What has arrived is the server's file
// size, so a cut, a reload or another browser goes on from there when the same file is chosen again.
//
// A slot is <div class="sm-slot" data-slot data-project data-sample> with an <input type="file"> and an empty
// <div class="sm-transfers">. When a file is complete the server imports it, and the store 'data-uploaded' gets its id.
(function () {
  "use strict";
  const SM = (window.SpatialMeta = window.SpatialMeta || {});
  const MEMORY = "sm-uploads";
  const running = new Map(); // key -> Transfer

  // ---- what this browser remembers of half uploads ------------------------------------------------------------------

  function remembered() {
    try {
      return JSON.parse(window.localStorage.getItem(MEMORY) || "{}");
    } catch (e) {
      return {};
    }
  }

  function remember(key, value) {
    const all = remembered();
    if (value) all[key] = value;
    else delete all[key];
    try {
      window.localStorage.setItem(MEMORY, JSON.stringify(all));
    } catch (e) {
      // then a reload starts this file anew
    }
  }

  function keyOf(place, file) {
    return [place.project, place.sample, place.slot, file.name, file.size, file.lastModified].join("|");
  }

  SM.bytes = function (n) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let i = 0;
    while (n >= 1024 && i < units.length - 1) {
      n /= 1024;
      i += 1;
    }
    return (i === 0 || n >= 100 ? n.toFixed(0) : n.toFixed(1)) + " " + units[i];
  };

  // ---- one file -----------------------------------------------------------------------------------------------------

  class Transfer {
    constructor(place, file) {
      this.place = place;
      this.file = file;
      this.key = keyOf(place, file);
      this.sent = 0;
      this.state = "starts"; // starts, sends, paused, waits, done, failed, cancelled
      this.samples = []; // [time, bytes] of the last seconds, for the speed
    }

    async run() {
      this.state = "starts";
      this.draw();
      try {
        await this.begin();
        if (this.state === "cancelled") return this.discard();
        if (this.state !== "starts") return; // paused meanwhile
        await this.sendAll();
        if (this.state === "sends") await this.finish();
      } catch (error) {
        this.fail(error);
      }
    }

    async begin() {
      const known = remembered()[this.key];
      if (known && (await this.resumeFrom(known.id, known.chunk))) return;
      const response = await SM.api("/api/uploads", {
        method: "POST",
        json: { ...this.place, filename: this.file.name, size: this.file.size },
      });
      const answer = await response.json();
      this.id = answer.id;
      this.chunk = answer.chunk;
      this.sent = answer.offset;
      remember(this.key, { id: this.id, chunk: this.chunk, name: this.file.name, size: this.file.size, ...this.place });
    }

    async resumeFrom(id, chunk) {
      try {
        const answer = await (await SM.api("/api/uploads/" + id)).json();
        this.id = id;
        this.chunk = chunk;
        this.sent = answer.offset;
        return true;
      } catch (error) {
        if (error.status !== 404) throw error;
        remember(this.key, null); // the server forgot it: start anew
        return false;
      }
    }

    async sendAll() {
      this.state = "sends";
      this.samples = [[performance.now(), this.sent]];
      let failures = 0;
      while (this.sent < this.file.size && this.state === "sends") {
        try {
          this.sent = await this.sendPiece(this.sent);
          this.draw(); // the last progress of a piece may have come too soon after another to be drawn
          failures = 0;
        } catch (error) {
          if (this.state !== "sends") return;
          if (error.status && error.status < 500 && error.status !== 409) throw error;
          failures += 1;
          await this.waitAndAsk(failures);
        }
      }
    }

    sendPiece(start) {
      const end = Math.min(start + this.chunk, this.file.size);
      return new Promise((resolve, reject) => {
        const request = (this.request = new XMLHttpRequest());
        request.open("PATCH", "/api/uploads/" + this.id);
        request.setRequestHeader("X-SpatialMETA", "1");
        request.setRequestHeader("Upload-Offset", String(start));
        request.setRequestHeader("Content-Type", "application/octet-stream");
        request.upload.onprogress = (e) => this.progress(start + e.loaded);
        request.onload = () => {
          if (request.status >= 200 && request.status < 300) return resolve(JSON.parse(request.responseText).offset);
          reject(Object.assign(new Error("HTTP " + request.status), { status: request.status, detail: detail(request) }));
        };
        request.onerror = () => reject(new Error("the connection was cut"));
        request.onabort = () => reject(new Error("paused"));
        request.send(this.file.slice(start, end));
      });
    }

    async waitAndAsk(failures) {
      this.state = "waits";
      this.draw();
      await new Promise((resolve) => setTimeout(resolve, Math.min(15000, 500 * 2 ** failures)));
      if (this.state !== "waits") return;
      this.state = "sends";
      try {
        this.sent = (await (await SM.api("/api/uploads/" + this.id)).json()).offset;
        this.samples = [[performance.now(), this.sent]];
      } catch (error) {
        if (error.status === 404) throw error;
      }
      this.draw();
    }

    progress(bytes) {
      const now = performance.now();
      this.shown = bytes;
      this.samples.push([now, bytes]);
      while (this.samples.length > 2 && now - this.samples[0][0] > 6000) this.samples.shift();
      if (!this.drawn || now - this.drawn > 150) this.draw();
    }

    speed() {
      const [t0, b0] = this.samples[0] || [0, 0];
      const [t1, b1] = this.samples[this.samples.length - 1] || [0, 0];
      return t1 - t0 > 300 ? (1000 * (b1 - b0)) / (t1 - t0) : 0;
    }

    async finish() {
      await SM.api("/api/uploads/" + this.id + "/finish", { method: "POST", json: scaleFor(this.place) });
      this.state = "done";
      remember(this.key, null);
      running.delete(this.key);
      this.draw();
      if (listOf(this.place)) SM.setProps("data-uploaded", { data: this.id });
      SM.askJobs();
      setTimeout(() => this.row && this.row.remove(), 1500);
    }

    pause() {
      this.state = "paused";
      if (this.request) this.request.abort();
      this.draw();
    }

    async cancel() {
      this.state = "cancelled";
      if (this.request) this.request.abort();
      running.delete(this.key);
      if (this.row) this.row.remove();
      if (this.id) await this.discard(); // else its announcement is still under way, and run() does it
    }

    async discard() {
      remember(this.key, null);
      await SM.api("/api/uploads/" + this.id, { method: "DELETE" }).catch(() => {});
    }

    fail(error) {
      if (this.state === "cancelled") return;
      this.state = "failed";
      this.draw();
      const alert = SM.describe(error);
      alert.title = this.file.name + ": " + alert.title;
      SM.toast(alert);
    }

    // ---- its row ------------------------------------------------------------------------------------------------------

    draw() {
      this.drawn = performance.now();
      const list = listOf(this.place);
      if (!list) return;
      if (!this.row || !this.row.isConnected) list.append((this.row = this.build()));
      const bytes = this.state === "sends" ? Math.max(this.shown || 0, this.sent) : this.sent;
      const percent = this.file.size ? Math.floor((100 * bytes) / this.file.size) : 100;
      this.row.dataset.state = this.state;
      this.bar.setAttribute("aria-valuenow", String(percent));
      this.bar.firstChild.style.width = percent + "%";
      this.note.textContent = this.text(bytes, percent);
      const stopped = this.state === "paused" || this.state === "failed";
      this.toggle.hidden = this.state === "done";
      this.toggle.textContent = stopped ? "Resume" : "Pause";
      this.drop.hidden = this.state === "done";
    }

    text(bytes, percent) {
      const amount = percent + "% of " + SM.bytes(this.file.size);
      if (this.state === "starts") return "starts";
      if (this.state === "done") return SM.bytes(this.file.size) + " arrived";
      if (this.state === "waits") return amount + " · connection cut, trying again";
      if (this.state === "paused") return amount + " · paused";
      if (this.state === "failed") return amount + " · stopped";
      const speed = this.speed();
      if (!speed) return amount;
      return amount + " · " + SM.bytes(speed) + "/s · " + SM.duration((this.file.size - bytes) / speed) + " left";
    }

    build() {
      const row = SM.element("div", "sm-transfer");
      const line = SM.element("div", "sm-row");
      this.toggle = SM.element("button", "btn btn-sm btn-link", "Pause");
      this.drop = SM.element("button", "btn btn-sm btn-link", "Cancel");
      this.toggle.type = this.drop.type = "button";
      this.toggle.addEventListener("click", () => (this.toggle.textContent === "Pause" ? this.pause() : this.run()));
      this.drop.addEventListener("click", () => this.cancel());
      const name = SM.element("span", "sm-transfer-name", this.file.name);
      name.title = this.file.name;
      line.append(name, this.toggle, this.drop);
      this.bar = SM.element("div", "sm-bar");
      this.bar.setAttribute("role", "progressbar");
      this.bar.setAttribute("aria-label", "Upload of " + this.file.name);
      this.bar.append(SM.element("div"));
      this.note = SM.element("div", "sm-note");
      row.append(line, this.bar, this.note);
      return row;
    }
  }

  function detail(request) {
    try {
      return JSON.parse(request.responseText).error || {};
    } catch (e) {
      return {};
    }
  }

  // ---- slots --------------------------------------------------------------------------------------------------------

  function listOf(place) {
    const slot = document.querySelector(
      '.sm-slot[data-sample="' + place.sample + '"][data-slot="' + (place.slot === "ibd" ? "sm" : place.slot) + '"]');
    return slot && slot.querySelector(".sm-transfers");
  }

  // What the page says of the image; a page that is gone says nothing, and the server keeps to what it knows.
  function scaleFor(place) {
    const box = listOf(place) && document.getElementById("data-scale");
    return box ? { image_scale: (box.validity.valid && Number(box.value)) || null } : {}; // Dash hears of valid ones only
  }

  function placeOf(element, name) {
    const { project, sample, slot } = element.dataset;
    return { project, sample, slot: /\.ibd$/i.test(name) && slot === "sm" ? "ibd" : slot };
  }

  SM.upload = function (element, files) {
    Array.from(files).forEach((file) => {
      const place = placeOf(element, file.name);
      const key = keyOf(place, file);
      const known = running.get(key);
      if (known && known.state !== "failed" && known.state !== "paused") return;
      forgotten(place.slot, file).forEach((row) => row.remove());
      const transfer = known || new Transfer(place, file);
      running.set(key, transfer);
      transfer.run();
    });
  };

  function forgotten(slot, file) {
    return Array.from(document.querySelectorAll(".sm-transfer[data-half]"))
      .filter((row) => row.dataset.half === slot + "|" + file.name + "|" + file.size);
  }

  // After a reload the bytes are on the server, but a page may not open the file again by itself: it says so.
  function showHalf(element) {
    if (element.dataset.shown) return;
    element.dataset.shown = "1";
    addChooser(element);
    Array.from(running.values()).filter((t) => t.place.sample === element.dataset.sample).forEach((t) => t.draw());
    Object.entries(remembered()).forEach(async ([key, half]) => {
      if (half.sample !== element.dataset.sample || running.has(key)) return;
      if (half.slot !== element.dataset.slot && !(half.slot === "ibd" && element.dataset.slot === "sm")) return;
      try {
        const answer = await (await SM.api("/api/uploads/" + half.id)).json();
        element.querySelector(".sm-transfers").append(halfRow(key, half, answer.offset));
      } catch (error) {
        if (error.status === 404) remember(key, null);
      }
    });
  }

  // Dash has no file input; the label is the button, the input inside it stays reachable by keyboard.
  function addChooser(element) {
    const label = SM.element("label", "btn btn-secondary sm-file-button");
    const input = SM.element("input", "visually-hidden");
    input.type = "file";
    input.multiple = true;
    input.accept = element.dataset.accept;
    label.append(SM.element("span", "", "Choose file"), SM.element("span", "visually-hidden", " for " + element.dataset.title),
      input);
    element.querySelector(".sm-choose").replaceChildren(label);
  }

  function halfRow(key, half, offset) {
    const row = SM.element("div", "sm-transfer");
    row.dataset.half = half.slot + "|" + half.name + "|" + half.size;
    const line = SM.element("div", "sm-row");
    const drop = SM.element("button", "btn btn-sm btn-link", "Discard");
    drop.type = "button";
    drop.addEventListener("click", () => {
      remember(key, null);
      row.remove();
      SM.api("/api/uploads/" + half.id, { method: "DELETE" }).catch(() => {});
    });
    line.append(SM.element("span", "sm-transfer-name", half.name), drop);
    const percent = Math.floor((100 * offset) / Math.max(1, half.size));
    const bar = SM.element("div", "sm-bar");
    bar.append(SM.element("div"));
    bar.firstChild.style.width = percent + "%";
    row.append(line, bar, SM.element("div", "sm-note",
      percent + "% of " + SM.bytes(half.size) + " arrived. Choose the same file again to go on."));
    return row;
  }

  document.addEventListener("change", (event) => {
    const input = event.target.closest(".sm-slot input[type=file]");
    if (!input) return;
    SM.upload(input.closest(".sm-slot"), input.files);
    input.value = "";
  });

  ["dragenter", "dragover", "dragleave", "drop"].forEach((type) => document.addEventListener(type, (event) => {
    const carriesFiles = event.dataTransfer && Array.from(event.dataTransfer.types || []).includes("Files");
    const slot = event.target.closest && event.target.closest(".sm-slot");
    if (carriesFiles) event.preventDefault(); // a file dropped beside a slot must not replace the page
    if (!slot) return;
    slot.classList.toggle("sm-over", type === "dragenter" || type === "dragover");
    if (type === "drop" && carriesFiles) SM.upload(slot, event.dataTransfer.files);
  }));

  window.addEventListener("beforeunload", (event) => {
    if (Array.from(running.values()).some((t) => t.state === "sends" || t.state === "waits")) event.preventDefault();
  });

  new MutationObserver(() => document.querySelectorAll(".sm-slot:not([data-shown])").forEach(showHalf))
    .observe(document.documentElement, { childList: true, subtree: true });
})();
