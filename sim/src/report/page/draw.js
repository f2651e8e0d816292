// Owns drawing on the canvases: ticks, lanes, marks, arrows, faults, money; and finding the mark under the pointer.
// Does not own the view nor the filter (page.js).

const GUTTER = 118, RIGHT = 14, TICKS_HEIGHT = 40, LABEL_HEIGHT = 14, MONEY_ROW = 46;
const FONT = '12px system-ui, "DejaVu Sans", sans-serif';
const SMALL = '11px system-ui, "DejaVu Sans", sans-serif';
const LABEL_MAX = 230;

/// Sets a canvas to a size in CSS pixels, sharp on any screen.
function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = width + "px";
  canvas.style.height = height + "px";
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  context.textBaseline = "middle";
  return context;
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = name => style.getPropertyValue("--" + name).trim();
  const all = {};
  for (const name of ["bg", "panel", "ink", "dim", "line", "stripe", "idle", "accent", "bad", "stimulus", "engine", "ledger",
    "http", "lightning", "chain", "links", "faults", "balances", "invariants", "other"]) all[name] = of(name);
  return all;
}

/// Free room for labels, a list of taken intervals for each row.
class Room {
  constructor() { this.rows = new Map(); }
  take(row, from, to) {
    let taken = this.rows.get(row);
    if (!taken) this.rows.set(row, taken = []);
    for (const [a, b] of taken) if (from < b && to > a) return false;
    taken.push([from, to]);
    return true;
  }
}

const widths = new Map();
function measure(context, text) {
  let width = widths.get(text);
  if (width === undefined) widths.set(text, width = context.measureText(text).width);
  return width;
}

function shorten(context, text, room) {
  if (measure(context, text) <= room) return text;
  let low = 1, high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(text.slice(0, middle) + "…").width <= room) low = middle; else high = middle - 1;
  }
  return text.slice(0, low).trimEnd() + "…";
}

