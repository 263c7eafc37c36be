// What is shown: columns of numbers, networks, and which rows are whose.

const told = JSON.parse(document.getElementById("data").textContent);
const columns = decode(document.getElementById("numbers").textContent);
const architectures = told.architectures.map(([name]) => name);
const networks = [];
// The network of each row; the geodesic's rows, the last ones, have none.
const owner = new Int32Array(told.points).fill(-1);
for (const { settings, parameters, trained, rows } of told.networks) {
  const first = networks.length ? networks.at(-1).end : 0;
  owner.fill(networks.length, first, first + rows);
  networks.push({
    settings, parameters, trained, first, end: first + rows,
    architecture: architectures.indexOf(settings.arch ?? "–"),
    optimizer: settings.optimizer ?? null,
    name: Object.entries(settings).filter(([, value]) => value !== false)
      .map(([key, value]) => value === true ? key : shown(value)).join(" · "),
  });
}
const optimizers = [...new Set(networks.map((network) => network.optimizer))].filter((name) => name !== null).sort();
const geodesic = { first: told.points - told.geodesic, end: told.points };

// Columns of f32, little-endian as every processor that runs a browser.
function decode(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const numbers = new Float32Array(bytes.buffer);
  const column = (place) => numbers.subarray(place * told.points, (place + 1) * told.points);
  return Object.fromEntries(told.columns.map((name, place) => [name, column(place)]));
}

// A value for people.
function shown(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential() : String(Number(value.toPrecision(4)));
}

// The least and the greatest number of a column.
function range(column) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of column) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

// Round numbers within a range, about four.
function ticks(low, high) {
  const rough = (high - low) / 4;
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-6; i++) found.push(i * step);
  return found.map((value) => Number(value.toPrecision(6)));
}
