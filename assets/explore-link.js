/* What of the view stands in the address, so that a copied link opens the same view. The selection, which may be long,
 * stands behind the '#': that part is never sent to a server, whose lines have a limit. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const LONGEST = 30_000; // characters of a packed selection; browsers and chats cut longer addresses

  const base64 = (bytes) => btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join("")).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const through = async (data, stream) => new Uint8Array(await new Response(new Blob([data]).stream().pipeThrough(stream)).arrayBuffer());

  /** The steps of a selection as text for an address; places to a hundredth of a pixel. */
  async function pack(steps) {
    const text = JSON.stringify(steps, (_, v) => (typeof v === "number" ? Math.round(v * 100) / 100 : v));
    return base64(await through(new TextEncoder().encode(text), new CompressionStream("deflate-raw")));
  }

  async function unpack(text) {
    try {
      const steps = JSON.parse(new TextDecoder().decode(await through(bytes(text), new DecompressionStream("deflate-raw"))));
      return Array.isArray(steps) ? steps : [];
    } catch {
      return []; // a link that was cut: the rest of it still opens
    }
  }

  /** A share as the address has it; what everybody starts with is left out. */
  const percent = (share, usual) => (Math.round(share * 100) === usual ? null : Math.round(share * 100));

  /** What is shown, as [name, value] of an address; null is left out. */
  function described(page) {
    const { controls: c, state: { colour, second }, spatial, findings } = page;
    const zoom = spatial.scale / spatial.fitScale(), [x0, y0, x1, y1] = spatial.extent;
    const away = Math.hypot(spatial.centre[0] - (x0 + x1) / 2, spatial.centre[1] - (y0 + y1) / 2) * spatial.scale;
    const moved = Math.abs(zoom - 1) > 1e-3 || away > 1;
    return {
      result: page.meta.result, colour: colour ? ns.wordsOf(colour) : null, layer: page.layer(), scale: c.scale === "viridis" ? null : c.scale,
      clip: c.clip.join("-") === "2-98" ? null : c.clip.join("-"), log: c.log ? 1 : null,
      histology: percent(c.histology, 100), spots: percent(c.spots, 85), size: percent(c.size, 100), dot: c.pixels || null,
      second: c.bivariate && second ? second.name : null, shape: findings.active,
      profile: findings.trajectory.chosen ? findings.trajectory.chosen.map((f) => f.name).join("|") : null,
      beside: page.panes.described(), grid: c.grid ? 1 : null,
      at: moved ? [spatial.centre[0].toFixed(1), spatial.centre[1].toFixed(1), zoom.toFixed(3)].join(",") : null,
    };
  }

  class Link {
    constructor() {
      this.asked = Object.fromEntries(new URLSearchParams(location.search)); // before this page writes its own state there
      this.packed = new URLSearchParams(location.hash.slice(1)).get("select") || "";
    }

    /** The selection the address asks for. */
    async steps() { return this.packed ? unpack(this.packed) : []; }

    /** Write what is shown into the address; no entry of the history per click. */
    async write(page) {
      const query = new URLSearchParams(Object.entries(described(page)).filter(([, value]) => value !== null && value !== ""));
      const turn = (this.turn = (this.turn || 0) + 1), steps = page.findings.active ? [] : page.findings.steps;
      const packed = steps.length ? await pack(steps) : "";
      if (turn !== this.turn || !page.alive) return;
      const text = query.toString(), hash = packed && packed.length <= LONGEST ? `#select=${packed}` : "";
      const url = location.pathname + (text ? `?${text}` : "") + hash;
      if (url !== location.pathname + location.search + location.hash) history.replaceState(history.state, "", url);
    }
  }

  ns.Link = Link;
})();
