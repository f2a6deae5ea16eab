// What all workers did when: marks of a trace, or shares of the time; zoom, pan, arrows, lockstep.
import { el, fetchJson, isThere, section, short } from "./dom.js";

const ROW = 46;
const BAR = 26;
const LEFT = 74;
const AXIS = 24;
const EVERY_MS = 500;
const KINDS = {
  wait: "--waiting", send: "--sending", "send gradient": "--hue-8", "send credit": "--hue-6",
  forward: "--hue-0", backward: "--hue-2", "carry back": "--hue-2", optimize: "--hue-9", loss: "--hue-4",
  synthesize: "--hue-3", "synthesize input": "--hue-3", learn: "--hue-5", "learn input": "--hue-5", receive: "--hue-10", "receive gradient": "--hue-10",
  load: "--hue-7", evaluate: "--hue-11", save: "--hue-6",
};

export function timelinePage({ host, run, isLive, isPaused }) {
  const state = { began: null, length: null, told: null, timer: null, isOpen: true };
  const canvas = el("canvas", { tabindex: "0", role: "img", "aria-label": "timeline of all workers" });
  const says = el("p", { role: "status" });
  const under = el("p", { class: "note mono", "aria-live": "off" });
  const key = el("ul", { class: "legend" });
  const lockstep = el("input", { type: "checkbox", id: "lockstep", onchange: () => read() });
  const arrows = el("input", { type: "checkbox", id: "arrows", onchange: () => draw() });
  arrows.checked = true;
  const button = (text, label, act) => el("button", { type: "button", text, "aria-label": label, onclick: act });
  const steps = el("span", { class: "buttons", hidden: isLive },
    button("◀", "earlier", () => move(-0.5)), button("▶", "later", () => move(0.5)));
  const zooms = el("span", { class: "buttons", hidden: isLive },
    button("+", "zoom in", () => zoom(0.5)), button("−", "zoom out", () => zoom(2)),
    button("last 10 s", "the last ten seconds", () => last()));
  const showsArrows = el("label", { hidden: isLive }, arrows, " arrows");
  host.append(section("Timeline", el("p", { class: "buttons" }, steps, zooms,
    el("label", {}, lockstep, " as it would be in lockstep"), showsArrows), says, key,
  el("div", { class: "timeline" }, canvas), under));

  async function read() {
    clearTimeout(state.timer);
    if (!state.isOpen) return;
    if (!isPaused()) {
      const query = new URLSearchParams({ lockstep: lockstep.checked ? "1" : "0" });
      if (state.began !== null) query.set("from", state.began);
      if (state.length !== null) query.set("length", state.length);
      try {
        state.told = await fetchJson(`/api/runs/${encodeURIComponent(run)}/timeline?${query}`);
        if (!state.isOpen) return;
        if (!isLive) [state.began, state.length] = [state.told.began_s, state.told.ended_s - state.told.began_s];
        zooms.hidden = showsArrows.hidden = state.told.source === "counters";
        draw();
      } catch (error) {
        says.textContent = String(error.message || error);
      }
    }
    if (isLive && state.isOpen) state.timer = setTimeout(read, EVERY_MS);
  }

  function move(share) { state.began += share * state.length; read(); }
  function zoom(factor) {
    if (isLive) {
      state.length = (state.told.ended_s - state.told.began_s) * factor;
      state.told.began_s = state.told.ended_s - state.length;
      draw();
    } else {
      state.began += (state.length * (1 - factor)) / 2;
      state.length *= factor;
    }
    read();
  }
  function last() { state.length = 10; if (!isLive) state.began = 1e9; read(); }

  function draw() {
    const told = state.told;
    if (!told) return;
    says.textContent = sentence(told, lockstep.checked, isLive);
    canvas.hidden = !told.tracks.length;
    if (canvas.hidden) return;
    const width = canvas.parentElement.clientWidth;
    const height = told.tracks.length * ROW + AXIS;
    const scale = window.devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = height * scale;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    paint(context, told, width, arrows.checked && !lockstep.checked);
    drawKey(key, told, lockstep.checked);
  }

  canvas.addEventListener("mousemove", (event) => {
    const found = state.told && markAt(state.told, canvas, event.offsetX, event.offsetY);
    under.textContent = found ?? " ";
  });
  const watch = new ResizeObserver(() => draw());
  watch.observe(host);
  read();
  return {
    key(event) {
      if (zooms.hidden || (isLive && event.key.startsWith("Arrow"))) return;
      const act = { ArrowLeft: () => move(-0.25), ArrowRight: () => move(0.25), "+": () => zoom(0.5),
        "-": () => zoom(2), 0: () => last() }[event.key];
      if (act) { event.preventDefault(); act(); }
    },
    close() { state.isOpen = false; clearTimeout(state.timer); watch.disconnect(); },
  };
}

