// What the reader does, and what is told in words.

const $ = (id) => document.getElementById(id);
const choice = { visible: [], chosen: null, pointed: null, frame: 0 };
const labels = $("labels");

// Colours of the page as it is now, light or dark, from 0 to 1.
function theme() {
  const style = getComputedStyle(document.documentElement);
  const read = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
  const colour = (name) => read(style.getPropertyValue(name).trim());
  const paper = colour("--paper");
  const dark = paper[0] < 0.5;
  // A dark colour is lifted off dark paper.
  const readable = (rgb) => {
    const luminance = 0.2126 * rgb[0] ** 2.2 + 0.7152 * rgb[1] ** 2.2 + 0.0722 * rgb[2] ** 2.2;
    return dark && luminance < 0.12 ? rgb.map((value) => value + 0.38 * (1 - value)) : rgb;
  };
  const ofArchitectures = told.architectures.map(([, hex]) => readable(read(hex)));
  return {
    paper, ink: colour("--ink"), faint: colour("--faint"), line: colour("--line"), timeLike: colour("--time-like"),
    ofArchitecture: (index) => ofArchitectures[index] ?? colour("--faint"),
  };
}

let colours = theme();

function repaint() {
  const by = $("colour").value;
  const bytes = told.architectures.map((_, index) => colours.ofArchitecture(index).map((value) => Math.round(value * 255)));
  const high = by === "error" ? range(columns.error)[1] : 1;
  paint((row) => {
    if (owner[row] < 0) return [0, 0, 0];
    return by === "architecture" ? bytes[networks[owner[row]].architecture] ?? [128, 128, 128] : ramp(columns[by][row] / (high || 1));
  });
  $("ramp").hidden = by === "architecture";
  $("low").textContent = by + " 0";
  $("high").textContent = shown(high);
  document.querySelectorAll("#architectures i").forEach((dot, index) => {
    dot.style.background = `rgb(${bytes[index].join(" ")})`;
  });
  redraw();
}

function reshow() {
  const on = (id) => new Set([...document.querySelectorAll(`#${id} input:checked`)].map((input) => input.value));
  const [archs, methods] = [on("architectures"), on("optimizers")];
  const isShown = ({ architecture, optimizer }) =>
    archs.has(architectures[architecture]) && (optimizer === null || methods.has(optimizer));
  const visible = networks.filter(isShown);
  choice.visible = visible;
  show(visible);
  $("shown").textContent = `${[scene.shown.length, geodesic.first].map((count) => count.toLocaleString("en")).join(" of ")} checkpoints shown`;
  if (choice.chosen && !visible.includes(choice.chosen)) choose(null);
  redraw();
}

// Shows the kind of a network that is not.
function reveal({ architecture, optimizer }) {
  for (const [id, value] of [["architectures", architectures[architecture]], ["optimizers", optimizer]]) {
    const box = [...document.querySelectorAll(`#${id} input`)].find((input) => input.value === value);
    if (box) box.checked = true;
  }
  reshow();
}

function replace() {
  const axes = [...document.querySelectorAll("#axes select")].map((select) => Number(select.value));
  place(axes, $("equal").checked);
  $("time-like").hidden = !axes.some((axis) => told.axes[axis].time_like);
  redraw();
}

// Milliseconds of drawing that are felt.
const FELT = 20;
// Of pointers that move the figure: whether a frame was slow, and another after it, so that all others are drawn at half the
// density. The first frames are waited for to know it. The browser asks for the next frame before it has drawn the last: the
// time between two says nothing, and to wait for each would make all of them late.
const pace = {};
function forget() {
  Object.assign(pace, { known: false, slow: false, coarse: false });
}
forget();

// Draws once before the next frame, however often it is asked for.
function redraw() {
  choice.frame ||= requestAnimationFrame(() => {
    choice.frame = 0;
    const moves = canvas.classList.contains("moving");
    if (pace.known || !moves) return drawAt(moves && pace.coarse ? 0.5 : 1);
    const start = drawn();
    drawAt(1);
    const slow = drawn() - start > FELT;
    pace.coarse = slow && pace.slow;
    pace.known = pace.coarse || !slow;
    pace.slow = slow;
  });
}

// Draws the figure at a share of the screen's density.
function drawAt(share) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const density = Math.min(devicePixelRatio || 1, 2) * share;
  if (canvas.width !== Math.round(width * density) || canvas.height !== Math.round(height * density)) {
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
  }
  // Fewer points are larger.
  const size = density * Math.max(3.5, Math.min(6.5, 9.5 - Math.log10(geodesic.first + 1)));
  name(draw({ theme: colours, chosen: choice.chosen, pointed: choice.pointed, lines: $("lines").checked, size }));
  if (choice.pointed !== null) follow(choice.pointed);
}

