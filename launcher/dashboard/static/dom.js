// Elements from plain values. Text is only ever put by textContent: whatever others wrote stays text.

export function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Writes text only where it has changed, so that what somebody has selected stays.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const JUDGED = new Map([["(faster)", "good"], ["(sooner)", "good"], ["(SLOWER)", "bad"], ["(LATER)", "bad"]]);

// The words by which runs are judged each have their colour: one may be faster, and learn later.
export function sayJudged(node, text) {
  if (node.textContent === text) return;
  node.replaceChildren(...text.split(/(\(\w+\))/).map((part) =>
    JUDGED.has(part) ? el("span", { class: JUDGED.get(part), text: part }) : part));
}

export function section(title, ...children) {
  return el("section", {}, el("h2", { text: title }), ...children);
}

// A table that scrolls by itself. Cells are text or nodes; those of the first column head their row.
export function table(names, rows, label, kind) {
  const head = el("tr", {}, ...names.map((name) => el("th", { scope: "col", text: name })));
  const body = rows.map((row) => el("tr", {}, ...row.map((cell, index) => {
    const node = el(index === 0 ? "th" : "td", index === 0 ? { scope: "row" } : {});
    node.append(cell instanceof Node ? cell : String(cell));
    return node;
  })));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    el("table", { class: kind }, el("thead", {}, head), el("tbody", {}, ...body)));
}

export const count = (value) => isThere(value) ? Math.round(value).toLocaleString("en-US") : "–";
export const percent = (value, digits = 0) =>
  isThere(value) ? `${(value * 100).toFixed(digits)}%` : "–";
export const fixed = (value, digits) => isThere(value) ? value.toFixed(digits) : "–";
export const isThere = (value) => value !== null && value !== undefined && Number.isFinite(value);

export function seconds(value) {
  if (!isThere(value)) return "–";
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 100) return `${Math.round(value)} s`;
  const minutes = Math.round(value / 60);
  return minutes < 100 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

export function bytes(value) {
  if (!isThere(value)) return "–";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

// A measured value as people write it: shares as percent, others with four digits.
export function measure(isShare, value) {
  if (!isThere(value)) return "–";
  return isShare ? `${(value * 100).toFixed(2)}%` : short(value);
}

export function short(value) {
  const size = Math.abs(value);
  return size && size < 1e-3 ? value.toExponential(1) : Number(value.toPrecision(4)).toString();
}

// As measure, for ticks: no more digits than it takes.
export function tick(isShare, value) {
  return measure(isShare, value).replace(/\.?0+%$/, "%");
}

export async function fetchJson(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error((await answer.text()).trim() || `${answer.status}`);
  return answer.json();
}

export const hue = (index) => `var(--hue-${index % 12})`;
