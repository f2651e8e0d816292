// Owns the state of the page: what is shown, where, what is selected; its controls, and the address after `#`, so that a
// link leads to the same view. Does not own drawing (draw.js) nor texts (panels.js).

const LOST = 1, BAD = 2, WARM_UP = 4;
/// Hidden at first: many, and said better by others.
const QUIET = ["links", "balances"];
/// Events before the first bad one in the view that a failed run opens with.
const BEFORE_BAD = 24;

const data = JSON.parse(document.getElementById("data").textContent);
data.marks = data.marks.map(m => ({ n: m[0], ms: m[1], fromMs: m[2], at: m[1], from: m[2], subsystem: m[3], lane: m[4], to: m[5], text: m[6],
  flags: m[7], weight: m[8], payments: m[9], actor: m[10], event: m[11] }));

const view = { data, selected: null, payment: null, hidden: new Set(), warmUp: false, linear: false, find: "", allMoney: false, a: 0, b: 1 };
let queued = false;

/// The warm-up has no time of its own: its records stand before zero in their order, a little apart.
function placeWarmUp() {
  const warm = data.marks.filter(mark => mark.flags & WARM_UP);
  warm.forEach((mark, i) => {
    const late = (warm.length - i) * 5;
    mark.from = mark.from >= 0 ? -late - 4 : -1;
    mark.at = -late;
    if (mark.from >= 0 || mark.to >= 0) mark.from = mark.at;
  });
}

/// Whether something falls into the time of the chosen payment; always, if none is chosen.
function underWay() {
  if (view.payment === null) return () => true;
  const own = data.marks.filter(mark => mark.payments.includes(view.payment) && !(mark.flags & WARM_UP));
  if (!own.length) return () => false;
  const first = own[0].at, last = own[own.length - 1].at;
  return (from, to) => to >= first && from <= last;
}

function filter() {
  const needle = view.find.toLowerCase();
  view.shown = [];
  const during = underWay();
  data.marks.forEach((mark, index) => {
    const bad = mark.flags & BAD;
    const kept = bad || !view.hidden.has(mark.subsystem) && (view.warmUp || !(mark.flags & WARM_UP))
      && (view.payment === null || mark.payments.includes(view.payment) || data.subsystems[mark.subsystem] === "faults" && during(mark.at, mark.at))
      && (!needle || (data.texts[mark.text] + " " + laneText(data, mark) + " " + data.texts[mark.actor]).toLowerCase().includes(needle));
    if (kept) view.shown.push(index);
  });
  const used = new Set();
  for (const index of view.shown) {
    used.add(data.marks[index].lane);
    if (data.marks[index].to >= 0) used.add(data.marks[index].to);
  }
  view.faults = view.hidden.has(data.subsystems.indexOf("faults")) ? [] : data.faults.filter(fault => during(fault.from, fault.to === null ? fault.from : fault.to));
  for (const fault of view.faults) fault.lanes.forEach(lane => used.add(lane));
  view.lanes = data.lanes.map((_, lane) => lane).filter(lane => used.has(lane));
  view.money = data.money.filter(series => series.party || view.allMoney);
  const times = [];
  let plain = view.shown.filter(index => data.marks[index].weight > 0);
  if (!plain.length) plain = view.shown;
  for (const index of plain) {
    times.push(data.marks[index].at);
    if (data.marks[index].from >= 0) times.push(data.marks[index].from);
  }
  for (const fault of view.faults) { times.push(fault.from); if (fault.to !== null) times.push(fault.to); }
  if (!times.length) times.push(0, 1000);
  view.warp = makeWarp(times, !view.linear);
  const { knots } = view.warp;
  view.first = knots[0];
  view.last = Math.max(knots[knots.length - 1], view.first + 1);
}

/// Where the view begins and ends on the warped axis.
function bounds() { return [view.warp.place(view.a), view.warp.place(view.b)]; }

function setBounds(u0, u1) {
  const low = view.warp.place(view.first), high = view.warp.place(view.last), whole = Math.max(high - low, 1e-6);
  const wide = Math.max(Math.min(u1 - u0, whole * 1.1), Math.min(2, whole));
  const middle = (u0 + u1) / 2;
  u0 = Math.max(low - whole * 0.05, Math.min(middle - wide / 2, high + whole * 0.05 - wide));
  view.a = view.warp.time(u0);
  view.b = view.warp.time(u0 + wide);
}