// Writes the names of axes and of the geodesic where they are now.
function name({ view, named }) {
  const wanted = [];
  const centre = project(view, 0, 0, 0);
  named.forEach(({ at, ends }, axis) => {
    const { name, stress, time_like: timeLike } = told.axes[scene.axes[axis]];
    const [low, high] = scene.spans[axis];
    const [one, two] = ends;
    const [dx, dy] = [two[0] - one[0], two[1] - one[1]];
    const length = Math.hypot(dx, dy) || 1;
    const middle = [(one[0] + two[0]) / 2, (one[1] + two[1]) / 2];
    // Across the axis, away from what is shown.
    const side = dy * (middle[0] - centre[0]) - dx * (middle[1] - centre[1]) < 0 ? -1 : 1;
    const out = [(side * dy) / length, (-side * dx) / length];
    const kind = timeLike ? " time-like" : "";
    if (length > 60) {
      for (const value of ticks(low, high)) {
        const [x, y] = project(view, ...corner(axis, (2 * (value - low)) / (high - low) - 1, at));
        wanted.push([String(value).replace("-", "−"), x + 18 * out[0], y + 14 * out[1], "tick" + kind]);
      }
    }
    const share = stress === null ? "" : `, ${scene.axes[axis] ? "+" : ""}${(100 * stress).toFixed(1)} % of stress`;
    // Where there is little room, its colour says that an axis is time-like.
    const unit = told.unit ? ` (${told.unit})` : "";
    const words = view.width < 480 ? name : name + unit + share + (timeLike ? ", time-like" : "");
    const top = one[1] < two[1] ? one : two;
    // What goes up is named above, the others beside their middle.
    const [x, y] = axis === 2 ? [top[0], top[1] - 18] : [middle[0] + (42 + 3.4 * words.length) * out[0], middle[1] + 36 * out[1]];
    wanted.push([words, x, y, "name" + kind]);
  });
  if (geodesic.end > geodesic.first) {
    const [start, end] = [where(view, geodesic.first), where(view, geodesic.end - 1)];
    const along = where(view, geodesic.first + Math.floor(told.geodesic * 0.62));
    wanted.push(["P0", start[0] - 16, start[1] - 12, "end"], ["P*", end[0] + 16, end[1] - 12, "end"]);
    wanted.push(["geodesic", along[0], along[1] - 14, "name"]);
  }
  while (labels.children.length < wanted.length) labels.append(make("span", {}));
  [...labels.children].forEach((label, i) => {
    label.hidden = i >= wanted.length;
    if (label.hidden) return;
    const [words, x, y, kind] = wanted[i];
    if (label.textContent !== words) label.textContent = words;
    if (label.className !== kind) label.className = kind;
    // Names stay within the figure.
    const half = words.length * 3.4;
    const left = Math.max(half + 4, Math.min(view.width - half - 4, x));
    const top = Math.max(10, Math.min(view.height - 10, y));
    label.style.transform = `translate(${left.toFixed(1)}px, ${top.toFixed(1)}px) translate(-50%, -50%)`;
  });
}

function choose(network) {
  choice.chosen = network;
  choice.pointed = null;
  $("tip").hidden = true;
  $("network").value = network ? networks.indexOf(network) : "";
  $("chosen").replaceChildren(...(network ? describe(network) : []));
  redraw();
}

function describe(network) {
  const pairs = [...Object.entries(network.settings), ["parameters", network.parameters], ["trained", network.trained],
    ["checkpoints", network.end - network.first], ["last error", columns.error[network.end - 1]],
    ["last progress", columns.progress[network.end - 1]]];
  const rows = pairs.filter(([, value]) => value !== null)
    .flatMap(([key, value]) => [make("dt", {}, key), make("dd", {}, shown(value))]);
  return [make("h2", {}, "Chosen network"), make("dl", {}, ...rows)];
}

// Tells of a checkpoint.
function point(row) {
  if (row === choice.pointed) return;
  choice.pointed = row;
  const tip = $("tip");
  tip.hidden = row === null;
  if (row !== null) {
    const network = networks[owner[row]];
    const { arch, optimizer, ...others } = network.settings;
    const settings = Object.entries(others).map(([key, value]) => `${key} ${shown(value)}`).join(", ");
    const number = (key) => shown(columns[key][row]);
    tip.replaceChildren(
      make("strong", {}, [arch, optimizer].filter(Boolean).join(", ")),
      make("div", {}, settings),
      make("div", {}, `checkpoint ${row - network.first} of ${network.end - network.first}, epoch ${number("epoch")}`),
      make("div", {}, `error ${number("error")}, loss ${number("loss")}, progress ${number("progress")}`));
  }
  redraw();
}

// Puts what is told of a checkpoint beside where it is now.
function follow(row) {
  const tip = $("tip");
  const [x, y] = where(viewOf(canvas.clientWidth, canvas.clientHeight), row);
  const left = x + 14 + tip.offsetWidth > canvas.clientWidth ? Math.max(4, x - 14 - tip.offsetWidth) : x + 14;
  const top = y + 14 + tip.offsetHeight > canvas.clientHeight ? Math.max(4, y - 14 - tip.offsetHeight) : y + 14;
  tip.style.transform = `translate(${left}px, ${top}px)`;
}

