/* What the page knows and where it comes from: the data of a result (asked once, kept by the browser's cache because a
 * result never changes) and the annotations (revisions on the server; nothing is called saved before the server said so). */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const POLL_MS = 1000, RETRY_MS = 2000;

  const request = (url, options) => window.SpatialMeta.api(url, options);
  const post = async (url, json, options = {}) => (await request(url, { method: "POST", json, ...options })).json();
  const words = (error) => {
    if (error.status === undefined && !/fetch|network/i.test(error.message)) console.error(error); // ours, not the net's
    const { title, text, mend } = window.SpatialMeta.describe(error);
    return [title + ".", text, mend].filter(Boolean).join(" ");
  };

  /** A picture by its address; where that would be longer than servers take, as a form. */
  const picture = (url, query, signal) => (query.toString().length < 3000 ? request(`${url}?${query}`, { signal })
    : request(url, { method: "POST", body: query, signal }));

  /** The arrays of one result. */
  class Data {
    constructor(result) { this.base = `/api/view/${result}`; }
    async meta() { return (await request(`${this.base}/meta`)).json(); }
    async obsm(name) { return new Float32Array(await this.bytes(`obsm/${encodeURIComponent(name)}`)); }
    async values(index, layer) {
      return new Float32Array(await this.bytes(`feature/${index}?layer=${encodeURIComponent(layer)}`));
    }
    async numbers(column) { return new Float32Array(await this.bytes(`obs/${encodeURIComponent(column)}`)); }
    async codes(column) { return new Uint16Array(await this.bytes(`obs/${encodeURIComponent(column)}`)); }
    async bytes(path) { return (await request(`${this.base}/${path}`)).arrayBuffer(); }
    async search(query, signal) {
      return (await request(`${this.base}/search?q=${encodeURIComponent(query)}`, { signal })).json();
    }
    selection(body, signal) { return post(`${this.base}/selection`, body, { signal }); }
    limits(body) { return post(`${this.base}/limits`, body); }
    async at(query) { return (await request(`${this.base}/at?${new URLSearchParams(query)}`)).json(); }
    async measures(signal) { return (await request(`${this.base}/measures`, { signal, cache: "no-store" })).json(); }
    regions(column) { return post(`${this.base}/regions`, { column }); }
    outline(steps) { return post(`${this.base}/outline`, { steps }); }
    markers(body) { return post(`${this.base}/markers`, body); }
    along(body) { return post(`${this.base}/along`, body); }
    profile(body) { return post(`${this.base}/profile`, body); }
    list(text) { return post(`${this.base}/list`, { text }); }
    async names() { return (await request(`${this.base}/names`)).json(); }
  }

  const clone = (value) => JSON.parse(JSON.stringify(value));
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const byId = (doc) => new Map(doc.features.map((f) => [f.id, f]));
  const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");

  const membersOf = ({ type, features, ...members }) => members;

  /** What makes `mine` of `base`, as POST /api/annotations takes it: of a thousand regions one travels. */
  function changesOf(base, mine) {
    const was = byId(base), now = byId(mine), changes = { features: mine.features.filter((f) => !same(was.get(f.id), f)), removed: [...was.keys()].filter((id) => !now.has(id)) };
    const usual = [...[...was.keys()].filter((id) => now.has(id)), ...[...now.keys()].filter((id) => !was.has(id))];
    if (!same(usual, [...now.keys()])) changes.order = [...now.keys()];
    if (!same(membersOf(base), membersOf(mine))) changes.members = membersOf(mine);
    return changes;
  }

  /** The other way round: `document` with changes, as the server answers an undo or a poll. */
  function changed(document, { features, removed, order, members }) {
    const all = byId(document);
    removed.forEach((id) => all.delete(id));
    features.forEach((f) => all.set(f.id, f));
    return { ...(members || membersOf(document)), type: "FeatureCollection", features: (order || [...all.keys()]).map((id) => all.get(id)) };
  }

  /** Bring my document onto somebody else's: both started from `base`. Nothing drawn is lost: what only one side touched
   *  is taken from it; what both changed stays as theirs, and mine is kept beside it under a new id; a shape that one
   *  side deleted and the other changed stays. `conflicts` are the shapes that both changed: {name, mine, theirs}, ids. */
  function merge(base, mine, theirs) {
    const [was, my, their] = [base, mine, theirs].map(byId);
    const features = [], conflicts = [];
    for (const id of new Set([...their.keys(), ...my.keys()])) {
      const [b, m, t] = [was.get(id), my.get(id), their.get(id)];
      const iChanged = !same(b, m), theyChanged = !same(b, t);
      if (m && t && iChanged && theyChanged && !same(m, t)) {
        const copy = { ...m, id: newId(), properties: { ...m.properties, name: `${m.properties.name} (mine)` } };
        features.push(t, copy);
        conflicts.push({ name: m.properties.name, mine: copy.id, theirs: id });
      } else if (iChanged && (m || !theyChanged)) {
        if (m) features.push(m);
      } else if (t) features.push(t);
    }
    return { document: mergeCategories(base, mine, { ...theirs, features }), conflicts };
  }

  /** Names and colours of categories, each by itself: mine where I changed it, else theirs. */
  function mergeCategories(base, mine, into) {
    const [was, my, all] = [base, mine, into].map((doc) => clone(doc.categories || {}));
    for (const column of new Set([...Object.keys(was), ...Object.keys(my)]))
      for (const name of new Set([...Object.keys(was[column] || {}), ...Object.keys(my[column] || {})])) {
        const now = my[column]?.[name];
        if (same(was[column]?.[name], now)) continue;
        all[column] = { ...all[column], [name]: now };
        if (!now) delete all[column][name];
      }
    const { categories, ...rest } = into;
    return Object.keys(all).length ? { ...rest, categories: all } : categories ? { ...rest, categories: {} } : rest;
  }

  /** The annotations of a sample. `onChange(why)` after every change of `document`, `onStatus(text, level)` for words. */
  class Annotations {
    constructor(project, sample, { onChange, onStatus, onConflict = () => {} }) {
      this.url = `/api/annotations/${project}/${sample}`;
      this.onChange = onChange;
      this.onStatus = onStatus;
      this.onConflict = onConflict;
      this.document = { type: "FeatureCollection", features: [] };
      this.head = { number: 0, document: this.document };
      this.queue = Promise.resolve();
      this.pending = 0;
    }

    async load() {
      this.adopt(await this.newest(), "load");
      this.timer = setInterval(() => this.poll(), POLL_MS);
    }

    stop() { clearInterval(this.timer); }

    feature(id) { return this.document.features.find((f) => f.id === id); }

    /** Take up a revision: with its document, or with what changed since the one that is known here. */
    adopt({ changes, ...revision }, why) {
      this.head = changes ? { ...revision, document: changed(this.head.document, changes) } : revision;
      this.document = clone(this.head.document);
      this.onChange(why);
    }

    /** Change the document and save it. The change is shown at once; it is called saved when the server has it. */
    commit(change) {
      change(this.document);
      this.onChange("edit");
      this.onStatus("Saving …", "wait");
      return this.enqueue(() => this.push());
    }

    undo() { return this.step("undo"); }
    redo() { return this.step("redo"); }

    step(which) {
      return this.enqueue(async () => {
        try {
          this.adopt(await post(`${this.url}/${which}`, { base: this.head.number }), which);
        } catch (error) {
          if (error.status !== 409) return this.onStatus(words(error), "stop");
          this.adopt(await this.newest(), "others"); // nobody undoes what they have not seen
          this.onStatus(`Somebody else changed this sample just now; look, then ${which} again.`, "notice");
        }
      });
    }

    enqueue(work) {
      this.pending++;
      this.queue = this.queue.then(work).finally(() => { this.pending--; });
      return this.queue;
    }

    async push() {
      for (;;) {
        if (same(this.document, this.head.document)) return;
        const sent = clone(this.document);
        try {
          const saved = await post(this.url, { base: this.head.number, changes: changesOf(this.head.document, sent) });
          this.head = { ...saved, document: sent };
          this.onChange("saved");
          return;
        } catch (error) {
          if (error.status === 409) await this.meet();
          else if (error.status && error.status < 500) return this.refuse(error);
          else await this.wait();
        }
      }
    }

    /** Ask the server about shapes of this sample: combine, stroke, carry, geojson, save. */
    ask(what, body) { return post(`${this.url}/${what}`, body); }

    async newest() { return (await request(this.url, { cache: "no-store" })).json(); }

    /** Somebody else saved first: put our change on top of theirs and go on. */
    async meet() {
      const theirs = await this.newest();
      const merged = merge(this.head.document, this.document, theirs.document);
      this.head = theirs;
      this.document = merged.document;
      this.onChange("merge");
      this.onStatus("Somebody else changed this sample at the same time; both changes are kept.", "notice");
      if (merged.conflicts.length) this.onConflict(merged.conflicts);
    }

    refuse(error) {
      this.adopt(this.head, "refused");
      this.onStatus(words(error), "stop");
    }

    async wait() {
      this.onStatus("Not saved: the server does not answer. Trying again …", "stop");
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }

    /** Ask for a newer revision; the answer is 304 with no body while there is none. */
    async poll() {
      if (this.pending || this.asking || document.hidden) return;
      this.asking = true;
      try {
        const answer = await request(this.url, {
          cache: "no-store", headers: { "If-None-Match": `"${this.head.number}"` },
        });
        if (answer.status === 304) return;
        const revision = await answer.json();
        const ours = revision.base === undefined || revision.base === this.head.number; // else mine was saved meanwhile
        if (!this.pending && ours && revision.number !== this.head.number) this.adopt(revision, "others");
      } catch (error) {
        if (error.status === 404) this.stop();
      } finally {
        this.asking = false;
      }
    }
  }

  Object.assign(ns, { Data, picture, Annotations, merge, words, newId, clone });
})();