function showAll() {
  const low = view.warp.place(view.first), high = view.warp.place(view.last), margin = Math.max((high - low) * 0.03, 1);
  setBounds(low - margin, high + margin);
}

function showAround(index, before, after) {
  const marks = view.shown.filter(i => data.marks[i].weight > 0 || i === index), at = marks.indexOf(index);
  if (at < 0) return;
  const first = data.marks[marks[Math.max(0, at - before)]].at, last = data.marks[marks[Math.min(marks.length - 1, at + after)]].at;
  const u0 = view.warp.place(first), u1 = view.warp.place(last), margin = Math.max((u1 - u0) * 0.08, 10);
  setBounds(u0 - margin, u1 + margin * 2);
}

const act = {
  select(index, centre) {
    view.selected = index;
    if (!view.shown.includes(index)) { reveal(index); }
    const [u0, u1] = bounds(), u = view.warp.place(data.marks[index].at);
    if (centre && (u < u0 || u > u1)) act.centre(index);
    scrollListTo(view, index);
    draw();
    scrollLaneTo(index);
  },
  centre(index) {
    const [u0, u1] = bounds(), u = view.warp.place(data.marks[index].at);
    setBounds(u - (u1 - u0) / 2, u + (u1 - u0) / 2);
    draw();
  },
  step(by) {
    if (!view.shown.length) return;
    const at = view.shown.indexOf(view.selected);
    const next = at < 0 ? 0 : Math.max(0, Math.min(view.shown.length - 1, at + by));
    act.select(view.shown[next], true);
  },
  payment(payment) {
    view.payment = payment;
    byId("payment").value = payment === null ? "" : String(payment);
    filter();
    showAll();
    draw();
  },
  toBad() {
    if (data.bad === null) return;
    showAround(data.bad, BEFORE_BAD, 6);
    act.select(data.bad, true);
  },
  fault(fault) {
    const u0 = view.warp.place(fault.from), u1 = view.warp.place(fault.to === null ? fault.from + 1000 : fault.to), margin = Math.max((u1 - u0) * 0.4, 20);
    setBounds(u0 - margin, u1 + margin);
    draw();
    byId("timeline").scrollIntoView({ block: "nearest" });
  },
};

/// Takes away whatever hides an event that is to be seen.
function reveal(index) {
  const mark = data.marks[index];
  view.hidden.delete(mark.subsystem);
  if (mark.flags & WARM_UP) view.warmUp = true;
  if (!mark.payments.includes(view.payment)) { view.payment = null; byId("payment").value = ""; }
  view.find = byId("find").value = "";
  filter();
  controls();
}

function zoom(by, at) {
  const [u0, u1] = bounds(), wide = (u1 - u0) * by, pivot = at === undefined ? 0.5 : at;
  const fixed = u0 + (u1 - u0) * pivot;
  setBounds(fixed - wide * pivot, fixed + wide * (1 - pivot));
  draw();
}

function move(by) {
  const [u0, u1] = bounds();
  setBounds(u0 + (u1 - u0) * by, u1 + (u1 - u0) * by);
  draw();
}

function draw() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => { queued = false; drawNow(); });
}

function drawNow() {
  const scroll = byId("scroll");
  view.width = scroll.clientWidth;
  const [u0, u1] = bounds(), room = Math.max(50, view.width - GUTTER - RIGHT);
  view.colour = colours();
  view.x = t => GUTTER + (view.warp.place(t) - u0) / (u1 - u0) * room;
  view.time = x => view.warp.time(u0 + (x - GUTTER) / room * (u1 - u0));
  view.idle = view.linear ? [] : idle();
  view.ticks = allTicks(view.idle.map(stretch => stretch.until), view.x, view.time, GUTTER, view.width - RIGHT, 92);
  view.laneHeight = Math.max(44, Math.min(96, Math.floor(scroll.clientHeight / Math.max(1, view.lanes.length))));
  drawTicks(view);
  drawLanes(view);
  drawMoney(view);
  showRecord(view, act);
  showList(view, act);
  remember();
}