// Pointers: one turns, two or a Shift move and zoom; one that did not move chooses.
const pointers = new Map();
let moved = 0;
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  canvas.focus({ preventScroll: true });
  pointers.set(event.pointerId, event);
  if (pointers.size === 1) {
    moved = 0;
    forget();
  }
  canvas.classList.add("moving");
});
canvas.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return point(nearest(event.offsetX, event.offsetY, 14));
  const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
  moved += Math.abs(dx) + Math.abs(dy);
  if (moved < 4) return;
  point(null);
  const shift = () => {
    camera.x += (2 * dx) / canvas.clientWidth / pointers.size;
    camera.y -= (2 * dy) / canvas.clientHeight / pointers.size;
  };
  if (pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
    zoom(apart(event) / apart(before));
    shift();
  } else if (event.shiftKey || event.buttons === 2 || event.buttons === 4) shift();
  else turn(dx / 160, dy / 160);
  pointers.set(event.pointerId, event);
  redraw();
});
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, (event) => {
    pointers.delete(event.pointerId);
    canvas.classList.toggle("moving", pointers.size > 0);
    redraw();
    if (kind === "pointercancel" || moved >= 4) return;
    const row = nearest(event.offsetX, event.offsetY, event.pointerType === "mouse" ? 14 : 24);
    choose(row === null ? null : networks[owner[row]]);
    point(row);
  });
}
// A finger leaves when it is lifted; what it chose stays.
canvas.addEventListener("pointerleave", (event) => {
  if (event.pointerType === "mouse") point(null);
});
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const [x, y] = [(2 * event.offsetX) / canvas.clientWidth - 1, 1 - (2 * event.offsetY) / canvas.clientHeight];
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), x, y);
  point(null);
  redraw();
}, { passive: false });

const reset = () => Object.assign(camera, START);
// The next shown network, or the one before, round and round.
const step = (by) => {
  const from = choice.chosen ? choice.visible.indexOf(choice.chosen) : by > 0 ? -1 : 0;
  choose(choice.visible.at((from + by) % choice.visible.length) ?? null);
};
const along = (by) => {
  if (!choice.chosen) step(1);
  if (!choice.chosen) return;
  const { first, end } = choice.chosen;
  const from = choice.pointed ?? (by > 0 ? first - 1 : end);
  point(Math.max(first, Math.min(end - 1, from + by)));
  // Who does not see where the tip is hears what it says.
  $("said").textContent = $("tip").innerText;
};
const KEYS = {
  "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: reset,
  n: () => step(1), p: () => step(-1), ".": () => along(1), ",": () => along(-1), Escape: () => choose(null),
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const [arrow, act] = [ARROWS[event.key], KEYS[event.key]];
  if (arrow && event.shiftKey) {
    camera.x += 0.06 * arrow[0];
    camera.y -= 0.06 * arrow[1];
  } else if (arrow) turn(0.09 * arrow[0], 0.09 * arrow[1]);
  else if (act) act();
  else return;
  event.preventDefault();
  redraw();
});

function check(id, value, dot) {
  const input = make("input", { type: "checkbox", checked: true, value });
  $(id).append(make("label", { className: "check" }, input, ...(dot ? [make("i", {})] : []), value));
}

function begin() {
  architectures.forEach((name) => check("architectures", name, true));
  optimizers.forEach((name) => check("optimizers", name, false));
  $("optimizers").hidden = optimizers.length === 0;
  document.querySelectorAll("#axes select").forEach((select, i) => {
    select.append(...told.axes.map(({ name, time_like: timeLike }, axis) =>
      make("option", { value: axis, selected: axis === i }, name + (timeLike ? ", time-like" : ""))));
    select.addEventListener("change", replace);
  });
  $("network").append(...networks.map(({ name }, i) => make("option", { value: i }, name)));
  $("network").addEventListener("change", (event) => {
    const network = networks[event.target.value] ?? null;
    if (network && !choice.visible.includes(network)) reveal(network);
    choose(network);
  });
  $("ramp").querySelector("i").style.background = `linear-gradient(90deg, ${RAMP.map((c) => `rgb(${c.join(" ")})`).join(", ")})`;
  $("colour").addEventListener("change", repaint);
  $("equal").addEventListener("change", replace);
  $("lines").addEventListener("change", redraw);
  for (const id of ["architectures", "optimizers"]) $(id).addEventListener("change", reshow);
  for (const [id, act] of [["nearer", KEYS["+"]], ["farther", KEYS["-"]], ["reset", reset]]) {
    $(id).addEventListener("click", () => { act(); redraw(); });
  }
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { colours = theme(); repaint(); });
  new ResizeObserver(redraw).observe(canvas);
  replace();
  reshow();
  repaint();
}

if (gl) begin();
