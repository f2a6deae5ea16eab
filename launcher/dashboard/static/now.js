// The line of stages as it works: a box for each stage, the link above it between two boxes.
import { bytes, count, el, fixed, isThere, percent, say, section, seconds, table } from "./dom.js";

const MAX_CELLS = 16;
const MARKED_MS = 4000;  // a stage is back sooner than the eye follows
const WORDS = {
  busy: "busy", waiting: "waiting", sending: "sending", starting: "starting",
  down: "died, is replaced", silent: "not heard of", done: "done",
};

export function nowPage({ host, isLive }) {
  const line = el("div", { class: "line", role: "list", "aria-label": "stages, source first" });
  const legend = el("ul", { class: "legend" },
    ...["busy", "sending", "waiting"].map((name) =>
      el("li", {}, el("i", { class: `key ${name}` }), name)),
    el("li", {}, el("i", { class: "slot full" }), "slot taken by an activation"),
    el("li", { text: "→ activations, ← gradients and credits" }));
  const restarts = el("div");
  const note = el("p", { class: "note" });
  host.append(section("The line of stages", legend, line, note), restarts);
  let boxes = [];
  let links = [];

  function build(now) {
    boxes = now.stages.map(makeBox);
    links = now.stages.slice(0, -1).map(makeLink);
    line.replaceChildren(...boxes.map((box, index) => index < links.length
      ? el("div", { class: "unit", role: "listitem" }, box.root, links[index].root)
      : el("div", { class: "unit", role: "listitem" }, box.root)));
  }

  return {
    update(now) {
      if (boxes.length !== now.stages.length) build(now);
      now.stages.forEach((stage, index) => boxes[index].update(stage, lastDeath(now, stage), isLive));
      const byBoundary = new Map(now.links.map((link) => [link.boundary, link]));
      const isAtWork = isLive && !now.stages.every((stage) => stage.state === "done");
      links.forEach((link, index) => link.update(byBoundary.get(index) ?? {}, isAtWork));
      say(note, isAtWork
        ? "Shares, slots and rates are of the last half second, as workers tell them; staleness is the median and the most so far; agreement is the cosine of synthetic and returned gradients in the last epoch."
        : "Means over the whole run; staleness is the median and the most; agreement is of the last epoch.");
      drawRestarts(restarts, now.restarts);
      if (!now.stages.length) say(note, "No stage has begun yet.");
    },
  };
}

const lastDeath = (now, stage) => (now.restarts ?? []).findLast((each) => each.stage === stage.stage);

function makeBox() {
  let known = null;
  let marked = 0;
  const title = el("h3");
  const layers = el("p", { class: "layers" });
  const state = el("p", { class: "state" });
  const shares = el("div", { class: "shares", "aria-hidden": "true" },
    ...["busy", "sending", "waiting"].map((name) => el("i", { class: name })));
  const facts = el("dl");
  const root = el("article", { class: "box" }, title, layers, state, shares, facts);
  return {
    root,
    update(stage, death, isLive) {
      if (isLive && known !== null && stage.restarts > known) marked = Date.now() + MARKED_MS;
      known = stage.restarts;
      const isNew = death && Date.now() < marked && stage.state !== "down";
      say(title, `stage ${stage.stage}`);
      say(layers, `layers ${stage.layers}, ${stage.device}`);
      root.className = `box is-${stage.state}${isNew ? " is-new" : ""}`;
      say(state, isNew ? `died, back after ${fixed(death.seconds, 2)} s` : stateText(stage));
      [...shares.children].forEach((part) => {
        part.style.width = `${(stage[part.className] ?? 0) * 100}%`;
      });
      drawFacts(facts, factsOf(stage));
    },
  };
}

