// How links and workers are: windows over time, credits, memory, restarts, logs and stacks.
import { bytes, count, el, fetchJson, fixed, isThere, percent, section, table } from "./dom.js";
import { chartGroup } from "./charts.js";

const EVERY_MS = 2000;

export function healthPage({ host, run, site, isLive, isPaused }) {
  const heat = el("div", { class: "heat" });
  const charts = el("div", { class: "charts" });
  const links = el("div");
  const logs = el("div");
  const shown = el("pre", { class: "log", tabindex: "0", hidden: true, "aria-label": "end of the log" });
  const told = el("p", { class: "note", role: "status" });
  host.append(section("How full each window is, over time", heat), section("Over time", charts),
    section("Links", links), section("Logs and stacks", logs, told, shown));
  const group = chartGroup(charts);
  const path = `/api/runs/${encodeURIComponent(run)}`;
  let timer = null;
  let listed = "";
  let numStages = 1;

  async function read() {
    try {
      const found = await fetchJson(`${path}/health`);
      draw(found);
    } catch (error) {
      told.textContent = String(error.message || error);
    }
    if (isLive) again();
  }

  // Of many stages seldomer: who looks costs the run next to nothing.
  function again() {
    if (timer === false) return;
    timer = setTimeout(() => isPaused() ? again() : read(), EVERY_MS * Math.max(1, numStages / 8));
  }

  function draw(found) {
    const column = (rows, name) => rows.map((row) => row[site.columns.indexOf(name)]);
    const stages = Object.entries(found.rows).map(([stage, rows]) => ({ stage: Number(stage), rows }));
    numStages = stages.length;
    drawHeat(heat, stages.map(({ stage, rows }) => ({
      stage, at: column(rows, "seconds"), share: column(rows, "window"),
    })).filter((each) => each.share.some(isThere)));
    const over = (name) => stages.map(({ stage, rows }) => ({
      name: `stage ${stage}`, index: stage, xs: column(rows, "seconds"), ys: column(rows, name),
    }));
    const xLabel = isLive ? "seconds since the launcher began" : "seconds of training";
    group.draw([
      { title: "busy, share of the time", xLabel, series: over("busy"), show: (value) => percent(value), isLinear: true },
      { title: "median staleness", xLabel, series: over("staleness") },
      { title: "credit after, ms", xLabel, series: over("credit_ms") },
      { title: "memory, MB", xLabel, series: over("memory_mb"), show: (value) => count(value) },
    ]);
    const key = JSON.stringify([found.logs.map((log) => log.name), stages.length]);
    if (key !== listed) {
      listed = key;
      drawLogs(found, stages.map((each) => each.stage));
    }
  }

  function drawLogs(found, stages) {
    const button = (text, from, says) => el("button", { type: "button", text, onclick: async () => {
      told.textContent = "asking";
      const answer = await fetch(from, { cache: "no-store" }).catch(() => null);
      const text = answer ? await answer.text() : "nobody answers";
      shown.hidden = false;
      shown.textContent = text || "(empty)";
      told.textContent = says;
      shown.scrollTop = shown.scrollHeight;
    } });
    logs.replaceChildren(
      el("p", { class: "buttons" }, ...found.logs.map((log) =>
        button(log.name, `${path}/logs/${encodeURIComponent(log.name)}`, `the end of ${log.name}`))),
      ...(found.shows_stacks ? [el("p", { class: "buttons" }, ...stages.map((stage) =>
        button(`stack of stage ${stage}`, `/api/live/stack/${stage}`,
          `stage ${stage}: the end of its log, where its worker has just written where it stands`)))] : []));
    if (!found.logs.length) logs.append(el("p", { class: "empty", text: "no logs were kept" }));
  }

  read();
  return {
    update(now) {
      const rows = now.links.map((link) => [
        `boundary ${link.boundary}`, link.carrier || "–",
        link.window ? `${fixed(link.in_flight ?? null, isLive ? 0 : 1)} of ${link.window}` : "–",
        isThere(link.credit_ms) ? `${fixed(link.credit_ms, 2)} ms` : "–",
        isThere(link.up_bytes_per_second) ? `${bytes(link.up_bytes_per_second)}/s` : "–",
        fixed(link.cosine ?? null, 2), fixed(link.norm_ratio ?? null, 2),
        fixed(link.relative_error ?? null, 2),
      ]);
      const names = ["link", "carrier", "slots taken", "credit after", "up", "cosine", "norm ratio", "error"];
      if (!links.matches(":focus-within")) links.replaceChildren(table(names, rows, "links"));
    },
    close() { clearTimeout(timer); timer = false; group.close(); },
  };
}

// One row for each stage; the darker, the fuller. The words beside it say the mean.
function drawHeat(host, stages) {
  if (!stages.length) {
    host.replaceChildren(el("p", { class: "empty", text: "no link has told of its window yet" }));
    return;
  }
  host.replaceChildren(...stages.map(({ stage, at, share }) => {
    const canvas = el("canvas", { width: 600, height: 1, "aria-hidden": "true" });
    paint(canvas, at, share);
    const kept = share.filter(isThere);
    const mean = kept.reduce((sum, value) => sum + value, 0) / kept.length;
    return el("p", {}, el("span", { text: `link above stage ${stage}` }), canvas,
      el("span", { text: `${percent(mean)} full on average, now ${percent(kept.at(-1))}` }));
  }));
}

function paint(canvas, at, share) {
  const context = canvas.getContext("2d");
  const [first, last] = [at[0], at.at(-1)];
  const scale = canvas.width / Math.max(last - first, 1e-9);
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--hue-0").trim();
  context.fillStyle = ink;
  share.forEach((value, index) => {
    if (!isThere(value)) return;
    const begin = index ? (at[index - 1] - first) * scale : 0;
    context.globalAlpha = 0.06 + 0.94 * value;
    context.fillRect(begin, 0, Math.max(1, (at[index] - first) * scale - begin), 1);
  });
}
