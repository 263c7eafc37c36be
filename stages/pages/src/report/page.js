// Sorts and filters the table of networks, and tells from what the runner added to the page how things were made.

const pipeline = document.getElementById("pipeline-data");
const stages = pipeline ? JSON.parse(pipeline.textContent) : [];
const jobs = stages.flatMap((stage) => stage.jobs.map((job) => ({ ...job, stage })));

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  Object.assign(element, attributes);
  element.append(...children);
  return element;
}

function duration(seconds) {
  if (seconds < 0.1) return Math.round(seconds * 1000) + " ms";
  if (seconds < 100) return seconds.toFixed(1) + " s";
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? minutes + " min" : Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
}

// Files are told from the project's folder; this page lies in one of its folders.
function address(file) {
  const up = stages.flatMap((stage) => stage.files).find((path) => location.pathname.endsWith("/" + encodeURI(path)));
  return "../".repeat((up ?? "outputs/profile/report.html").split("/").length - 1) + encodeURI(file);
}

function pairs(entries) {
  return make("dl", {}, ...entries.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

// The job that made an artifact, as (name, value) pairs.
function told(job) {
  const name = job.name === job.stage.name ? job.name : `${job.stage.name}[${job.name}]`;
  const entries = [["job", make("a", { href: "#" + job.stage.name }, name)], ["about", job.stage.about], ["key", job.key]];
  if (job.seconds !== null) entries.push(["ran", `${duration(job.seconds)}, ${job.note}`]);
  for (const [name, value] of job.params) entries.push([name, value]);
  for (const file of job.files) entries.push(["published", make("a", { href: address(file) }, file)]);
  entries.push(["provenance", `ribbon show '${name}'`]);
  return entries.filter(([, value]) => value);
}

for (const place of document.querySelectorAll(".made")) {
  const hashes = place.dataset.artifacts.split(" ");
  const found = jobs.filter((job) => job.made.some((hash) => hashes.includes(hash)));
  place.append(...found.map((job) => pairs(told(job))));
  place.hidden = found.length === 0;
}

for (const link of document.querySelectorAll(".turn")) {
  const job = jobs.find((job) => job.made.includes(link.dataset.artifact));
  if (!job?.files.length) continue;
  link.href = address(job.files[0]);
  link.hidden = false;
}

if (pipeline) {
  document.querySelector("nav ul").append(make("li", {}, make("a", { href: "#pipeline" }, "How all was made")));
}

// The table of networks.
const table = document.getElementById("sweep");
const body = table.tBodies[0];
const rows = [...body.rows];

// Labels of jobs are text, settings of networks JSON, and numbers may be written in several ways.
const canonical = (value) => (value !== "" && typeof value !== "boolean" && !isNaN(value) ? String(Number(value)) : String(value));

// What the jobs of each network took together: those whose labels are settings that this network alone has.
function times() {
  const settings = rows.map((row) => JSON.parse(row.dataset.settings));
  const owners = new Map();
  const ownersBy = (names) => {
    const id = names.join();
    if (!owners.has(id)) {
      const groups = Map.groupBy(settings.keys(), (i) => names.map((name) => canonical(settings[i][name] ?? "")).join("\n"));
      owners.set(id, groups);
    }
    return owners.get(id);
  };
  const sums = rows.map(() => null);
  for (const { labels, seconds } of jobs) {
    if (seconds === null || labels.length === 0) continue;
    const found = ownersBy(labels.map(([name]) => name)).get(labels.map(([, label]) => canonical(label)).join("\n"));
    if (found?.length === 1) sums[found[0]] = (sums[found[0]] ?? 0) + seconds;
  }
  return sums;
}

const seconds = times();
if (seconds.some((time) => time !== null)) {
  table.tHead.rows[0].append(make("th", { scope: "col" }, "time"));
  rows.forEach((row, i) => {
    const cell = make("td", { className: "number" }, seconds[i] === null ? "–" : duration(seconds[i]));
    if (seconds[i] !== null) cell.dataset.value = seconds[i];
    row.append(cell);
  });
}

const collator = new Intl.Collator("en", { numeric: true });
function compare(one, two) {
  const [a, b] = [one.dataset.value, two.dataset.value];
  if (a !== undefined && b !== undefined) return Number(a) - Number(b);
  // What has no number comes last.
  if (a !== undefined || b !== undefined) return a !== undefined ? -1 : 1;
  return collator.compare(one.textContent, two.textContent);
}

const heads = [...table.tHead.rows[0].cells];
heads.forEach((head, column) => {
  const button = make("button", { type: "button" }, head.textContent);
  button.addEventListener("click", () => {
    const isUp = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", isUp ? "descending" : "ascending");
    rows.sort((a, b) => (isUp ? -1 : 1) * compare(a.cells[column], b.cells[column]));
    body.append(...rows);
  });
  head.replaceChildren(button);
});

const filter = document.getElementById("filter");
filter.closest(".filter").hidden = false;
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    const cells = [...row.cells].map((cell) => cell.textContent.toLowerCase());
    row.hidden = !words.every((word) => cells.some((cell) => cell === word || (isNaN(word) && cell.includes(word))));
    count += !row.hidden;
  }
  document.getElementById("found").textContent = words.length ? `${count} of ${rows.length}` : "";
});