function stateText(stage) {
  const word = WORDS[stage.state] ?? stage.state;
  if (stage.state === "silent") return `${word} for ${seconds(stage.heard_s)}`;
  if (stage.state === "done" && isThere(stage.busy)) return `${percent(stage.busy)} busy`;
  if (stage.state === "waiting") {
    const why = (stage.held ?? 0) > stage.waiting / 2 ? " for a slot" : " for input";
    return `${word} ${percent(stage.waiting)}${why}`;
  }
  return isThere(stage[stage.state]) ? `${word} ${percent(stage[stage.state])}` : word;
}

function factsOf(stage) {
  const found = [];
  if (isThere(stage.batch)) found.push(["batch", count(stage.batch)]);
  found.push(["version", count(stage.version)]);
  if (isThere(stage.updates_per_second)) found.push(["updates/s", count(stage.updates_per_second)]);
  found.push(["staleness", isThere(stage.staleness)
    ? `${count(stage.staleness)}, ≤ ${count(stage.staleness_max)}` : "–"]);
  if (isThere(stage.cosine)) found.push(["agreement", fixed(stage.cosine, 2)]);
  found.push(["memory", isThere(stage.memory_mb) ? `${count(stage.memory_mb)} MB` : "–"]);
  if (stage.restarts) found.push(["replaced", `${stage.restarts}×`]);
  return found;
}

function drawFacts(list, facts) {
  if (list.childElementCount !== facts.length) {
    list.replaceChildren(...facts.map(() => el("div", {}, el("dt"), el("dd"))));
  }
  facts.forEach(([name, value], index) => {
    const [term, told] = list.children[index].children;
    say(term, name);
    say(told, value);
  });
}

function makeLink() {
  const up = el("p", { class: "up" }, el("span"), dots());
  const slots = el("div", { class: "slots", "aria-hidden": "true" });
  const fill = el("p", { class: "fill" });
  const down = el("p", { class: "down" }, el("span"), dots());
  const root = el("div", { class: "link" }, up, slots, fill, down);
  return {
    root,
    update(link, isLive) {
      const window = link.window || 0;
      const cells = Math.min(window, MAX_CELLS);
      if (slots.childElementCount !== cells) {
        slots.replaceChildren(...Array.from({ length: cells }, () => el("i", { class: "slot" })));
      }
      const taken = window ? ((link.in_flight ?? 0) / window) * cells : 0;
      [...slots.children].forEach((cell, index) => {
        cell.className = index < Math.round(taken) ? "slot full" : "slot";
      });
      say(fill, window ? `${fixed(link.in_flight ?? null, isLive ? 0 : 1)} of ${window} slots` : "");
      const rate = link.activations_per_second;
      const upText = isThere(rate) ? `${count(rate)}/s` : "activations";
      say(up.firstElementChild, upText);
      root.title = titleOf(link);
      const credit = isThere(link.credit_ms) ? `credit ${fixed(link.credit_ms, link.credit_ms < 10 ? 1 : 0)} ms` : "credits";
      say(down.firstElementChild, credit);
      root.classList.toggle("moves", isLive && (rate ?? 0) > 0);
    },
  };
}

const dots = () => el("i", { class: "dots", "aria-hidden": "true" });

function titleOf(link) {
  const rate = (value, way) => isThere(value) ? `, ${bytes(value)}/s ${way}` : "";
  return `${link.carrier || "no activation yet"}${rate(link.up_bytes_per_second, "up")}` +
    rate(link.down_bytes_per_second, "down");
}

let drawn = "";
function drawRestarts(host, restarts) {
  const key = JSON.stringify(restarts ?? []);
  if (key === drawn && host.childElementCount === (restarts?.length ? 1 : 0)) return;
  drawn = key;
  if (!restarts?.length) return host.replaceChildren();
  const rows = restarts.map((each) => [
    `stage ${each.stage}`, `${fixed(each.at_seconds, 1)} s`,
    isThere(each.seconds) ? `${fixed(each.seconds, 2)} s` : "not yet", each.cause ?? "",
  ]);
  host.replaceChildren(section("Workers that were replaced",
    table(["stage", "died at", "trains again after", "cause"], rows, "restarts", "words")));
}