/// Stretches without events that are drawn much shorter than they last.
function idle() {
  const { knots } = view.warp, found = [];
  for (let i = 1; i < knots.length; i++) {
    const ms = knots[i] - knots[i - 1];
    if (ms < 2000 || knots[i] < view.a || knots[i - 1] > view.b) continue;
    const from = Math.max(GUTTER, view.x(knots[i - 1]) + 4), to = Math.min(view.width, view.x(knots[i]) - 4);
    if (to - from > 24) found.push({ from, to, ms, until: knots[i] });
  }
  return found;
}

function scrollLaneTo(index) {
  const mark = data.marks[index], row = view.lanes.indexOf(mark.to >= 0 ? mark.to : mark.lane), scroll = byId("scroll");
  const top = row * view.laneHeight;
  if (row >= 0 && (top < scroll.scrollTop || top + view.laneHeight > scroll.scrollTop + scroll.clientHeight)) scroll.scrollTop = top - scroll.clientHeight / 2;
}

function remember() {
  const parts = [];
  if (view.payment !== null) parts.push("payment=" + encodeURIComponent(data.payments[view.payment]));
  if (view.selected !== null) parts.push("n=" + data.marks[view.selected].n);
  parts.push("t=" + Math.round(view.a) + ".." + Math.round(view.b));
  const shown = data.subsystems.filter((_, i) => !view.hidden.has(i)), usual = data.subsystems.filter(name => !QUIET.includes(name));
  if (shown.join() !== usual.join()) parts.push("show=" + shown.join(","));
  if (view.warmUp) parts.push("warm-up=1");
  if (view.linear) parts.push("axis=linear");
  if (view.allMoney) parts.push("money=all");
  if (view.find) parts.push("find=" + encodeURIComponent(view.find));
  const theme = document.documentElement.dataset.theme;
  if (theme) parts.push("theme=" + theme);
  const hash = "#" + parts.join("&");
  // A page inside of a viewer may not be allowed to change its address; the view is the same without.
  try { if (location.hash !== hash) history.replaceState(null, "", hash); } catch (error) { void error; }
}