/// Text on a ground of its own, so that lines behind it do not disturb.
function label(context, text, x, y, colour, ground) {
  context.lineWidth = 3;
  context.lineJoin = "round";
  context.strokeStyle = ground;
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

function drawTicks(view) {
  const { width, colour } = view;
  const context = prepare(document.getElementById("ticks"), width, TICKS_HEIGHT);
  context.fillStyle = colour.stripe;
  context.fillRect(0, 0, width, TICKS_HEIGHT);
  context.font = SMALL;
  context.fillStyle = colour.dim;
  context.fillText("virtual time", 8, 12);
  for (const idle of view.idle) {
    context.fillStyle = colour.idle;
    context.fillRect(idle.from, 21, idle.to - idle.from, 19);
    context.fillStyle = colour.dim;
    const text = "⇤ " + span(idle.ms) + " ⇥", room = context.measureText(text).width;
    if (room < idle.to - idle.from - 8) context.fillText(text, (idle.from + idle.to - room) / 2, 31);
  }
  for (const tick of view.ticks) {
    context.strokeStyle = colour.dim;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(Math.round(tick.x) + 0.5, 18);
    context.lineTo(Math.round(tick.x) + 0.5, TICKS_HEIGHT);
    context.stroke();
    context.fillStyle = colour.ink;
    const text = clock(tick.t, tick.step), half = context.measureText(text).width / 2;
    context.fillText(text, Math.min(Math.max(GUTTER, tick.x - half), width - 2 * half - 2), 10);
  }
}

/// Draws the lanes; the marks' places are kept for `hit`.
function drawLanes(view) {
  const { width, laneHeight, lanes, colour } = view;
  const height = Math.max(1, lanes.length * laneHeight);
  const context = prepare(document.getElementById("lanes"), width, height);
  const yOf = new Map(lanes.map((lane, row) => [lane, row * laneHeight + laneHeight / 2]));
  drawGround(context, view, height, yOf);
  const room = new Room();
  context.save();
  context.beginPath();
  context.rect(GUTTER, 0, width - GUTTER, height);
  context.clip();
  drawFaults(context, view, yOf);
  const drawn = drawMarks(context, view, yOf);
  drawBad(context, view, height);
  nameFaults(context, view, yOf, room);
  drawLabels(context, view, drawn, yOf, room);
  context.restore();
  view.drawn = drawn;
  view.buckets = new Map();
  for (const mark of drawn) {
    const bucket = Math.floor(mark.x / 16);
    if (!view.buckets.has(bucket)) view.buckets.set(bucket, []);
    view.buckets.get(bucket).push(mark);
  }
}

function drawGround(context, view, height, yOf) {
  const { width, laneHeight, lanes, colour } = view;
  lanes.forEach((lane, row) => {
    if (row % 2) { context.fillStyle = colour.stripe; context.fillRect(0, row * laneHeight, width, laneHeight); }
  });
  context.fillStyle = colour.idle;
  context.globalAlpha = 0.55;
  for (const idle of view.idle) context.fillRect(idle.from, 0, idle.to - idle.from, height);
  context.globalAlpha = 1;
  context.strokeStyle = colour.line;
  context.lineWidth = 1;
  context.beginPath();
  for (const tick of view.ticks) { context.moveTo(Math.round(tick.x) + 0.5, 0); context.lineTo(Math.round(tick.x) + 0.5, height); }
  context.stroke();
  context.strokeStyle = colour.dim;
  for (const lane of lanes) {
    const y = Math.round(yOf.get(lane)) + 0.5;
    context.beginPath();
    context.moveTo(GUTTER, y);
    context.lineTo(width, y);
    context.globalAlpha = 0.45;
    context.stroke();
    context.globalAlpha = 1;
    context.fillStyle = colour.ink;
    context.fillText(shorten(context, view.data.lanes[lane], GUTTER - 14), 8, y);
  }
}

function drawFaults(context, view, yOf) {
  const { colour, laneHeight, width } = view;
  for (const fault of view.faults) {
    const from = view.x(fault.from), ended = fault.to !== null;
    const to = ended ? Math.max(view.x(fault.to), from + 3) : from + 26;
    if (to < GUTTER || from > width) continue;
    const rows = fault.lanes.filter(lane => yOf.has(lane));
    if (!rows.length) continue;
    const ys = rows.map(lane => yOf.get(lane));
    let fill = colour.faults;
    if (!ended) {
      fill = context.createLinearGradient(from, 0, to, 0);
      fill.addColorStop(0, colour.faults);
      fill.addColorStop(1, colour.faults + "00");
    }
    context.fillStyle = fill;
    context.globalAlpha = 0.16;
    for (const y of ys) context.fillRect(from, y - laneHeight * 0.46, to - from, laneHeight * 0.92);
    const top = Math.min(...ys), bottom = Math.max(...ys);
    context.globalAlpha = 0.08;
    if (bottom > top) context.fillRect(from, top + laneHeight * 0.46, to - from, bottom - top - laneHeight * 0.92);
    context.globalAlpha = 1;
    context.strokeStyle = colour.faults;
    context.lineWidth = 1.5;
    context.beginPath();
    for (const x of ended ? [from, to] : [from]) { context.moveTo(x, top - laneHeight * 0.46); context.lineTo(x, bottom + laneHeight * 0.46); }
    context.stroke();
    context.beginPath();
    for (const at of fault.effects) {
      const x = view.x(at);
      context.moveTo(x, top - laneHeight * 0.46);
      context.lineTo(x, top - laneHeight * 0.46 + 5);
    }
    context.lineWidth = 1;
    context.stroke();
  }
}

/// The names of faults stand at the top of the topmost lane that they hit, or at its bottom.
function nameFaults(context, view, yOf, room) {
  context.font = SMALL;
  for (const fault of view.faults) {
    const from = view.x(fault.from), to = fault.to === null ? from : view.x(fault.to);
    const rows = fault.lanes.filter(lane => yOf.has(lane));
    if (!rows.length || to < GUTTER || from > view.width) continue;
    const lane = rows.reduce((a, b) => yOf.get(a) < yOf.get(b) ? a : b);
    const text = fault.name + " " + fault.scope, wide_ = context.measureText(text).width;
    const right = Math.max(from, GUTTER) + 4, x = right + wide_ > view.width ? from - wide_ - 4 : right;
    const half = view.laneHeight / 2 - 8;
    const high = room.take(lane + "/-1", x, x + wide_ + 8);
    if (!high && !room.take(lane + "/-2", x, x + wide_ + 8)) continue;
    label(context, text, x, yOf.get(lane) + (high ? -half : half), view.colour.faults, view.colour.panel);
  }
  context.font = FONT;
}

function drawMarks(context, view, yOf) {
  const { data, colour, width } = view;
  const drawn = [], seen = new Set();
  for (const index of view.shown) {
    const mark = data.marks[index];
    const y1 = yOf.get(mark.to >= 0 ? mark.to : mark.lane), y0 = yOf.get(mark.lane);
    if (y1 === undefined || y0 === undefined) continue;
    const x = view.x(mark.at), x0 = mark.to >= 0 && mark.from >= 0 ? view.x(mark.from) : x;
    if (x < GUTTER - 4 && x0 < GUTTER - 4 || x0 > width && x > width) continue;
    const bad = mark.flags & BAD;
    // What would be drawn on the same pixels is drawn once; it is found all the same.
    const place = Math.round(x) + "/" + Math.round(x0) + "/" + mark.lane + "/" + mark.to + "/" + mark.subsystem;
    const hidden = seen.has(place) && !bad;
    seen.add(place);
    const entry = { index, x, y: y1, x0, y0, mark, hidden };
    drawn.push(entry);
  }
  findDense(view, drawn);
  for (const entry of drawn) if (!entry.hidden && view.dense.has(laneOf(entry.mark))) drawMark(context, entry, view, true);
  for (const [lane, entries] of view.dense) drawDensity(context, view, entries, yOf.get(lane));
  for (const entry of drawn) if (!entry.hidden && (!view.dense.has(laneOf(entry.mark)) || entry.mark.flags & BAD)) drawMark(context, entry, view, false);
  for (const entry of drawn) if (entry.index === view.selected) drawSelected(context, entry, colour);
  return drawn;
}

/// The lane at which a mark stands: of an arrow, where it ends.
const laneOf = mark => mark.to >= 0 ? mark.to : mark.lane;

/// Lanes with more marks in view than can be told apart: they get bars instead of dots, and no labels.
function findDense(view, drawn) {
  const perLane = new Map();
  for (const entry of drawn) {
    if (entry.x < GUTTER || entry.x > view.width) continue;
    const lane = laneOf(entry.mark);
    if (!perLane.has(lane)) perLane.set(lane, []);
    perLane.get(lane).push(entry);
  }
  view.dense = new Map([...perLane].filter(([, entries]) => {
    const places = new Set(entries.map(entry => Math.floor(entry.x / 4)));
    return places.size > (view.width - GUTTER) / 14;
  }));
}

/// How many marks there are in each stretch of some pixels.
function drawDensity(context, view, entries, y) {
  const STRETCH = 4, counts = new Map();
  for (const { x, mark } of entries) {
    const at = Math.floor(x / STRETCH) * STRETCH;
    const bar = counts.get(at) || { count: 0, mark };
    if (mark.weight > bar.mark.weight) bar.mark = mark;
    bar.count++;
    counts.set(at, bar);
  }
  const most = Math.max(...[...counts.values()].map(bar => bar.count)), room = view.laneHeight / 2 - 16;
  for (const [x, { count, mark }] of counts) {
    const high = 3 + room * Math.log1p(count) / Math.log1p(most);
    context.fillStyle = subsystemColour(view, mark.subsystem);
    context.fillRect(x, y - high, STRETCH - 1, high);
  }
  const text = `${entries.length.toLocaleString("en-GB")} events in view, up to ${most} in a bar`;
  context.font = SMALL;
  label(context, text, GUTTER + 4, y + 10, view.colour.dim, view.colour.panel);
  context.font = FONT;
}

function drawMark(context, { x, y, x0, y0, mark }, view, faint) {
  const colour = mark.flags & BAD ? view.colour.bad : subsystemColour(view, mark.subsystem);
  const quiet = mark.weight === 0;
  context.strokeStyle = context.fillStyle = colour;
  context.globalAlpha = faint ? 0.14 : quiet ? 0.6 : 1;
  if (mark.to >= 0) {
    const lost = mark.flags & LOST;
    context.lineWidth = quiet ? 0.8 : 1.5;
    if (lost) context.setLineDash([4, 3]);
    const ex = lost ? x0 + (x - x0) * 0.7 : x, ey = lost ? y0 + (y - y0) * 0.7 : y;
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(ex, ey);
    context.stroke();
    context.setLineDash([]);
    if (lost) cross(context, ex, ey, 4);
    else if (!faint) arrowHead(context, x0, y0, x, y, quiet ? 4 : 7);
  } else if (!faint) {
    context.beginPath();
    context.arc(x, y, quiet ? 2 : mark.weight >= 6 ? 4.5 : 3.5, 0, 7);
    context.fill();
  }
  if (mark.flags & BAD) {
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, 8, 0, 7);
    context.stroke();
  }
  context.globalAlpha = 1;
}

