// All runs of a folder: a table with a filter, curves laid over each other, settings that differ.
import { count, el, fetchJson, fixed, isThere, measure, section, seconds, table } from "./dom.js";
import { chartGroup } from "./charts.js";
import { learningCharts } from "./learning.js";

const NAMES = ["run", "compare", "status", "data", "rule", "workers", "epochs", "metric", "samples/s",
  "training", "to one thread", "to all threads", "restarts"];

export function runsPage({ host, run, address }) {
  const filter = el("input", { type: "search", id: "filter", placeholder: "words that a run must have",
    autocomplete: "off" });
  const found = el("p", { class: "note", role: "status" });
  const list = el("div");
  const charts = el("div", { class: "charts" });
  const settings = el("div");
  const beside = section("Beside each other", charts, settings);
  beside.hidden = true;
  host.append(section("Runs", el("p", {}, el("label", { for: "filter", text: "Filter " }), filter),
    found, list), beside);
  const group = chartGroup(charts);
  const chosen = new Set(run ? [run] : []);
  let rows = [];

  function draw() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = rows.filter((row) => {
      const text = Object.values(row).join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    });
    found.textContent = `${shown.length} of ${rows.length} runs; choose two or more to compare`;
    list.replaceChildren(table(NAMES, shown.map(cells), "runs"));
  }

  function cells(row) {
    const box = el("input", { type: "checkbox", "aria-label": `compare ${row.name}`, onchange: () => {
      if (box.checked) chosen.add(row.name); else chosen.delete(row.name);
      compare();
    } });
    box.checked = chosen.has(row.name);
    const ratio = (value) => !isThere(value) ? "–"
      : typeof value === "string" ? value : `${fixed(value, 2)}x`;
    return [el("a", { href: address(row.name, "now"), text: row.name }), box, row.status ?? "",
      row.data ?? "", row.rule ?? "", count(row.workers), count(row.epochs),
      row.metric ? `${row.metric} ${measure(row.is_share, row.value)}` : "–",
      count(row.samples_per_second), seconds(row.train_seconds), ratio(row.vs_one_thread),
      ratio(row.vs_all_threads), count(row.restarts)];
  }

  async function compare() {
    beside.hidden = chosen.size < 2;
    if (beside.hidden) return;
    const query = [...chosen].map((name) => `run=${encodeURIComponent(name)}`).join("&");
    const told = await fetchJson(`/api/compare?${query}`);
    const metric = told.learning[0]?.metric ?? "loss";
    const curves = told.learning.flatMap((each, index) => each.runs
      .filter((curve) => curve.kind === "decoupled" && each.metric === metric)
      .map((curve) => ({ ...curve, name: told.names[index] })));
    group.draw(learningCharts(curves, metric, told.learning[0]?.is_share));
    settings.replaceChildren(
      el("h3", { text: "Settings that differ" }),
      told.settings.length
        ? table(["setting", ...told.names], told.settings.map((each) => [each.name, ...each.values]),
          "settings that differ", "words")
        : el("p", { class: "empty", text: "none" }));
  }

  filter.addEventListener("input", draw);
  fetchJson("/api/runs").then((told) => { rows = told.runs; draw(); compare(); })
    .catch((error) => { found.textContent = String(error.message || error); });
  return { close: () => group.close() };
}
