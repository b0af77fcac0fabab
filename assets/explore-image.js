/* The histology under the spots: an overview that is always there, and over it the tiles of a pyramid that are seen now
 * and sharp enough for the screen. Only those are asked for, and none is asked for while the view still moves. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const REST_MS = 120; // a view that rests this long gets its sharp tiles
  const KEPT = 80; // tiles that stay for coming back

  class Histology {
    /** `image`: {url, x, y, width, height, tiles}, see services.pictures. */
    constructor(host, image) {
      this.host = host;
      this.image = image;
      this.tiles = new Map();
      this.base = this.picture(image.url, [0, 0, image.width, image.height]);
      host.append(this.base);
    }


    picture(url, [x, y, width, height]) {
      const img = ns.h("img", { src: url, alt: "", draggable: "false", decoding: "async" });
      img.box = [x, y, width, height];
      return img;
    }

    /** Lay the pictures where their data are now: whole pixels, else seams show between tiles. */
    place(view) {
      this.view = view;
      for (const img of [this.base, ...this.tiles.values()]) this.lay(img);
      clearTimeout(this.resting);
      if (this.image.tiles) this.resting = setTimeout(() => this.sharpen(), REST_MS);
    }

    lay(img) {
      const [x, y, width, height] = img.box, { image, view } = this;
      const [left, top] = view.toScreen([image.x + x, image.y + y]);
      const [right, bottom] = view.toScreen([image.x + x + width, image.y + y + height]);
      const near = img === this.base || (right > -view.width && left < 2 * view.width && bottom > -view.height && top < 2 * view.height);
      img.hidden = !near;
      if (!near) return;
      const [l, t, r, b] = [left, top, right, bottom].map(Math.round);
      img.style.transform = `translate(${l}px, ${t}px)`;
      img.style.width = `${r - l}px`;
      img.style.height = `${b - t}px`;
    }

    /** The coarsest level whose pixels are no larger than the screen's; null where the overview is sharp enough. */
    level() {
      const { image, view } = this, need = view.scale * (window.devicePixelRatio || 1); // screen pixels per data unit
      const { levels, overview } = image.tiles;
      if (overview >= need) return null;
      return [...levels].reverse().find((l) => l.scale >= need) || levels[0];
    }

    sharpen() {
      const { view, image } = this, level = this.level();
      if (!view.stage.isConnected) return;
      const seen = level ? this.seen(level) : [];
      for (const [key, url, box] of seen) {
        const known = this.tiles.get(key);
        if (known) { this.tiles.delete(key); this.tiles.set(key, known); continue; } // the last used are kept longest
        const img = this.picture(url, box);
        img.style.zIndex = String(image.tiles.levels.length - level.level); // fine over coarse
        this.tiles.set(key, img);
        this.host.append(img);
        this.lay(img);
      }
      for (const key of this.tiles.keys()) {
        if (this.tiles.size <= Math.max(KEPT, seen.length)) break;
        this.tiles.get(key).remove();
        this.tiles.delete(key);
      }
    }

    /** [key, address, box in data units] of the tiles of a level that lie in the view. */
    seen(level) {
      const { view, image } = this, side = image.tiles.size / level.scale, found = [];
      const [x0, y0] = view.toData([0, 0]), [x1, y1] = view.toData([view.width, view.height]);
      const first = (v, at) => Math.max(0, Math.floor((v - at) / side));
      const last = (v, at, n) => Math.min(n - 1, Math.floor((v - at) / side));
      for (let row = first(y0, image.y); row <= last(y1, image.y, level.rows); row++)
        for (let col = first(x0, image.x); col <= last(x1, image.x, level.columns); col++) {
          const x = col * side, y = row * side;
          const box = [x, y, Math.min(side, image.width - x), Math.min(side, image.height - y)];
          found.push([`${level.level}/${col}_${row}`, `${image.tiles.base}/${level.level}/${col}_${row}.jpg`, box]);
        }
      return found;
    }

    destroy() {
      clearTimeout(this.resting);
      [this.base, ...this.tiles.values()].forEach((img) => img.remove());
    }
  }

  /** The pictures under a view: one of a section, one of each sample that was joined. */
  class Histologies {
    constructor(host) {
      this.host = host;
      this.shown = [];
    }

    show(images) {
      const key = images.map((i) => i.url).join();
      if (key === this.key) return;
      this.key = key;
      this.destroy();
      this.shown = images.map((image) => new Histology(this.host, image));
    }

    setOpacity(value) { this.host.style.opacity = value; }

    place(view) { for (const one of this.shown) one.place(view); }

    destroy() { for (const one of this.shown) one.destroy(); }
  }

  ns.Histologies = Histologies;
})();
