// What is learnt: losses and the metric over seconds of training, and how well gradients agree.
import { el, fetchJson, measure, section, tick } from "./dom.js";
import { chartGroup } from "./charts.js";

const EVERY_MS = 2000;

export function learningPage({ host, run, isLive }) {
  const curves = el("div", { class: "charts" });
  const agreement = el("div", { class: "charts" });
  const boundaries = section("Agreement of synthetic with returned gradients", agreement);
  const note = el("p", { class: "note" });
  host.append(section("Learning", curves), boundaries, note);
  const groups = [chartGroup(curves), chartGroup(agreement)];
  let told = -1;
  let isAsking = false;
  let asked = 0;

  async function read(epochs, status) {
    const isDue = isLive && status === "training" && Date.now() - asked > EVERY_MS;
    if (isAsking || (epochs === told && !isDue)) return;
    isAsking = true;
    asked = Date.now();
    try {
      const found = await fetchJson(`/api/runs/${encodeURIComponent(run)}/learning`);
      told = epochs;
      groups[0].draw([...learningCharts(found.runs, found.metric, found.is_share), ...running(found)]);
      groups[1].draw(boundaryCharts(found.boundaries));
      boundaries.hidden = !found.boundaries.length;
      note.textContent = found.boundaries.length ? "" :
        "No boundary has compared a synthetic gradient with a returned one.";
    } catch (error) {
      note.textContent = String(error.message || error);
    } finally {
      isAsking = false;
    }
  }

  return {
    update: (now) => read(now.epochs_told, now.status),
    close: () => groups.forEach((group) => group.close()),
  };
}

// runs: {name, epochs, seconds, train_loss, test_loss, metric}, each a curve.
export function learningCharts(runs, metric, isShare) {
  const over = (key, x) => runs.map((run, index) => ({ name: run.name, index, xs: run[x], ys: run[key] }));
  const show = (value) => measure(isShare, value);
  const ticks = (value) => tick(isShare, value);
  const charts = [];
  if (metric !== "loss") {
    charts.push({ title: `test ${metric}`, xLabel: "seconds of training", series: over("metric", "seconds"), show, ticks, isLinear: true });
  }
  charts.push(
    { title: "training loss", xLabel: "seconds of training", series: over("train_loss", "seconds") },
    { title: "test loss", xLabel: "seconds of training", series: over("test_loss", "seconds") },
    { title: metric === "loss" ? "test loss, by epoch" : `test ${metric}, by epoch`, xLabel: "epoch", series: over("metric", "epochs"), show, ticks, isLinear: true },
  );
  return charts;
}

// Before the first epoch has ended this is all there is.
function running(found) {
  if (!found.running?.loss.length) return [];
  return [{ title: "training loss, mean of the epoch so far", xLabel: "seconds since the launcher began",
    series: [{ name: found.runs[0]?.name ?? "", index: 0, xs: found.running.seconds, ys: found.running.loss }] }];
}

function boundaryCharts(boundaries) {
  const over = (key) => boundaries.map((each) => ({
    name: `boundary ${each.stage}`, index: each.stage, xs: each.epochs, ys: each[key],
  }));
  return [
    { title: "cosine of the two: towards 1 is good", xLabel: "epoch", series: over("cosine"), isLinear: true },
    { title: "length of the synthetic over the returned: 1 is good", xLabel: "epoch", series: over("norm_ratio") },
    { title: "relative error: towards 0 is good", xLabel: "epoch", series: over("relative_error") },
  ];
}