function cross(context, x, y, size) {
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x - size, y - size); context.lineTo(x + size, y + size);
  context.moveTo(x + size, y - size); context.lineTo(x - size, y + size);
  context.stroke();
}

function arrowHead(context, x0, y0, x, y, size) {
  const angle = Math.atan2(y - y0, x - x0);
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x - size * Math.cos(angle - 0.4), y - size * Math.sin(angle - 0.4));
  context.lineTo(x - size * Math.cos(angle + 0.4), y - size * Math.sin(angle + 0.4));
  context.fill();
}

function drawSelected(context, { x, y }, colour) {
  context.strokeStyle = colour.ink;
  context.lineWidth = 2;
  context.beginPath();
  context.arc(x, y, 7, 0, 7);
  context.stroke();
}

function drawBad(context, view, height) {
  if (view.data.bad === null) return;
  const mark = view.data.marks[view.data.bad], x = view.x(mark.at);
  if (x < GUTTER || x > view.width) return;
  context.strokeStyle = view.colour.bad;
  context.lineWidth = 1;
  context.setLineDash([6, 4]);
  context.beginPath();
  context.moveTo(x, 0);
  context.lineTo(x, height);
  context.stroke();
  context.setLineDash([]);
}

/// Labels by weight, each where there is room in its lane: right of the mark, in a row above or below.
function drawLabels(context, view, drawn, yOf, room) {
  const { laneHeight, colour, data, width } = view;
  const perSide = Math.max(1, Math.floor((laneHeight / 2 - 4) / LABEL_HEIGHT));
  const offsets = [];
  for (let i = 0; i < perSide; i++) offsets.push(-(i + 0.75) * LABEL_HEIGHT, (i + 0.75) * LABEL_HEIGHT);
  const quiet = d => view.dense.has(laneOf(d.mark)) && !(d.mark.flags & BAD) && d.index !== view.selected;
  const wanted = drawn.filter(d => !quiet(d) && (d.mark.weight > 1 || d.index === view.selected) && d.x >= GUTTER - 2 && d.x <= width);
  wanted.sort((a, b) => (b.index === view.selected) - (a.index === view.selected) || b.mark.weight - a.mark.weight || a.x - b.x);
  let tries = 0;
  for (const { x, y, mark, index } of wanted) {
    if (tries++ > 4000) break;
    const bad = mark.flags & BAD;
    const text = shorten(context, (bad ? "first bad event: " : "") + data.texts[mark.text], bad ? 420 : LABEL_MAX);
    const wide = measure(context, text);
    const right = x + 6 + wide < width - 2;
    const from = right ? x + 5 : x - 7 - wide;
    if (from < GUTTER) continue;
    const lane = mark.to >= 0 ? mark.to : mark.lane;
    for (const offset of offsets) {
      // The first row above the lane's line touches faults' names when there is one row only.
      const row = offset < 0 && offset === offsets[offsets.length - 2] ? -1 : offset;
      if (!room.take(lane + "/" + row, from - 3, from + wide + 5)) continue;
      const chosen = bad ? colour.bad : index === view.selected ? colour.ink : subsystemColour(view, mark.subsystem);
      label(context, text, from, y + offset, chosen, colour.panel);
      break;
    }
  }
}

