// Curves by uPlot, with a legend of our own that also tells them apart without colour.
import { el, hue, isThere, say, short } from "./dom.js";

const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 2], [1, 2]];
const HEIGHT = 220;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// series: {name, xs, ys, index}; show: how a value reads. Returns {root, close}.
export function chart({ title, xLabel, series, show = short, ticks = show, isLinear = false }) {
  const kept = series.filter((each) => each.ys.some(isThere));
  const figure = el("figure", { class: "chart" }, el("figcaption", { text: title }));
  if (!kept.length) {
    figure.append(el("p", { class: "empty", text: "nothing to draw yet" }));
    return { root: figure, close() {} };
  }
  const isWide = !isLinear && spansDecades(kept);
  if (isWide) figure.firstChild.append(el("span", { class: "note", text: " (logarithmic)" }));
  const place = el("div", { class: "plot", role: "img",
    "aria-label": `${title}: ${kept.map((each) => each.name).join(", ")}` });
  const values = kept.map(() => el("b"));
  const legend = el("ul", { class: "legend" }, ...kept.map((each, index) =>
    el("li", {}, swatch(each.index), `${each.name} `, values[index])));
  figure.append(place, legend);
  const data = uPlot.join(kept.map((each) => [each.xs, each.ys]));
  const tell = (at) => kept.forEach((each, index) => {
    const ys = data[index + 1];
    const value = at === null ? each.ys.findLast(isThere) : ys[at];
    say(values[index], isThere(value) ? show(value) : "–");
  });
  tell(null);
  let plot = null;
  const watch = new ResizeObserver(() => {
    const width = Math.floor(place.clientWidth);
    if (!width) return;
    if (plot) plot.setSize({ width, height: HEIGHT });
    else plot = draw(place, width, data, kept, xLabel, tell, ticks, isWide);
  });
  watch.observe(place);
  return { root: figure, close() { watch.disconnect(); plot?.destroy(); } };
}

// Whether the curves need a logarithmic axis to be told apart.
function spansDecades(series) {
  const values = series.flatMap((each) => each.ys.filter(isThere));
  return Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 50;
}

function draw(place, width, data, kept, xLabel, tell, ticks, isWide) {
  const ink = colour("--soft");
  const grid = { stroke: colour("--edge"), width: 1 };
  const axis = { stroke: ink, grid, ticks: grid, font: "12px system-ui, sans-serif" };
  return new uPlot({
    width, height: HEIGHT, legend: { show: false },
    scales: { x: { time: false }, y: { distr: isWide ? 3 : 1 } },
    cursor: { y: false, points: { size: 6 } },
    hooks: { setCursor: [(plot) => tell(plot.cursor.idx ?? null)] },
    axes: [
      { ...axis, label: xLabel, labelSize: 18, labelFont: "12px system-ui, sans-serif", size: 34 },
      { ...axis, size: 64, values: (_, splits) => splits.map((value) =>
        !isWide || Number.isInteger(Math.log10(value)) ? ticks(value) : "") },
    ],
    series: [{}, ...kept.map((each) => ({
      stroke: colour(`--hue-${each.index % 12}`), width: 2, spanGaps: true,
      dash: DASHES[each.index % DASHES.length],
      points: { show: each.ys.length < 40, size: 5 },
    }))],
  }, data, place);
}

export function swatch(index) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  node.setAttribute("class", "swatch");
  node.setAttribute("viewBox", "0 0 28 8");
  node.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  for (const [name, value] of [["x1", 0], ["x2", 28], ["y1", 4], ["y2", 4], ["stroke-width", 3]]) {
    line.setAttribute(name, value);
  }
  line.setAttribute("stroke-dasharray", DASHES[index % DASHES.length].join(" ") || "none");
  line.style.stroke = hue(index);
  node.append(line);
  return node;
}

// Charts that are drawn anew together: the old ones are let go.
export function chartGroup(host) {
  let open = [];
  return {
    draw(all) {
      open.forEach((each) => each.close());
      open = all.map(chart);
      host.replaceChildren(...open.map((each) => each.root));
    },
    close() { open.forEach((each) => each.close()); },
  };
}
