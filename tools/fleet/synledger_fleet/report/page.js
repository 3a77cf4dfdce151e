"use strict";
// Everything from the data becomes text by textContent or a number: nothing of it is read as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const KINDS = { "port scan": "s0", "host sweep": "s1", "slow scan": "s2", "distributed scan": "s3" };
const LANES_MAX = 14;
const number = new Intl.NumberFormat("en");
// Controls and marks that turn text around, as \u{…}.
const safe = (text) => String(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);

function make(parent, name, attributes = {}, text = null) {
  const element = parent.namespaceURI === SVG || name === "svg"
    ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = safe(text);
  parent.append(element);
  return element;
}

const stamp = (ms) => new Date(ms).toISOString().slice(0, 19).replace("T", " ");
function length(ms) {
  for (const [unit, size] of [["d", 864e5], ["h", 36e5], ["min", 6e4]]) if (ms >= 2 * size) return `${(ms / size).toFixed(1)} ${unit}`;
  return `${(ms / 1000).toFixed(1)} s`;
}
function compact(count) {
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) if (count >= size) return `${+(count / size).toPrecision(3)} ${unit}`;
  return String(count);
}

// A drawing as wide as its place, with a time axis at the bottom.
function chart(id, height, left) {
  const place = document.getElementById(id);
  place.replaceChildren();
  const width = Math.max(280, place.clientWidth);
  const svg = make(place, "svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img" });
  const right = width - 8, bottom = height - 22;
  const x = (ms) => left + (right - left) * Math.min(1, Math.max(0, (ms - data.since) / (data.until - data.since)));
  const ticks = Math.max(1, Math.min(6, Math.floor((right - left) / 140)));
  for (let at = 0; at <= ticks; at++) {
    const ms = data.since + (data.until - data.since) * at / ticks;
    make(svg, "line", { x1: x(ms), x2: x(ms), y1: 4, y2: bottom, class: "grid" });
    const anchor = at === 0 ? "start" : at === ticks ? "end" : "middle";
    make(svg, "text", { x: x(ms), y: height - 6, "text-anchor": anchor }, stamp(ms).slice(5, 16));
  }
  return { svg, x, left, right, bottom };
}

function drawTotals() {
  const place = document.getElementById("totals"), totals = data.totals;
  const facts = [["sensors", totals.sensors], ["attempts", totals.attempts], ["detections", totals.scans],
    ["sources of them", totals.sources], ["records and packets lost", totals.lost]];
  for (const [name, count] of facts) {
    const fact = make(place, "div");
    make(fact, "strong", {}, number.format(count) + (name === "detections" && data.scans_cut ? "+" : ""));
    make(fact, "span", {}, name);
  }
  document.getElementById("period").textContent = `${stamp(data.since)} to ${stamp(data.until)} UTC`;
  document.getElementById("made").textContent = `Made ${data.made}. Times are UTC.`;
}

function drawActivity() {
  const { svg, x, left, right, bottom } = chart("activity", 260, 52);
  const steps = data.series.length ? data.series[0].values.length : 0;
  const sums = Array.from({ length: steps }, (_, at) => data.series.reduce((sum, one) => sum + one.values[at], 0));
  const most = Math.max(1, ...sums);
  const y = (count) => bottom - (bottom - 8) * count / most;
  for (const share of [0, 0.5, 1]) {
    make(svg, "line", { x1: left, x2: right, y1: y(most * share), y2: y(most * share), class: "grid" });
    make(svg, "text", { x: left - 6, y: y(most * share) + 4, "text-anchor": "end" }, compact(Math.round(most * share)));
  }
  const begin = data.since - data.since % data.step;
  const base = new Array(steps).fill(0);
  data.series.forEach((one, index) => {
    // Steps, not slopes: a value is the sum of its step.
    let upper = "", lower = "";
    for (let at = 0; at < steps; at++) {
      const from = x(begin + at * data.step), to = x(begin + (at + 1) * data.step);
      upper += `${at ? "L" : "M"}${from},${y(base[at] + one.values[at])}L${to},${y(base[at] + one.values[at])}`;
      lower = `L${to},${y(base[at])}L${from},${y(base[at])}` + lower;
      base[at] += one.values[at];
    }
    const area = make(svg, "path", { d: `${upper}${lower}Z`, class: `area s${index % 8}` });
    make(area, "title", {}, `${one.name}: ${number.format(one.values.reduce((sum, value) => sum + value, 0))} attempts`);
  });
  const legend = document.getElementById("legend");
  legend.replaceChildren();
  data.series.forEach((one, index) => make(make(legend, "li", { class: `s${index % 8}` }), "span", {}, one.name));
}

