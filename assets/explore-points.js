/* Painting spots. One WebGL context serves every view of the page (a browser has few): it paints off the screen and the
 * picture is copied into the view's own canvas. A spot is a square or a disc of its true size, coloured by a code into a
 * palette, so that a recolour sends the graphics card one small array. */
(function () {
  "use strict";
  const ns = (window.SpatialMetaExplore = window.SpatialMetaExplore || {});
  const WIDE = 256; // colours in a row of the palette's texture
  const HIDDEN = 1, DIMMED = 2;
  const LARGEST_POINT = 60; // device pixels; larger spots are drawn as two triangles each, which costs many times more
  const DIM = 0.16; // how much of its opacity a spot keeps that is not selected

  const VERTEX = `#version 300 es
    precision highp float;
    in vec2 corner; in vec2 place; in float code; in float state;
    uniform vec2 centre; uniform vec2 scale; uniform vec2 size; uniform float radius; uniform sampler2D palette; uniform bool point;
    out vec2 at; out vec4 colour;
    void main() {
      int c = int(code), s = int(state);
      vec4 own = texelFetch(palette, ivec2(c % ${WIDE}, c / ${WIDE}), 0);
      float seen = (s & ${DIMMED}) != 0 ? ${DIM} : 1.0;
      colour = vec4(own.rgb, own.a * seen);
      vec2 edge = point ? vec2(0.0) : corner * (radius + 0.5);
      at = edge / radius;
      gl_PointSize = 2.0 * radius + 1.0;
      vec2 p = (place - centre) * scale + edge;
      gl_Position = (s & ${HIDDEN}) != 0 ? vec4(2.0, 2.0, 2.0, 1.0) : vec4(p / size * vec2(2.0, -2.0), 0.0, 1.0);
    }`;
  const FRAGMENT = `#version 300 es
    precision highp float;
    in vec2 at; in vec4 colour;
    uniform float radius; uniform float opacity; uniform bool round; uniform bool point;
    out vec4 painted;
    void main() {
      vec2 q = point ? (2.0 * gl_PointCoord - 1.0) * (radius + 0.5) / radius : at;
      float d = (round ? length(q) : max(abs(q.x), abs(q.y))) - 1.0;
      float a = colour.a * opacity * clamp(0.5 - d * radius, 0.0, 1.0);
      painted = vec4(colour.rgb * a, a);
    }`;

  let shared = null; // {canvas, gl, program, uniforms, corners, serial}

  function context() {
    if (shared && !shared.gl.isContextLost()) return shared;
    const canvas = document.createElement("canvas");
    const gl = canvas.getContext("webgl2", { alpha: true, antialias: false, depth: false, premultipliedAlpha: true });
    if (!gl) throw new Error("This browser offers no WebGL 2, which paints the spots. Switch on its graphics acceleration, or use another.");
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    const uniforms = Object.fromEntries(["centre", "scale", "size", "radius", "palette", "opacity", "round", "point"].map((n) => [n, gl.getUniformLocation(program, n)]));
    const corners = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, corners);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
    const largest = Math.min(LARGEST_POINT, gl.getParameter(gl.ALIASED_POINT_SIZE_RANGE)[1]);
    shared = { canvas, gl, program, uniforms, corners, largest, serial: (shared?.serial || 0) + 1 };
    return shared;
  }

  /** The spots of one view. Arrays are kept, so that a lost context is filled again. */
  class Points {
    constructor() {
      this.arrays = { place: new Float32Array(0), code: new Uint16Array(0), state: new Uint8Array(0) };
      this.dirty = new Set(["place", "code", "state", "palette"]);
      this.palette = ["#b8bec9"];
      this.round = true;
    }

    get n() { return this.arrays.place.length / 2; }

    setPlaces(xy) {
      const n = xy.length / 2;
      const state = Uint8Array.from({ length: n }, (_, i) => (Number.isFinite(xy[2 * i]) && Number.isFinite(xy[2 * i + 1]) ? 0 : HIDDEN));
      this.unplaced = state.slice();
      this.set({ place: xy, code: new Uint16Array(n), state });
    }

    setColours({ codes, palette }) {
      this.palette = palette;
      this.dirty.add("palette");
      this.set({ code: codes.length === this.n ? codes : new Uint16Array(this.n).fill(palette.length - 1) });
    }

    /** Spots out of sight and spots that are not selected; null: none. */
    setState(hidden, selected) {
      const state = this.unplaced.slice();
      for (let i = 0; i < state.length; i++) state[i] |= (hidden && hidden[i] ? HIDDEN : 0) | (selected && !selected[i] ? DIMMED : 0);
      this.set({ state });
    }

    set(arrays) {
      Object.assign(this.arrays, arrays);
      Object.keys(arrays).forEach((name) => this.dirty.add(name));
    }

    upload({ gl, program, corners, serial }) {
      if (this.serial !== serial) {
        this.serial = serial;
        this.buffers = { place: gl.createBuffer(), code: gl.createBuffer(), state: gl.createBuffer() };
        this.texture = gl.createTexture();
        const attribute = (name, buffer, size, type, each) => {
          const at = gl.getAttribLocation(program, name);
          gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
          gl.enableVertexAttribArray(at);
          gl.vertexAttribPointer(at, size, type, false, 0, 0);
          gl.vertexAttribDivisor(at, each);
        };
        this.vertices = [0, 1].map((each) => { // as points, and as squares that are repeated
          const vertices = gl.createVertexArray();
          gl.bindVertexArray(vertices);
          if (each) attribute("corner", corners, 2, gl.FLOAT, 0);
          attribute("place", this.buffers.place, 2, gl.FLOAT, each);
          attribute("code", this.buffers.code, 1, gl.UNSIGNED_SHORT, each);
          attribute("state", this.buffers.state, 1, gl.UNSIGNED_BYTE, each);
          return vertices;
        });
        this.dirty = new Set(["place", "code", "state", "palette"]);
      }
      for (const name of this.dirty) {
        if (name === "palette") continue;
        gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
        gl.bufferData(gl.ARRAY_BUFFER, this.arrays[name], gl.DYNAMIC_DRAW);
      }
      gl.bindTexture(gl.TEXTURE_2D, this.texture);
      if (this.dirty.has("palette")) this.uploadPalette(gl);
      this.dirty.clear();
    }

    uploadPalette(gl) {
      const rows = Math.ceil(this.palette.length / WIDE), pixels = new Uint8Array(4 * WIDE * rows);
      this.palette.forEach((hex, k) => pixels.set([1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).concat([255]), 4 * k));
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, WIDE, rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
      for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
    }

    /** Paint into a 2D canvas. `at`: {centre, scale: [x, y] css pixels per unit, width, height, ratio, diameter, opacity}. */
    paint(target, { centre, scale, width, height, ratio, diameter, opacity }) {
      if (!this.n) return;
      const now = context(), { canvas, gl, program, uniforms } = now;
      const radius = Math.max(0.5, (diameter * ratio) / 2), point = 2 * radius + 1 <= now.largest;
      const margin = point ? Math.ceil(radius) + 1 : 0; // a point is drawn only where its middle is inside
      const w = Math.round(width * ratio) + 2 * margin, h = Math.round(height * ratio) + 2 * margin;
      if (canvas.width < w || canvas.height < h) Object.assign(canvas, { width: Math.max(w, canvas.width), height: Math.max(h, canvas.height) });
      gl.useProgram(program);
      this.upload(now);
      gl.bindVertexArray(this.vertices[point ? 0 : 1]);
      gl.viewport(0, canvas.height - h, w, h); // the upper left corner, where drawImage begins
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.enable(gl.BLEND);
      gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
      gl.uniform2f(uniforms.centre, ...centre);
      gl.uniform2f(uniforms.scale, scale[0] * ratio, scale[1] * ratio);
      gl.uniform2f(uniforms.size, w, h);
      gl.uniform1f(uniforms.radius, radius);
      gl.uniform1i(uniforms.point, point ? 1 : 0);
      gl.uniform1f(uniforms.opacity, opacity);
      gl.uniform1i(uniforms.palette, 0);
      gl.uniform1i(uniforms.round, this.round ? 1 : 0);
      if (point) gl.drawArrays(gl.POINTS, 0, this.n);
      else gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.n);
      target.drawImage(canvas, margin, margin, w - 2 * margin, h - 2 * margin, 0, 0, w - 2 * margin, h - 2 * margin);
    }

    destroy() {
      if (!this.buffers || this.serial !== shared?.serial) return;
      Object.values(this.buffers).forEach((buffer) => shared.gl.deleteBuffer(buffer));
      shared.gl.deleteTexture(this.texture);
      this.vertices.forEach((vertices) => shared.gl.deleteVertexArray(vertices));
    }
  }

  Object.assign(ns, { Points });
})();
