// What is drawn: points in one call, lines between them, and strokes of any width for axes, geodesic and the chosen network.

const EDGES = [0, 1, 2].flatMap((axis) => [[-1, -1], [-1, 1], [1, -1], [1, 1]].map((at) => ({ axis, at })));
// From dark to light, as matplotlib's viridis.
const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];

const canvas = document.getElementById("canvas");
const gl = createREGL({
  canvas,
  attributes: { antialias: false, alpha: false },
  extensions: ["OES_element_index_uint"],
  onDone: (error) => {
    if (!error) return;
    const message = document.getElementById("message");
    message.textContent = "This browser cannot draw in three dimensions: " + error;
    message.hidden = false;
  },
});

const PROJECT = `
  uniform mat3 rotation; uniform vec2 scale, shift; uniform float depth;
  vec4 project(vec3 place, out float near) {
    vec3 turned = rotation * place;
    float w = 1.0 - depth * turned.z;
    near = turned.z;
    return vec4(turned.xy * scale + shift * w, -0.5 * turned.z * w, w);
  }`;
const FADE = `
  uniform vec3 paper; uniform float fade;
  // What is far stands back a little; what is not chosen, more.
  vec3 faded(vec3 colour, float near) { return mix(colour, paper, max(fade, 0.14 - 0.14 * near)); }`;

const buffers = gl && {
  places: gl.buffer({ usage: "dynamic", type: "float", length: told.points * 12 }),
  colours: gl.buffer({ usage: "dynamic", type: "uint8", length: told.points * 4 }),
  points: gl.elements({ primitive: "points", type: "uint32", usage: "dynamic", length: told.points * 4 }),
  lines: gl.elements({ primitive: "lines", type: "uint32", usage: "dynamic", length: told.points * 8 }),
  strokes: gl.buffer({ usage: "stream", type: "float", length: 0 }),
};

const view = {
  rotation: (_, { view }) => {
    const m = view.rotation;
    return [m[0], m[3], m[6], m[1], m[4], m[7], m[2], m[5], m[8]];
  },
  scale: (_, { view }) => view.scale,
  shift: (_, { view }) => view.shift,
  depth: DEPTH,
};
const attributes = gl && {
  place: buffers.places,
  colour: { buffer: buffers.colours, normalized: true },
};

const drawPoints = gl && gl({
  vert: `precision highp float;
    attribute vec3 place; attribute vec4 colour; uniform float size; varying vec3 ink; ${PROJECT} ${FADE}
    void main() {
      float near;
      gl_Position = project(place, near);
      gl_PointSize = size / gl_Position.w;
      ink = faded(colour.rgb, near);
    }`,
  frag: `precision mediump float;
    varying vec3 ink;
    void main() {
      vec2 at = gl_PointCoord - 0.5;
      if (dot(at, at) > 0.25) discard;
      gl_FragColor = vec4(ink, 1.0);
    }`,
  attributes,
  uniforms: { ...view, size: gl.prop("size"), paper: gl.prop("paper"), fade: gl.prop("fade") },
  elements: buffers.points,
  count: gl.prop("count"),
  offset: gl.prop("offset"),
  depth: { enable: (_, { ahead }) => !ahead },
});

const drawLines = gl && gl({
  vert: `precision highp float;
    attribute vec3 place; attribute vec4 colour; varying vec3 ink; ${PROJECT} ${FADE}
    void main() { float near; gl_Position = project(place, near); ink = mix(faded(colour.rgb, near), paper, 0.55); }`,
  frag: "precision mediump float; varying vec3 ink; void main() { gl_FragColor = vec4(ink, 1.0); }",
  attributes,
  uniforms: { ...view, paper: gl.prop("paper"), fade: gl.prop("fade") },
  elements: buffers.lines,
  count: gl.prop("count"),
});