function drawCoverage() {
  const worst = data.coverage.filter((one) => one.missing || one.unwatched || one.lost).slice(0, LANES_MAX);
  const top = 76, lane = 16;
  const { svg, x, left, right, bottom } = chart("coverage", top + worst.length * lane + 30, 110);
  const all = Math.max(1, data.coverage.length), columns = Math.max(40, Math.floor((right - left) / 4));
  const width = (data.until - data.since) / columns;
  const missing = data.gaps.filter((gap) => gap.what === "missing");
  for (let at = 0; at < columns; at++) {
    const from = data.since + at * width;
    const absent = missing.reduce((sum, gap) => sum + Math.max(0, Math.min(gap.to, from + width) - Math.max(gap.from, from)), 0);
    const share = Math.max(0, 1 - absent / width / all), height = 56 * share;
    make(svg, "rect", { x: x(from), y: 64 - height, width: (right - left) / columns + 0.3, height, class: "covered soft" });
  }
  for (const [label, y] of [["100 %", 14], ["0 %", 66]]) make(svg, "text", { x: left - 6, y, "text-anchor": "end" }, label);
  worst.forEach((one, index) => {
    const y = top + index * lane;
    const name = make(svg, "text", { x: left - 6, y: y + 11, "text-anchor": "end" }, one.sensor.length > 15 ? one.sensor.slice(0, 14) + "…" : one.sensor);
    make(name, "title", {}, one.sensor);
    make(svg, "line", { x1: left, x2: right, y1: y + 7, y2: y + 7, class: "grid" });
    for (const gap of data.gaps.filter((gap) => gap.sensor === one.sensor)) {
      const kind = gap.what === "not_watched" ? "unwatched" : gap.what;
      const inset = { missing: [1, 12], unwatched: [3, 4], lost: [7, 4] }[kind];
      const bar = make(svg, "rect", { x: x(gap.from), y: y + inset[0], height: inset[1], width: Math.max(2, x(gap.to) - x(gap.from)), class: kind });
      const what = { missing: `no books for ${length(gap.unwatched)}`, unwatched: `not watched for ${length(gap.unwatched)}`, lost: `${number.format(gap.lost)} lost` }[kind];
      make(bar, "title", {}, `${one.sensor}: ${what}, ${stamp(gap.from)} to ${stamp(gap.to)}`);
    }
  });
  if (!data.coverage.length) make(svg, "text", { x: left, y: bottom - 4 }, "No books are stored for this time.");
}

function drawTimeline() {
  const kinds = Object.keys(KINDS);
  const { svg, x, left, right } = chart("timeline", kinds.length * 44 + 26, 110);
  kinds.forEach((kind, index) => {
    const y = index * 44 + 6;
    make(svg, "text", { x: left - 6, y: y + 24, "text-anchor": "end" }, kind);
    make(svg, "line", { x1: left, x2: right, y1: y + 40, y2: y + 40, class: "grid" });
    const own = data.scans.filter((scan) => scan.kind === kind);
    const most = Math.max(1, ...own.map((scan) => scan.count));
    for (const scan of own) {
      // The height by the logarithm of its extent.
      const height = 8 + 28 * Math.log1p(scan.count) / Math.log1p(most);
      const bar = make(svg, "rect", { x: x(scan.first), y: y + 39 - height, height, width: Math.max(2, x(scan.last) - x(scan.first)), class: `${KINDS[kind]} soft` });
      make(bar, "title", {}, `${kind}: ${scan.source} → ${scan.target}, ${scan.count}, ${stamp(scan.first)}`);
    }
  });
  const legend = document.getElementById("kinds");
  legend.replaceChildren();
  for (const kind of kinds) {
    const count = data.scans.filter((scan) => scan.kind === kind).length;
    make(make(legend, "li", { class: KINDS[kind] }), "span", {}, `${number.format(count)} × ${kind}`);
  }
}

