const place = document.getElementById("pipeline");
const stages = JSON.parse(document.getElementById("pipeline-data").textContent);
const panel = place.querySelector(".panel");
const drawing = place.querySelector("svg");
const WORDS = { current: "up to date", stale: "to run", waiting: "to run if inputs change" };
const ROWS = 300;

// An element with attributes and children; text stays text.
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  Object.assign(element, attributes);
  element.append(...children);
  return element;
}

function duration(seconds) {
  if (seconds === null) return "";
  if (seconds < 0.1) return Math.round(seconds * 1000) + " ms";
  if (seconds < 100) return seconds.toFixed(1) + " s";
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? minutes + " min" : Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
}

function section(title, ...children) {
  return make("section", {}, make("h3", {}, title), ...children);
}

function list(items) {
  return make("ul", { className: "plain" }, ...items.map((item) => make("li", {}, item)));
}

function settings(pairs) {
  const rows = pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
  return section("Settings", make("dl", {}, ...rows));
}

// `wanted` is the name of a job that was asked for, if one was.
function jobs(stage, wanted) {
  const filter = make("input", { type: "search", placeholder: "filter, as fc or to run" });
  filter.setAttribute("aria-label", "filter jobs");
  const hasFilter = stage.jobs.length > 10;
  if (hasFilter && wanted) filter.value = wanted;
  const body = make("tbody", {});
  const more = make("p", { className: "faint" });
  let by = null;
  const fill = () => {
    const words = filter.value.toLowerCase();
    const found = stage.jobs.filter((job) => (job.name + " " + WORDS[job.state]).toLowerCase().includes(words));
    if (by) found.sort(by);
    body.replaceChildren(...found.slice(0, ROWS).map((job) => make("tr", { ariaCurrent: job.name === wanted },
      make("td", {}, job.name),
      make("td", {}, make("i", { className: job.state }), WORDS[job.state]),
      make("td", { className: "number" }, duration(job.seconds)),
      make("td", {}, job.note),
      make("td", { title: job.key ?? "" }, job.key?.slice(0, 12) ?? ""))));
    more.textContent = found.length > ROWS ? `and ${found.length - ROWS} more: filter to see them` : "";
  };
  const orders = {
    job: (a, b) => a.name.localeCompare(b.name, "en", { numeric: true }),
    state: (a, b) => a.state.localeCompare(b.state),
    time: (a, b) => (b.seconds ?? -1) - (a.seconds ?? -1),
    made: (a, b) => a.note.localeCompare(b.note),
    key: (a, b) => (a.key ?? "").localeCompare(b.key ?? ""),
  };
  const head = Object.keys(orders).map((name) => {
    const sort = () => {
      by = orders[name];
      head.forEach((other) => other.removeAttribute("aria-sort"));
      cell.setAttribute("aria-sort", name === "time" ? "descending" : "ascending");
      fill();
    };
    const button = make("button", { type: "button", title: "sort", onclick: sort }, name);
    const cell = make("th", { scope: "col", className: name === "time" ? "number" : "" }, button);
    return cell;
  });
  filter.oninput = fill;
  fill();
  const table = make("div", { className: "rows" }, make("table", {}, make("thead", {}, make("tr", {}, ...head)), body));
  return section(stage.jobs.length === 1 ? "Job" : `${stage.jobs.length} jobs`,
    ...(hasFilter ? [filter] : []), table, more);
}

function choose(index, job) {
  const stage = stages[index];
  const counts = Object.keys(WORDS).map((state) => [stage.jobs.filter((job) => job.state === state).length, state]);
  const told = counts.filter(([count]) => count > 0).map(([count, state]) => `${count} ${WORDS[state]}`);
  const known = stage.jobs.filter((job) => job.seconds !== null);
  const seconds = known.length ? known.reduce((sum, job) => sum + job.seconds, 0) : null;
  const parts = [settings(stage.settings)];
  if (stage.why.length) parts.push(section("Why it runs", list(stage.why)));
  const files = stage.jobs.flatMap((job) => job.files ?? []);
  if (files.length) {
    const link = (file) => make("a", { href: place.dataset.base + encodeURI(file) }, file);
    parts.push(section("Published", list(files.map(link))));
  }
  panel.replaceChildren(
    make("h2", {}, stage.name),
    make("p", { className: "faint" }, [stage.about, told.join(", "), duration(seconds)].filter(Boolean).join(" · ")),
    make("div", { className: "columns" }, ...parts),
    jobs(stage, job));
  drawing.classList.add("choosing");
  for (const box of drawing.querySelectorAll(".stage")) {
    box.classList.toggle("chosen", box.dataset.stage === String(index));
  }
  for (const edge of drawing.querySelectorAll("path.edge")) {
    edge.classList.toggle("near", [edge.dataset.from, edge.dataset.to].includes(String(index)));
  }
}

// The address keeps the choice, so that it can be linked to: a stage, or a job as `ribbon` calls it.
function follow() {
  const [, name, job] = decodeURIComponent(location.hash).match(/^#([^[]*)(?:\[(.*)\])?$/) ?? [];
  const index = stages.findIndex((stage) => stage.name === name);
  if (index >= 0) choose(index, job);
}

for (const box of drawing.querySelectorAll(".stage")) {
  const go = () => { location.hash = stages[box.dataset.stage].name; };
  box.addEventListener("click", go);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); go(); }
  });
}
addEventListener("hashchange", follow);
follow();