const drawStrokes = gl && gl({
  vert: `precision highp float;
    attribute vec4 at; attribute vec4 colour; varying vec4 ink; varying vec2 edge;
    void main() { gl_Position = vec4(at.xy, 0.0, 1.0); ink = colour; edge = at.zw; }`,
  frag: `precision mediump float;
    varying vec4 ink; varying vec2 edge;
    // Edges are smooth: a pixel at either side of the width.
    void main() { gl_FragColor = vec4(ink.rgb, ink.a * clamp(edge.y - abs(edge.x) + 0.5, 0.0, 1.0)); }`,
  attributes: {
    at: { buffer: buffers.strokes, stride: 32, offset: 0 },
    colour: { buffer: buffers.strokes, stride: 32, offset: 16 },
  },
  count: gl.prop("count"),
  depth: { enable: false },
  blend: { enable: true, func: { src: "src alpha", dst: "one minus src alpha" } },
});

// The chosen axes: across, deep, up; their places in the cube, and what of the data is at its sides.
const scene = { axes: [0, 1, 2], spans: [], places: new Float32Array(told.points * 3), shown: new Uint32Array(0), lines: 0 };

// Puts the chosen dimensions into the cube, each by itself or all at one scale.
function place(axes, equal) {
  scene.axes = axes;
  const ranges = axes.map((axis) => range(columns["pc" + (axis + 1)]));
  const halves = ranges.map(([low, high]) => (high - low) / 2 || 1);
  scene.spans = ranges.map(([low, high], i) => {
    const [middle, half] = [(low + high) / 2, equal ? Math.max(...halves) : halves[i]];
    return [middle - 1.04 * half, middle + 1.04 * half];
  });
  const [across, deep, up] = axes.map((axis, i) => {
    const [low, high] = scene.spans[i];
    return columns["pc" + (axis + 1)].map((value) => (2 * (value - low)) / (high - low) - 1);
  });
  for (let row = 0; row < told.points; row++) scene.places.set([across[row], up[row], -deep[row]], 3 * row);
  buffers.places.subdata(scene.places);
}

// Shows the rows of these networks, and no others.
function show(visible) {
  const [points, lines] = [[], []];
  for (const { first, end } of visible) {
    for (let row = first; row < end; row++) {
      points.push(row);
      if (row + 1 < end) lines.push(row, row + 1);
    }
  }
  scene.shown = Uint32Array.from(points);
  scene.lines = lines.length;
  buffers.points.subdata(scene.shown);
  buffers.lines.subdata(Uint32Array.from(lines));
}

// Gives each row a colour: `colour(row)` is red, green, blue from 0 to 255.
function paint(colour) {
  const bytes = new Uint8Array(told.points * 4);
  for (let row = 0; row < told.points; row++) bytes.set([...colour(row), 255], 4 * row);
  buffers.colours.subdata(bytes);
}

function ramp(t) {
  const at = Math.max(0, Math.min(1, t)) * (RAMP.length - 1);
  const [one, two] = [RAMP[Math.floor(at)], RAMP[Math.ceil(at)]];
  return one.map((value, i) => Math.round(value + (two[i] - value) * (at % 1)));
}

const where = (view, row) => project(view, ...scene.places.subarray(3 * row, 3 * row + 3));

// A corner of the cube: `at` along an axis, the other two as given.
function corner(axis, at, others) {
  const place = [...others];
  // Axes are across, deep, up; the cube's directions across, up, towards the reader.
  place.splice(axis, 0, at);
  return [place[0], place[2], -place[1]];
}

// Adds a line through places on the canvas, in pixels, as triangles.
function stroke(triangles, { width, height }, spots, colour, thickness, alpha = 1) {
  const half = thickness / 2 + 0.5;
  const at = ([x, y], side) => [(2 * x) / width - 1, 1 - (2 * y) / height, side * half, thickness / 2, ...colour, alpha];
  for (let i = 1; i < spots.length; i++) {
    const [[ax, ay], [bx, by]] = [spots[i - 1], spots[i]];
    const length = Math.hypot(bx - ax, by - ay);
    if (!(length > 0)) continue;
    // A little longer than it is, so that no gap shows at a bend.
    const [dx, dy] = [(bx - ax) / length, (by - ay) / length];
    const [ox, oy, ex, ey] = [-dy * half, dx * half, dx * thickness * 0.25, dy * thickness * 0.25];
    const [a, b] = [[ax - ex, ay - ey], [bx + ex, by + ey]];
    const corners = [at([a[0] + ox, a[1] + oy], 1), at([a[0] - ox, a[1] - oy], -1),
      at([b[0] + ox, b[1] + oy], 1), at([b[0] - ox, b[1] - oy], -1)];
    triangles.push(...corners[0], ...corners[1], ...corners[2], ...corners[2], ...corners[1], ...corners[3]);
  }
}