function recall() {
  const given = new URLSearchParams(location.hash.slice(1));
  const payment = data.payments.indexOf(given.get("payment"));
  view.payment = payment >= 0 ? payment : null;
  view.warmUp = given.get("warm-up") === "1";
  view.linear = given.get("axis") === "linear";
  view.allMoney = given.get("money") === "all";
  view.find = given.get("find") || "";
  const shown = given.has("show") ? given.get("show").split(",") : data.subsystems.filter(name => !QUIET.includes(name));
  view.hidden = new Set(data.subsystems.map((_, i) => i).filter(i => !shown.includes(data.subsystems[i])));
  const theme = given.get("theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  filter();
  const n = given.get("n"), chosen = n === null ? -1 : data.marks.findIndex(mark => String(mark.n) === n);
  if (chosen >= 0 && !view.shown.includes(chosen)) reveal(chosen);
  const range = /^(-?\d+)\.\.(-?\d+)$/.exec(given.get("t") || "");
  showAll();
  if (range) {
    setBounds(view.warp.place(Number(range[1])), view.warp.place(Number(range[2])));
  } else if (chosen >= 0) {
    showAround(chosen, 10, 10);
  } else if (data.bad !== null && view.payment === null) {
    showAround(data.bad, BEFORE_BAD, 6);
  }
  if (chosen >= 0) view.selected = chosen;
  else if (data.bad !== null) view.selected = data.bad;
}

function controls() {
  const counts = data.subsystems.map(() => 0);
  for (const mark of data.marks) if (view.warmUp || !(mark.flags & WARM_UP)) counts[mark.subsystem]++;
  byId("subsystems").replaceChildren(...data.subsystems.map((name, i) => element("button", {
    type: "button", "aria-pressed": String(!view.hidden.has(i)), style: `--chip: var(--${name}, var(--other))`,
    onclick: () => { if (!view.hidden.delete(i)) view.hidden.add(i); controls(); filter(); setBounds(...bounds()); draw(); },
  }, `${name} ${counts[i].toLocaleString("en-GB")}`)));
  byId("warm-up").checked = view.warmUp;
  byId("axis").value = view.linear ? "linear" : "compact";
  byId("all-money").checked = view.allMoney;
  byId("find").value = view.find;
  byId("payment").value = view.payment === null ? "" : String(view.payment);
  byId("bad").hidden = data.bad === null;
}

function wire() {
  byId("payment").append(element("option", { value: "" }, "all"), ...data.payments.map((name, i) => element("option", { value: i }, name)));
  byId("payment").onchange = event => act.payment(event.target.value === "" ? null : Number(event.target.value));
  byId("warm-up").onchange = event => { view.warmUp = event.target.checked; controls(); filter(); showAll(); draw(); };
  byId("axis").onchange = event => { view.linear = event.target.value === "linear"; filter(); setBounds(...bounds()); draw(); };
  byId("all-money").onchange = event => { view.allMoney = event.target.checked; filter(); draw(); };
  byId("find").oninput = event => { view.find = event.target.value; filter(); draw(); };
  byId("in").onclick = () => zoom(0.5);
  byId("out").onclick = () => zoom(2);
  byId("all").onclick = () => { showAll(); draw(); };
  byId("bad").onclick = () => act.toBad();
  byId("theme").onclick = () => {
    const root = document.documentElement, dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    draw();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  byId("list").onscroll = () => showList(view, act);
  window.addEventListener("resize", draw);
  window.addEventListener("hashchange", () => { recall(); controls(); draw(); });
  window.addEventListener("keydown", keys);
  pointer();
}

function keys(event) {
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return;
  const does = { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => { showAll(); draw(); }, n: () => act.step(1), p: () => act.step(-1),
    b: () => act.toBad(), ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2) }[event.key];
  if (does) { does(); event.preventDefault(); }
}

/// Wheel zooms, a drag moves, a click selects; a click on the same place again goes on to what lies beneath.
function pointer() {
  const canvas = byId("lanes"), crossLine = byId("cross"), tip = byId("tip");
  let drag = null;
  byId("scroll").addEventListener("wheel", event => {
    if (event.shiftKey) return;
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) return move(event.deltaX / 800);
    const room = view.width - GUTTER - RIGHT;
    zoom(Math.exp(event.deltaY / 400), Math.max(0, Math.min(1, (event.offsetX - GUTTER) / room)));
  }, { passive: false });
  canvas.addEventListener("pointerdown", event => { drag = { x: event.offsetX, moved: false, a: bounds() }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", event => {
    if (drag) {
      const room = view.width - GUTTER - RIGHT, by = (drag.x - event.offsetX) / room * (drag.a[1] - drag.a[0]);
      if (Math.abs(event.offsetX - drag.x) > 3) drag.moved = true;
      if (drag.moved) { setBounds(drag.a[0] + by, drag.a[1] + by); draw(); }
    }
    const inside = event.offsetX >= GUTTER, under = inside ? hit(view, event.offsetX, event.offsetY) : [];
    crossLine.hidden = tip.hidden = !inside;
    crossLine.style.left = event.offsetX + "px";
    const t = view.time(event.offsetX);
    const lines = under.slice(0, 4).map(i => laneText(data, data.marks[i]) + ": " + data.texts[data.marks[i].text]);
    if (under.length > 4) lines.push(`and ${under.length - 4} more`);
    tip.textContent = [clock(Math.round(t))].concat(lines).join("\n");
    const top = event.offsetY - byId("scroll").scrollTop + TICKS_HEIGHT;
    tip.style.left = Math.min(event.offsetX + 12, view.width - tip.offsetWidth - 4) + "px";
    tip.style.top = top + 16 + "px";
  });
  canvas.addEventListener("pointerup", event => {
    const clicked = drag && !drag.moved;
    drag = null;
    if (!clicked) return;
    const under = hit(view, event.offsetX, event.offsetY);
    if (under.length) act.select(under[(under.indexOf(view.selected) + 1) % under.length], false);
  });
  canvas.addEventListener("pointerleave", () => { crossLine.hidden = tip.hidden = true; });
}

placeWarmUp();
wire();
recall();
controls();
showHeading(data);
showFailure(data, act);
showTables(data, act);
drawNow();
if (view.selected !== null) { scrollListTo(view, view.selected); scrollLaneTo(view.selected); showList(view, act); }
document.documentElement.dataset.ready = String(view.shown.length);