function sentence(told, isLockstep, isLive) {
  if (told.source === "none") {
    return "This run has left no trace: dni-launch --profile records what every worker does when.";
  }
  if (!isThere(told.batch_s) || !told.batch_s || !told.lockstep_s) return "Nothing to compare yet.";
  const ratio = told.lockstep_s / told.batch_s;
  const ms = (value) => `${short(value * 1000)} ms`;
  const than = ratio >= 1 ? `${ratio.toFixed(1)} times as long, if passing on took no time` : "it would be faster";
  const compared = `A batch every ${ms(told.batch_s)}; with the same stage times in lockstep every ` +
    `${ms(told.lockstep_s)} (${than}).`;
  const how = !isLive ? "" : told.source === "counters"
    ? " Shares of the time between two reports of each worker, the last 10 s; with --profile, every mark."
    : " Every mark, as far back as all workers tell.";
  return (isLockstep ? "Lockstep, reckoned, not measured. " : "") + compared + how;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function paint(context, told, width, showsArrows) {
  const [from, to] = [told.began_s, told.ended_s];
  const at = (seconds) => LEFT + ((seconds - from) / (to - from)) * (width - LEFT);
  const rowOf = new Map(told.tracks.map((track, index) => [track.stage, index]));
  const colours = new Map(Object.entries(KINDS).map(([kind, name]) => [kind, colour(name)]));
  const [ink, soft, edge] = ["--ink", "--soft", "--edge"].map(colour);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  paintAxis(context, told, at, width, soft, edge);
  context.save();
  context.beginPath();
  context.rect(LEFT, 0, width - LEFT, told.tracks.length * ROW);
  context.clip();
  told.tracks.forEach((track, index) => {
    const top = index * ROW + (ROW - BAR) / 2;
    for (const [begin, end, kind, batch] of track.marks ?? []) {
      context.fillStyle = colours.get(kind) ?? soft;
      const long = Math.max(0.6, at(end) - at(begin) - 0.4);
      const high = kind === "wait" ? BAR / 4 : BAR;
      context.fillRect(at(begin), top + (BAR - high) / 2, long, high);
      if (long > 34 && kind !== "wait") {
        context.fillStyle = colour("--card");
        context.fillText(batch >= 0 && long > 60 ? `${kind} ${batch}` : kind, at(begin) + 3, top + BAR / 2, long - 5);
      }
    }
    for (const [begin, end, busy, waiting, sending] of track.pieces ?? []) {
      let base = top + BAR;
      for (const [share, name] of [[busy, "--busy"], [sending, "--sending"], [waiting, "--waiting"]]) {
        context.fillStyle = colour(name);
        context.fillRect(at(begin), base - share * BAR, Math.max(1, at(end) - at(begin) - 0.5), share * BAR);
        base -= share * BAR;
      }
    }
  });
  if (showsArrows) paintArrows(context, told.arrows, at, rowOf, [colour("--busy"), colour("--hue-2")]);
  context.restore();
  context.fillStyle = ink;
  told.tracks.forEach((track, index) => context.fillText(`stage ${track.stage}`, 2, index * ROW + ROW / 2));
}

function paintArrows(context, arrows, at, rowOf, [up, down]) {
  context.lineWidth = 1.2;
  for (const [begin, end, kind, start, goal] of arrows) {
    const isUp = kind === "activation";
    const [x1, x2] = [at(begin), at(end)];
    const y1 = rowOf.get(start) * ROW + ROW / 2 + (goal > start ? BAR / 2 : -BAR / 2);
    const y2 = rowOf.get(goal) * ROW + ROW / 2 + (goal > start ? -BAR / 2 : BAR / 2);
    context.strokeStyle = context.fillStyle = isUp ? up : down;
    context.setLineDash(isUp ? [] : [4, 3]);
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
    const turn = Math.atan2(y2 - y1, x2 - x1);
    context.beginPath();
    context.moveTo(x2, y2);
    for (const side of [-0.4, 0.4]) {
      context.lineTo(x2 - 7 * Math.cos(turn + side), y2 - 7 * Math.sin(turn + side));
    }
    context.fill();
  }
  context.setLineDash([]);
}

function paintAxis(context, told, at, width, soft, edge) {
  const span = told.ended_s - told.began_s;
  const rough = span / Math.max(2, Math.floor((width - LEFT) / 110));
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
  const bottom = told.tracks.length * ROW;
  const isShort = span < 1;
  context.fillStyle = soft;
  context.strokeStyle = edge;
  const first = isShort ? told.began_s : Math.ceil(told.began_s / step) * step;
  for (let number = 0; first + number * step < told.ended_s; number += 1) {
    const tick = first + number * step;
    const text = isShort ? `+${short(number * step * 1000)} ms` : `${Number(tick.toPrecision(6))} s`;
    context.beginPath();
    context.moveTo(at(tick), 0);
    context.lineTo(at(tick), bottom);
    context.stroke();
    if (at(tick) < width - 60) context.fillText(text, at(tick) + 2, bottom + AXIS / 2);
  }
}

function drawKey(list, told, isLockstep) {
  const isPieces = told.tracks.some((track) => track.pieces);
  const kinds = isPieces ? ["busy", "sending", "waiting"]
    : Object.keys(KINDS).filter((kind) => told.tracks.some((track) => track.marks.some((mark) => mark[2] === kind)));
  const text = kinds.join() + isLockstep;
  if (list.dataset.kinds === text) return;
  list.dataset.kinds = text;
  list.replaceChildren(...kinds.map((kind) => {
    const box = el("i", { class: "key" });
    box.style.background = `var(${isPieces ? `--${kind}` : KINDS[kind]})`;
    return el("li", {}, box, kind);
  }), ...(isPieces || isLockstep ? [] : [el("li", { text: "→ activation, ⇢ gradient" })]));
}

function markAt(told, canvas, x, y) {
  const track = told.tracks[Math.floor(y / ROW)];
  if (!track || x < LEFT) return null;
  const share = (x - LEFT) / (canvas.clientWidth - LEFT);
  const moment = told.began_s + share * (told.ended_s - told.began_s);
  const mark = track.marks?.find((each) => each[0] <= moment && moment <= each[1]);
  if (mark) {
    const batch = mark[3] >= 0 ? `, batch ${mark[3]}` : "";
    return `stage ${track.stage}: ${mark[2]}${batch}, version ${mark[4]}, ${short((mark[1] - mark[0]) * 1000)} ms`;
  }
  const piece = track.pieces?.find((each) => each[0] <= moment && moment <= each[1]);
  return piece && `stage ${track.stage}: busy ${Math.round(piece[2] * 100)}%, sending ` +
    `${Math.round(piece[4] * 100)}%, waiting ${Math.round(piece[3] * 100)}%`;
}
