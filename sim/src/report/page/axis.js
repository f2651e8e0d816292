"use strict";
// Owns the time axis: virtual time to pixels and back, the ticks, and how times and amounts are written.
// Does not own what is drawn on it (draw.js).

/// Gaps much longer than this are drawn shorter on the compact axis; gaps much shorter are in proportion. Milliseconds.
const SHORTEN_FROM = 50;

/// A monotone map of time: `knots` are times, `places` where they stand.
function makeWarp(times, compact) {
  const sorted = Float64Array.from(times).sort();
  const knots = [];
  for (const t of sorted) if (!knots.length || t > knots[knots.length - 1]) knots.push(t);
  if (!knots.length) knots.push(0);
  // Outside of the knots time goes on as in a gap.
  const shrink = gap => compact ? SHORTEN_FROM * Math.log1p(gap / SHORTEN_FROM) : gap;
  const stretch = place => compact ? SHORTEN_FROM * Math.expm1(place / SHORTEN_FROM) : place;
  const places = [0];
  for (let i = 1; i < knots.length; i++) {
    const gap = knots[i] - knots[i - 1];
    places.push(places[i - 1] + shrink(gap));
  }
  const find = (list, value) => {
    let low = 0, high = list.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (list[middle] <= value) low = middle; else high = middle - 1;
    }
    return low;
  };
  const map = (from, to, value, outside) => {
    if (value <= from[0]) return to[0] - outside(from[0] - value);
    const last = from.length - 1;
    if (value >= from[last]) return to[last] + outside(value - from[last]);
    const i = find(from, value);
    return to[i] + (value - from[i]) / (from[i + 1] - from[i]) * (to[i + 1] - to[i]);
  };
  return {
    knots, places,
    place: t => map(knots, places, t, shrink),
    time: u => map(places, knots, u, stretch),
  };
}

const NICE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5,
  72e5, 108e5, 216e5, 432e5, 864e5, 1728e5, 6048e5, 2592e6, 7776e6, 31536e6];

function niceStep(ms) {
  for (const step of NICE) if (step >= ms) return step;
  return NICE[NICE.length - 1];
}

const two = n => String(n).padStart(2, "0");

/// Clock time since the start: 0:10.220, 2:00, 1:00:00, 3 d 4:00:00. `step` says how exact it has to be.
function clock(ms, step) {
  if (ms < 0) return "warm-up";
  const exact = step === undefined ? ms % 1000 !== 0 : step < 1000;
  const whole = Math.floor(ms / 1000), s = whole % 60, m = Math.floor(whole / 60) % 60, h = Math.floor(whole / 3600) % 24;
  const d = Math.floor(whole / 86400);
  const tail = exact ? "." + String(Math.floor(ms % 1000)).padStart(3, "0") : "";
  const hours = h || d ? h + ":" + two(m) : String(m);
  return (d ? d + " d " : "") + hours + ":" + two(s) + tail;
}

/// A span of time in the unit that fits.
function span(ms) {
  if (ms < 1000) return Math.round(ms) + " ms";
  if (ms < 60e3) return (ms / 1000).toFixed(ms < 10e3 ? 1 : 0) + " s";
  if (ms < 3600e3) return Math.floor(ms / 60e3) + " min" + (ms % 60e3 >= 1000 ? " " + Math.floor(ms % 60e3 / 1000) + " s" : "");
  if (ms < 864e5) return Math.floor(ms / 3600e3) + " h" + (ms % 3600e3 >= 60e3 ? " " + Math.floor(ms % 3600e3 / 60e3) + " min" : "");
  return Math.floor(ms / 864e5) + " d" + (ms % 864e5 >= 3600e3 ? " " + Math.floor(ms % 864e5 / 3600e3) + " h" : "");
}

function amount(units, asset) {
  const sign = units < 0 ? "-" : "", value = Math.abs(units);
  if (asset === "EUR") {
    return sign + Math.floor(value / 100).toLocaleString("en-GB") + "." + two(value % 100) + " EUR";
  }
  const rest = value % 1000;
  return sign + Math.floor(value / 1000).toLocaleString("en-GB") + (rest ? "." + String(rest).padStart(3, "0") : "") + " sat";
}

/// Ticks for the visible part: first where time goes on after an idle stretch (`anchors`), then round times between them.
function allTicks(anchors, toX, toTime, left, right, apart) {
  const found = [];
  let from = left;
  for (const t of anchors) {
    const x = toX(t);
    if (x < left || x > right || found.length && x - found[found.length - 1].x < apart) continue;
    found.push(...ticks(toX, toTime, from, x - apart, apart), { t, x, step: t % 1000 ? 1 : 1000 });
    from = x + apart;
  }
  return found.concat(ticks(toX, toTime, from, right, apart));
}

/// Round times, at least `apart` pixels from each other.
function ticks(toX, toTime, left, right, apart) {
  const found = [];
  let next = left;
  while (next < right) {
    const around = (toTime(Math.min(right, next + apart)) - toTime(next)) || 1;
    const step = niceStep(around / 2);
    let t = Math.ceil(toTime(next) / step) * step;
    let x = toX(t);
    // The local rate may change inside of the step: then the next one is looked for further on.
    if (x < next) x = toX(t += step);
    if (x > right) break;
    if (x - next > apart * 1.5) {
      const finer = niceStep(Math.max(1, step / 10));
      const nearer = Math.ceil(toTime(next) / finer) * finer;
      if (toX(nearer) >= next && toX(nearer) < x) { t = nearer; x = toX(nearer); }
      found.push({ t, x, step: finer });
    } else {
      found.push({ t, x, step });
    }
    next = x + apart;
  }
  return found;
}
