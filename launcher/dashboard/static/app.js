// The frame of all pages: which run and page is shown, the stream of the run that goes on, the head.
import { count, el, fetchJson, fixed, isThere, measure, percent, say, sayJudged, seconds } from "./dom.js";
import { nowPage } from "./now.js";
import { learningPage } from "./learning.js";
import { healthPage } from "./health.js";
import { runsPage } from "./runs.js";
import { timelinePage } from "./timeline.js";

const PAGES = [
  ["now", "Now", nowPage],
  ["learning", "Learning", learningPage],
  ["health", "Links and health", healthPage],
  ["timeline", "Timeline", timelinePage],
  ["runs", "Runs", runsPage],
];
const byId = (id) => document.getElementById(id);
const app = { site: null, run: null, page: "now", now: null, shown: null, isPaused: false };

function address(run, page) {
  return `#/${encodeURIComponent(run ?? "")}/${page}`;
}

function readAddress() {
  const [, run, page] = location.hash.split("/").map(decodeURIComponent);
  const known = PAGES.some(([name]) => name === page);
  const first = app.site.live ?? null;
  return { run: run || first, page: known ? page : (first ? "now" : "runs") };
}

async function show() {
  const { run, page } = readAddress();
  const isOther = run !== app.run;
  app.run = run;
  app.page = page;
  if (isOther) app.now = null;
  app.shown?.close?.();
  const [, title, make] = PAGES.find(([name]) => name === page);
  drawNav();
  byId("page").replaceChildren();
  app.shown = make({
    host: byId("page"), run, site: app.site, isLive: run !== null && run === app.site.live,
    address, isPaused: () => app.isPaused,
  });
  document.title = run ? `${run}: ${title}` : title;
  if (run && (isOther || !app.now)) await readNow();
  else if (app.now) app.shown.update?.(app.now);
  drawHead();
}

async function readNow() {
  const asked = app.run;
  try {
    const now = await fetchJson(`/api/runs/${encodeURIComponent(asked)}/now`);
    if (asked === app.run) tell(now);
  } catch (error) {
    if (asked === app.run) sayStatus("gone", String(error.message || error));
  }
}

function tell(now) {
  app.now = now;
  if (app.isPaused) return;
  drawHead();
  app.shown?.update?.(now);
}

// A page that nobody sees lets go: a browser keeps six connections for all tabs together.
function listen() {
  if (!app.site.live) return;
  let isOver = false;
  let stream = follow();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) stream.close();
    else if (!isOver && stream.readyState === EventSource.CLOSED) stream = follow();
  });

  function follow() {
    const opened = new EventSource("/api/live");
    opened.addEventListener("now", (event) => {
      document.body.classList.remove("lost");
      if (app.run === app.site.live) tell(JSON.parse(event.data));
    });
    opened.addEventListener("end", () => {
      isOver = true;
      opened.close();
      drawHead();
    });
    opened.onerror = () => {
      if (isOver || app.run !== app.site.live) return;
      document.body.classList.add("lost");
      sayStatus("lost", "the launcher does not answer; what is shown is its last word");
    };
    return opened;
  }
}

function drawNav() {
  byId("nav").replaceChildren(...PAGES.map(([name, title], index) => el("a", {
    href: address(app.run, name), text: title, "data-key": String(index + 1),
    "aria-current": name === app.page ? "page" : null,
    class: !app.run && name !== "runs" ? "off" : null,
  })));
}

function sayStatus(kind, text) {
  byId("status").className = `tag ${kind}`;
  say(byId("status"), text);
}

function drawHead() {
  const now = app.now;
  const isRun = Boolean(app.run) && app.page !== "runs" && Boolean(now);
  for (const id of ["figures", "progress", "says"]) byId(id).hidden = !isRun;
  if (!isRun) {
    say(byId("title"), "dni-async");
    sayStatus("", app.page === "runs" ? "runs" : "");
    return;
  }
  say(byId("title"), now.data ? `${now.data}, ${now.rule}` : "dni-async");
  const phase = now.status === "training" ? `training ${now.phase}` : now.status;
  if (!document.body.classList.contains("lost")) {
    sayStatus(now.status, app.isPaused ? `${phase}, view paused` : phase);
  }
  byId("says").hidden = app.page !== "now";
  byId("progress").hidden = !isThere(now.share);
  byId("progress").setAttribute("aria-valuenow", Math.round((now.share ?? 0) * 100));
  byId("progress").firstElementChild.style.width = `${(now.share ?? 0) * 100}%`;
  drawFigures(byId("figures"), figuresOf(now));
  const says = now.says ?? [];
  const list = byId("says");
  if (list.childElementCount !== says.length) {
    list.replaceChildren(...says.map(() => el("li")));
  }
  says.forEach((text, index) => sayJudged(list.children[index], text));
}

function figuresOf(now) {
  const found = [["epoch", isThere(now.epoch) ? `${now.epoch} / ${now.epochs ?? "?"}` : "–"]];
  if (isThere(now.share)) found.push(["done", percent(now.share)]);
  if (now.status === "training") found.push(["time left", seconds(now.left_s)]);
  if (isThere(now.train_seconds)) found.push(["training", seconds(now.train_seconds)]);
  found.push(["samples/s", count(now.samples_per_second)]);
  if (isThere(now.busy_cores)) {
    found.push(["busy cores", `${fixed(now.busy_cores, 1)} of ${now.cores}`]);
  }
  found.push([now.metric === "loss" ? "test loss" : now.metric ?? "metric",
    measure(now.is_share, now.value)]);
  found.push(["training loss", measure(false, now.train_loss)]);
  found.push(["restarts", count(now.num_restarts ?? 0)]);
  return found;
}

function drawFigures(list, figures) {
  if (list.childElementCount !== figures.length) {
    list.replaceChildren(...figures.map(() => el("div", {}, el("dt"), el("dd"))));
  }
  figures.forEach(([name, value], index) => {
    const [term, told] = list.children[index].children;
    say(term, name);
    say(told, value);
  });
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input[type=search]")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const link = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
  if (link) {
    link.click();
    link.focus();
  } else if (event.key === "/") {
    const filter = document.querySelector("input[type=search]");
    if (filter) { event.preventDefault(); filter.focus(); }
  } else if (event.key === " " && !/^(BUTTON|A|INPUT)$/.test(event.target.tagName)) {
    event.preventDefault();
    app.isPaused = !app.isPaused;
    if (!app.isPaused && app.now) tell(app.now); else drawHead();
  } else {
    app.shown?.key?.(event);
  }
}

async function begin() {
  try {
    app.site = await fetchJson("/api/site");
  } catch (error) {
    sayStatus("gone", String(error.message || error));
    return;
  }
  addEventListener("hashchange", show);
  addEventListener("keydown", onKey);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  await show();
  listen();
}

begin();
