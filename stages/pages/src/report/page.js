// Sorts and filters the table of networks, and tells from what the runner added to the page how things were made.

const pipeline = document.getElementById("pipeline");
const stages = pipeline ? JSON.parse(document.getElementById("pipeline-data").textContent) : [];
const jobs = stages.flatMap((stage) => stage.jobs.map((job) => {
  const isOnly = job.name === stage.name;
  const labels = isOnly ? [] : job.name.split(",").map((label) => label.split("="));
  return { params: [], made: [], files: [], ...job, stage, labels, name: isOnly ? job.name : `${stage.name}[${job.name}]` };
}));

function duration(seconds) {
  if (seconds < 0.1) return Math.round(seconds * 1000) + " ms";
  if (seconds < 100) return seconds.toFixed(1) + " s";
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? minutes + " min" : Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
}

// Files are told from the project's folder.
const address = (file) => pipeline.dataset.base + encodeURI(file);

function pairs(entries) {
  return make("dl", {}, ...entries.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

// A job, as (name, value) pairs.
function told(job) {
  const link = make("a", { href: "#" + encodeURIComponent(job.name) }, job.name);
  // The graph shows the job that the address names.
  link.addEventListener("click", () => setTimeout(() => pipeline.scrollIntoView()));
  const entries = [["job", link], ["what", job.stage.about], ["key", job.key]];
  if (job.seconds !== null) entries.push(["ran", `${duration(job.seconds)}, ${job.note}`]);
  entries.push(...job.params);
  entries.push(...job.files.map((file) => ["published", make("a", { href: address(file) }, file)]));
  entries.push(["back to the data", `ribbon show '${job.name}'`]);
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
      const groups = new Map();
      settings.forEach((values, i) => {
        const key = names.map((name) => canonical(values[name] ?? "")).join("\n");
        groups.set(key, [...(groups.get(key) ?? []), i]);
      });
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
// The order of two cells, upwards (1) or downwards (-1). What has no number comes last in both.
function compare(one, two, way) {
  const [a, b] = [one.dataset.value, two.dataset.value];
  if (a !== undefined && b !== undefined) return way * (a - b);
  if (a !== undefined || b !== undefined) return a !== undefined ? -1 : 1;
  return way * collator.compare(one.textContent, two.textContent);
}

const heads = [...table.tHead.rows[0].cells];
heads.forEach((head, column) => {
  const button = make("button", { type: "button" }, head.textContent);
  button.addEventListener("click", () => {
    const isUp = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", isUp ? "descending" : "ascending");
    rows.sort((a, b) => compare(a.cells[column], b.cells[column], isUp ? -1 : 1));
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