function drawAll(triangles) {
  if (!triangles.length) return;
  buffers.strokes(Float32Array.from(triangles));
  drawStrokes({ count: triangles.length / 8 });
}

// The edge of the cube along an axis that has its names: the lowest on the canvas, or for what goes up the leftmost.
function namedEdge(view, axis) {
  const edges = EDGES.filter((edge) => edge.axis === axis).map(({ at }) => {
    const ends = [-1, 1].map((end) => project(view, ...corner(axis, end, at)));
    return { at, ends };
  });
  const middle = ({ ends: [one, two] }) => (axis === 2 ? one[0] + two[0] : -(one[1] + two[1]));
  return edges.reduce((best, edge) => (middle(edge) < middle(best) ? edge : best));
}

// Draws everything. `chosen` is a network or null, `theme` holds colours from 0 to 1.
function draw({ theme, chosen, pointed, lines, size }) {
  const view = viewOf(canvas.clientWidth, canvas.clientHeight);
  gl.poll();
  gl.clear({ color: [...theme.paper, 1], depth: 1 });
  const behind = [];
  for (const { axis, at } of EDGES) {
    stroke(behind, view, [-1, 1].map((end) => project(view, ...corner(axis, end, at))), theme.line, 1);
  }
  const named = [0, 1, 2].map((axis) => namedEdge(view, axis));
  named.forEach(({ ends }, axis) => {
    const timeLike = told.axes[scene.axes[axis]].time_like;
    stroke(behind, view, ends, timeLike ? theme.timeLike : theme.faint, timeLike ? 2.5 : 1.5);
  });
  drawAll(behind);
  const common = { view, paper: theme.paper, fade: chosen ? 0.78 : 0, size, offset: 0, ahead: false };
  if (lines && scene.lines) drawLines({ ...common, count: scene.lines });
  if (scene.shown.length) drawPoints({ ...common, count: scene.shown.length });
  const before = [];
  if (chosen) {
    const spots = [];
    for (let row = chosen.first; row < chosen.end; row++) spots.push(where(view, row));
    stroke(before, view, spots, theme.paper, 5);
    stroke(before, view, spots, theme.ofArchitecture(chosen.architecture), 3);
  }
  const path = [];
  for (let row = geodesic.first; row < geodesic.end; row++) path.push(where(view, row));
  stroke(before, view, path, theme.paper, 4.5);
  stroke(before, view, path, theme.ink, 2.2);
  drawAll(before);
  const offset = chosen ? scene.shown.indexOf(chosen.first) : -1;
  if (offset >= 0) drawPoints({ ...common, fade: 0, size: size * 1.7, offset, count: chosen.end - chosen.first, ahead: true });
  const marks = [];
  for (const row of geodesic.end > geodesic.first ? [geodesic.first, geodesic.end - 1] : []) ring(marks, view, where(view, row), theme.ink, 5);
  if (pointed !== null) ring(marks, view, where(view, pointed), theme.ink, 7);
  drawAll(marks);
  return { view, named };
}

// When all that was asked for is drawn: a pixel that is read back waits for it.
function drawn() {
  gl._gl.readPixels(0, 0, 1, 1, gl._gl.RGBA, gl._gl.UNSIGNED_BYTE, new Uint8Array(4));
  return performance.now();
}

function ring(triangles, view, [x, y], colour, radius) {
  const spots = Array.from({ length: 21 }, (_, i) => (i * Math.PI) / 10)
    .map((angle) => [x + radius * Math.cos(angle), y + radius * Math.sin(angle)]);
  stroke(triangles, view, spots, colour, 2);
}

// The shown row nearest to a place on the canvas, of two as near the one in front; null if none is within `reach` pixels.
function nearest(x, y, reach) {
  const view = viewOf(canvas.clientWidth, canvas.clientHeight);
  let [found, best] = [null, Infinity];
  for (const row of scene.shown) {
    const [px, py, depth] = where(view, row);
    const distance = Math.hypot(px - x, py - y);
    if (distance <= reach && distance - 2 * depth < best) [found, best] = [row, distance - 2 * depth];
  }
  return found;
}
