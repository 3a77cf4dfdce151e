"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const two = (number) => String(number).padStart(2, "0");
  const HEIGHT = 260;
  const AXIS = 60;
  // Half a time label may lie beyond the last time.
  const EDGE = 32;
  // Counts are whole numbers.
  const WHOLE = [];
  for (let unit = 1; unit < 1e15; unit *= 10) WHOLE.push(unit, 2 * unit, 5 * unit);

  const day = (date) => `${date.getUTCFullYear()}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`;
  const clock = (date, step) => {
    let text = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
    if (step < 60) text += `:${two(date.getUTCSeconds())}`;
    if (step < 1) text += `.${String(date.getUTCMilliseconds()).padStart(3, "0")}`;
    return text;
  };
  const dateOf = (seconds) => new Date(Math.round(seconds * 1000));
  // Marks of a time axis, UTC: the day stands where it begins.
  const times = (plot, splits, axis, space, step) => {
    let before = null;
    return splits.map((seconds) => {
      const date = dateOf(seconds);
      if (step >= 86400) return day(date);
      const text = day(date) === before ? clock(date, step) : `${clock(date, step)}\n${day(date)}`;
      before = day(date);
      return text;
    });
  };

  const lines = () => ({ stroke: colour("line"), width: 1 });
  const axis = (more) => ({
    stroke: colour("quiet"), grid: lines(), ticks: lines(), font: "12px system-ui, sans-serif", ...more,
  });
  const timeAxis = () => axis({ values: times, space: 95, size: 54 });
  const countAxis = () => axis({ incrs: WHOLE, size: AXIS });
  const fromZero = (plot, least, most) => [0, Math.max(1, most * 1.05)];
  const utc = (seconds) => uPlot.tzDate(dateOf(seconds), "Etc/UTC");

  // The same stretch of time for all pictures.
  const starts = [...data.times, ...data.episodes.map((one) => one[0])];
  const ends = [...data.times.map((start) => start + data.width), ...data.episodes.map((one) => one[1])];
  const least = (list) => list.reduce((a, b) => Math.min(a, b), Infinity);
  const from = least(starts);
  const until = -least(ends.map((end) => -end));
  const margin = Math.max((until - from) * 0.01, data.width / 2);
  const span = [from - margin, until + margin];

  // Attempts over time: bars of all outcomes up to one, the highest drawn first.
  const attempts = (place) => {
    if (data.times.length === 0) return null;
    const bins = Math.round((data.times[data.times.length - 1] - data.times[0]) / data.width) + 1;
    const own = data.outcomes.map(() => new Array(bins).fill(0));
    data.times.forEach((start, at) => {
      const bin = Math.round((start - data.times[0]) / data.width);
      data.outcomes.forEach((outcome, which) => { own[which][bin] = data.attempts[at][which]; });
    });
    const x = own.length ? Array.from({ length: bins }, (_, bin) => data.times[0] + bin * data.width) : [];
    const shown = data.outcomes.map((name, which) => ({ name, which }));
    const used = shown.filter(({ which }) => own[which].some((count) => count > 0));
    const sums = used.map((_, last) => x.map((_, bin) =>
      used.slice(0, last + 1).reduce((sum, { which }) => sum + own[which][bin], 0)));
    const paths = uPlot.paths.bars({ size: [0.9, Infinity], align: 1 });
    const bars = used.map(({ name, which }) => ({
      label: name, fill: colour(name), stroke: colour(name), width: 0, paths, points: { show: false },
      value: (plot, sum, series, bin) => (bin == null ? "" : own[which][bin]),
    }));
    const moment = (plot, seconds) => (seconds == null ? "" : `${day(dateOf(seconds))} ${clock(dateOf(seconds), Math.min(data.width, 30))}`);
    return new uPlot({
      width: place.clientWidth, height: HEIGHT, tzDate: utc,
      padding: [null, EDGE, null, null],
      scales: { x: { range: () => span }, y: { range: fromZero } },
      axes: [timeAxis(), countAxis()],
      series: [{ label: "time", value: moment }, ...bars.reverse()],
      cursor: { drag: { x: false, y: false }, points: { show: false } },
    }, [x, ...sums.reverse()], place);
  };

  // Rows of a lane, so that episodes of one time are beside one another.
  const rowsOf = (episodes) => {
    const ROWS_MAX = 6;
    const free = [];
    const gap = (span[1] - span[0]) / 300;
    const placed = [...episodes].sort((a, b) => a[0] - b[0]).map((one) => {
      let row = free.findIndex((end) => end <= one[0]);
      if (row < 0) row = free.length < ROWS_MAX ? free.length : ROWS_MAX - 1;
      free[row] = Math.max(free[row] ?? -Infinity, one[1] + gap);
      return { one, row };
    });
    return { placed, rows: Math.max(1, free.length) };
  };

  // Scans and floods on a time line, a lane for each kind.
  const episodes = (place) => {
    if (data.episodes.length === 0) return null;
    const LANE = 64;
    const hint = document.getElementById("episode");
    const lanes = data.kinds.map((kind, at) => rowsOf(data.episodes.filter((one) => one[2] === at)));
    const draw = (plot) => {
      const { ctx, bbox } = plot;
      const lane = bbox.height / lanes.length;
      const unit = devicePixelRatio;
      ctx.save();
      ctx.font = `${12 * unit}px system-ui, sans-serif`;
      ctx.textAlign = "left";
      ctx.textBaseline = "top";
      lanes.forEach(({ placed, rows }, at) => {
        const top = bbox.top + at * lane;
        const head = 20 * unit;
        const row = (lane - head - 6 * unit) / rows;
        ctx.fillStyle = colour("quiet");
        ctx.fillText(data.kinds[at], bbox.left + 6 * unit, top + 5 * unit);
        ctx.fillStyle = colour(`k${at % 8}`);
        for (const { one, row: number } of placed) {
          const left = plot.valToPos(one[0], "x", true);
          const width = Math.max(3 * unit, plot.valToPos(one[1], "x", true) - left);
          ctx.fillRect(left, top + head + number * row, width, Math.max(1, row - unit));
        }
        ctx.fillStyle = colour("line");
        ctx.fillRect(bbox.left, top + lane - unit, bbox.width, unit);
      });
      ctx.restore();
    };
    const name = (plot) => {
      const { left, top } = plot.cursor;
      if (left == null || left < 0) return;
      const time = plot.posToVal(left, "x");
      const at = Math.min(lanes.length - 1, Math.max(0, Math.floor(top / (plot.over.clientHeight / lanes.length))));
      const reach = (span[1] - span[0]) * 6 / plot.over.clientWidth;
      const under = lanes[at].placed.filter(({ one }) => one[0] - reach <= time && time <= one[1] + reach);
      const first = under.slice(0, 3).map(({ one }) => one[3]);
      if (under.length > 3) first.push(`and ${under.length - 3} more`);
      if (first.length) hint.textContent = `${data.kinds[at]}: ${first.join("; ")}`;
    };
    return new uPlot({
      width: place.clientWidth, height: lanes.length * LANE + 74, tzDate: utc,
      padding: [null, EDGE, null, null],
      scales: { x: { range: () => span }, y: { range: () => [0, 1] } },
      // As wide as the axis of counts: one time is in one place in both pictures.
      axes: [timeAxis(), axis({ values: () => [], size: AXIS, grid: { show: false }, ticks: { show: false } })],
      series: [{}, { paths: () => null, points: { show: false } }],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
      hooks: { draw: [draw], setCursor: [name] },
    }, [span, [null, null]], place);
  };

  // How many scans tried a port.
  const ports = (place) => {
    if (data.ports.length === 0) return null;
    const count = Math.max(10, Math.min(data.ports.length, Math.floor(place.clientWidth / 24)));
    const first = data.ports.slice(0, count);
    const x = first.map((_, at) => at);
    const upright = place.clientWidth / Math.max(10, first.length) < 52;
    const named = (plot, splits) => splits.map((at) => (first[at] ? String(first[at][0]) : ""));
    const legend = (plot, at) => (at == null || !first[at] ? "" : String(first[at][0]));
    return new uPlot({
      width: place.clientWidth, height: HEIGHT,
      scales: { x: { time: false, range: () => [-0.7, Math.max(10, first.length) - 0.3] }, y: { range: fromZero } },
      axes: [
        axis({ values: named, splits: () => x, rotate: upright ? -90 : 0, size: upright ? 62 : 40, grid: { show: false } }),
        countAxis(),
      ],
      series: [
        { label: "port", value: legend },
        {
          label: "scans", fill: colour("answered"), stroke: colour("answered"), width: 0, points: { show: false },
          paths: uPlot.paths.bars({ size: [0.75, Infinity] }), value: (plot, value) => (value == null ? "" : value),
        },
      ],
      cursor: { drag: { x: false, y: false }, points: { show: false } },
    }, [x, first.map((one) => one[1])], place);
  };

  const pictures = { "plot-attempts": attempts, "plot-episodes": episodes, "plot-ports": ports };
  let drawn = [];
  const draw = () => {
    drawn.forEach((plot) => plot.destroy());
    drawn = [];
    for (const [id, picture] of Object.entries(pictures)) {
      const place = document.getElementById(id);
      const plot = place && picture(place);
      if (plot) drawn.push(plot);
    }
  };
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let width = document.body.clientWidth;
  addEventListener("resize", () => {
    if (document.body.clientWidth !== width) {
      width = document.body.clientWidth;
      draw();
    }
  });
})();