function drawTalkers() {
  const place = document.getElementById("talkers");
  const most = Math.max(1, ...data.talkers.map((one) => one.attempts));
  for (const one of data.talkers) {
    const row = make(place, "div", { class: "talker" });
    make(row, "span", { class: "name" }, one.src_ip);
    const svg = make(row, "svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none" });
    const width = 100 * one.attempts / most, failed = one.ended ? one.failed / one.ended : 0;
    make(svg, "rect", { x: 0, y: 0, height: 10, width, class: "s0", fill: "currentColor" });
    make(svg, "rect", { x: width * (1 - failed), y: 0, height: 10, width: width * failed, class: "s4", fill: "currentColor" });
    const share = one.ended ? `${Math.round(failed * 100)} % of ${number.format(one.ended)} ended failed (red)` : "none ended";
    make(row, "span", { class: "about" }, `${number.format(one.attempts)} attempts; ${share}; ${number.format(one.ports)} ports, ${number.format(one.hosts)} hosts, ${number.format(one.sensors)} sensors`);
  }
  if (!data.talkers.length) make(place, "p", { class: "note" }, "No attempts are stored for this time.");
}

const COLUMNS = [["first", "from"], ["last", "to"], ["kind", "kind"], ["source", "source"], ["target", "target"], ["count", "count"],
  ["attempts", "attempts"], ["sensors", "sensors"], ["sensor", "seen by"]];
const NUMBERS = new Set(["count", "attempts", "sensors"]);
let order = ["first", 1];
const cell = (scan, name) => name === "first" || name === "last" ? stamp(scan[name]) : NUMBERS.has(name) ? number.format(scan[name]) : scan[name];

function drawTable() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [by, way] = order;
  const shown = data.scans.filter((scan) => {
    const text = COLUMNS.map(([name]) => cell(scan, name)).join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  }).sort((one, other) => way * (NUMBERS.has(by) || by === "first" || by === "last" ? one[by] - other[by] : String(one[by]).localeCompare(String(other[by]))));
  const body = document.querySelector("#scans tbody");
  body.replaceChildren();
  for (const scan of shown) {
    const row = make(body, "tr");
    for (const [name] of COLUMNS) {
      const kind = NUMBERS.has(name) ? "number" : name === "source" || name === "target" ? "address" : "";
      make(row, "td", { class: kind }, cell(scan, name));
    }
  }
  const more = data.scans_cut ? "; more exist than this page holds" : "";
  document.getElementById("count").textContent = `${number.format(shown.length)} of ${number.format(data.scans.length)}${more}`;
}

function drawHead() {
  const row = make(document.querySelector("#scans thead"), "tr");
  for (const [name, label] of COLUMNS) {
    const head = make(row, "th", { class: NUMBERS.has(name) ? "number" : "", scope: "col" });
    make(head, "button", { type: "button" }, label).addEventListener("click", () => {
      order = [name, order[0] === name ? -order[1] : NUMBERS.has(name) ? -1 : 1];
      drawTable();
    });
  }
  document.getElementById("filter").addEventListener("input", drawTable);
}

const drawCharts = () => { drawActivity(); drawCoverage(); drawTimeline(); };
drawTotals();
drawTalkers();
drawHead();
drawTable();
drawCharts();
let waiting = 0;
addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(drawCharts); });