function subsystemColour(view, subsystem) {
  return view.colour[view.data.subsystems[subsystem]] || view.colour.other;
}

/// Money under the same axis: a row for each account.
function drawMoney(view) {
  const rows = view.money;
  const context = prepare(document.getElementById("money"), view.width, Math.max(1, rows.length * MONEY_ROW));
  rows.forEach((series, row) => drawSeries(context, view, series, row * MONEY_ROW));
}

function drawSeries(context, view, series, top) {
  const { width, colour } = view;
  const values = series.points.map(point => point[1]).concat(0);
  const low = Math.min(...values), high = Math.max(...values), range = high - low || 1;
  const y = value => top + MONEY_ROW - 9 - (value - low) / range * (MONEY_ROW - 18);
  context.strokeStyle = colour.line;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(0, top + MONEY_ROW - 0.5); context.lineTo(width, top + MONEY_ROW - 0.5);
  context.moveTo(GUTTER, y(0)); context.lineTo(width, y(0));
  context.stroke();
  context.fillStyle = colour.ink;
  context.font = FONT;
  context.fillText(shorten(context, series.name, GUTTER - 14), 8, top + 15);
  context.fillStyle = colour.dim;
  context.font = SMALL;
  context.fillText(series.asset, 8, top + 31);
  context.save();
  context.beginPath();
  context.rect(GUTTER, top, width - GUTTER, MONEY_ROW);
  context.clip();
  const path = new Path2D();
  let value = 0;
  path.moveTo(GUTTER, y(0));
  const steps = [];
  for (const [t, next] of series.points) {
    const x = Math.max(GUTTER, view.x(t));
    path.lineTo(x, y(value));
    path.lineTo(x, y(next));
    steps.push({ x, value: next });
    value = next;
  }
  path.lineTo(width, y(value));
  const area = new Path2D(path);
  area.lineTo(width, y(0));
  area.closePath();
  context.fillStyle = context.strokeStyle = series.asset === "EUR" ? colour.ledger : colour.chain;
  context.globalAlpha = 0.13;
  context.fill(area);
  context.globalAlpha = 1;
  context.lineWidth = 1.6;
  context.stroke(path);
  const room = new Room();
  const initial = steps.filter(step => step.x <= GUTTER).pop();
  const written = initial ? [initial] : [];
  // The last values first: the end matters most.
  for (const step of steps.filter(step => step.x > GUTTER && step.x < width).reverse().concat(written)) {
    const text = amount(step.value, series.asset), wide = context.measureText(text).width;
    const x = step.x + 4 + wide > width ? step.x - wide - 4 : step.x + 4;
    if (!room.take(0, x - 4, x + wide + 8)) continue;
    const above = y(step.value) - 8, at = above < top + 7 ? y(step.value) + 9 : above;
    label(context, text, x, at, colour.ink, colour.panel);
  }
  context.restore();
}

/// The marks at a point of the lanes' canvas, nearest first.
function hit(view, px, py) {
  const near = [];
  const bucket = Math.floor(px / 16);
  for (let b = bucket - 1; b <= bucket + 1; b++) {
    for (const entry of view.buckets.get(b) || []) {
      const distance = Math.hypot(entry.x - px, entry.y - py);
      if (distance < 12) near.push([distance, entry]);
    }
  }
  if (!near.length) {
    for (const entry of view.drawn) {
      if (entry.mark.to < 0) continue;
      const distance = toSegment(px, py, entry);
      if (distance < 6) near.push([distance + 12, entry]);
    }
  }
  near.sort((a, b) => a[0] - b[0] || b[1].mark.weight - a[1].mark.weight || a[1].index - b[1].index);
  return near.map(pair => pair[1].index);
}

function toSegment(px, py, { x0, y0, x, y }) {
  const dx = x - x0, dy = y - y0, length = dx * dx + dy * dy || 1;
  const along = Math.max(0, Math.min(1, ((px - x0) * dx + (py - y0) * dy) / length));
  return Math.hypot(px - x0 - along * dx, py - y0 - along * dy);
}
