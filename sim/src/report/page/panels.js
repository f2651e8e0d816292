// Owns what stands in text on the page: heading, failure, the record, the list of events, the tables. Texts go in as text
// nodes, never as HTML. Does not own the canvases (draw.js).

const ROW = 20;

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

const byId = id => document.getElementById(id);

function showHeading(data) {
  const run = data.run;
  byId("name").textContent = data.name;
  const verdict = byId("verdict");
  verdict.textContent = run ? run.verdict : "trace";
  if (run) verdict.classList.add(run.verdict);
  byId("facts").textContent = (run
    ? `${run.world} world, seed ${run.seed}, ${span(run.virtual_ms)} virtual, ${run.records.toLocaleString("en-GB")} records, trace ${run.trace_hash.slice(0, 12)}`
    : `${data.marks.length.toLocaleString("en-GB")} records; how the run ended is not in a trace`);
}

function showFailure(data, act) {
  const run = data.run, box = byId("failure");
  const bad = data.bad === null ? null : data.marks[data.bad];
  if (!bad && !(run && run.what)) return;
  document.body.classList.add("failed");
  box.hidden = false;
  const place = run && run.line ? `${run.scenario}:${run.line}: ` : "";
  const step = run && run.step ? run.step : bad ? data.texts[bad.text] : "";
  box.append(
    element("b", { class: "bad" }, place + step),
    element("pre", {}, run && run.what ? run.what : ""),
    run ? element("span", {}, "again: ", element("code", {}, run.again), " ") : null,
    bad ? element("button", { type: "button", onclick: () => act.toBad() }, "Show the first bad event") : null,
  );
}

function laneText(data, mark) {
  const from = data.lanes[mark.lane];
  return mark.to >= 0 ? from + " → " + data.lanes[mark.to] : from;
}

function timeText(mark) {
  return mark.flags & WARM_UP ? "warm-up" : clock(mark.ms, 1);
}

function showRecord(view, act) {
  const { data, selected } = view, box = byId("record");
  box.replaceChildren();
  if (selected === null) {
    box.append(element("p", { class: "dim" }, "Click an event for its whole record. Wheel: zoom; drag: move; arrow keys: move; + and -: zoom; 0: everything; n and p: next and previous event; b: first bad event."));
    return;
  }
  const mark = data.marks[selected];
  const record = { n: mark.n, at_ms: mark.ms, subsystem: data.subsystems[mark.subsystem], actor: data.texts[mark.actor], event: mark.event };
  const fields = [["time", timeText(mark) + ` (${mark.ms} ms)`], ["where", laneText(data, mark)], ["subsystem", record.subsystem]];
  if (mark.fromMs >= 0) fields.push(["under way", `${span(mark.ms - mark.fromMs)}, since ${clock(mark.fromMs)}`]);
  const list = element("dl", {});
  for (const [name, value] of fields) list.append(element("dt", {}, name), element("dd", {}, value));
  if (mark.payments.length) {
    const links = mark.payments.map(payment => element("button", { type: "button", title: "Show this payment only", onclick: () => act.payment(payment) }, data.payments[payment]));
    list.append(element("dt", {}, "payment"), element("dd", {}, ...links));
  }
  box.append(
    element("div", { class: "head" },
      element("b", { class: mark.flags & BAD ? "bad" : null }, data.texts[mark.text]),
      element("button", { type: "button", title: "Previous event (p)", onclick: () => act.step(-1) }, "‹"),
      element("button", { type: "button", title: "Next event (n)", onclick: () => act.step(1) }, "›"),
      element("button", { type: "button", title: "Centre", onclick: () => act.centre(selected) }, "centre")),
    list,
    element("pre", { class: "json" }, JSON.stringify(record, null, 2)),
  );
}

/// The list draws only the rows that can be seen.
function showList(view, act) {
  const { data, shown, selected } = view, list = byId("list"), rows = byId("rows");
  const total = data.marks.length;
  byId("count").textContent = `${shown.length.toLocaleString("en-GB")} of ${total.toLocaleString("en-GB")} events`;
  rows.style.height = shown.length * ROW + "px";
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
  const last = Math.min(shown.length, first + Math.ceil(list.clientHeight / ROW) + 10);
  const made = [];
  for (let i = first; i < last; i++) {
    const index = shown[i], mark = data.marks[index];
    const row = element("div", { style: `top:${i * ROW}px`, title: laneText(data, mark) + ": " + data.texts[mark.text],
      class: (index === selected ? "selected " : "") + (mark.flags & BAD ? "bad" : ""), onclick: () => act.select(index, true) },
      element("span", { class: "t" }, timeText(mark)),
      element("span", { class: "w", style: `color:${subsystemColour(view, mark.subsystem)}` }, laneText(data, mark)),
      element("span", { class: "x" }, data.texts[mark.text]));
    made.push(row);
  }
  rows.replaceChildren(...made);
}

function scrollListTo(view, index) {
  const at = view.shown.indexOf(index), list = byId("list");
  if (at < 0) return;
  const top = at * ROW;
  if (top < list.scrollTop + ROW || top > list.scrollTop + list.clientHeight - 2 * ROW) list.scrollTop = Math.max(0, top - list.clientHeight / 2);
}

function table(headings, rows) {
  return element("table", {}, element("thead", {}, element("tr", {}, ...headings.map(text => element("th", {}, text)))),
    element("tbody", {}, ...rows));
}

function showTables(data, act) {
  const box = byId("tables");
  box.append(element("div", {}, element("h2", {}, "Invariants"), invariants(data, act)));
  if (data.faults.length || data.run && data.run.faults.length) {
    box.append(element("div", {}, element("h2", {}, "Faults"), faults(data, act)));
  }
  if (data.plan) box.append(element("details", {}, element("summary", {}, "Plan"), element("pre", {}, data.plan)));
}

function invariants(data, act) {
  const broken = new Map();
  data.marks.forEach((mark, index) => {
    const name = mark.event && mark.event.broken;
    if (data.subsystems[mark.subsystem] === "invariants" && name && !broken.has(name)) broken.set(name, index);
  });
  const checks = data.run ? data.run.checks : {};
  const names = [...new Set([...broken.keys(), ...Object.keys(checks)])].sort((a, b) => broken.has(b) - broken.has(a) || (a < b ? -1 : 1));
  if (!names.length) {
    return element("p", { class: "dim" }, "Which invariants were checked is in the outcome of a run, not in its trace: make the report of the scenario or of the bundle.");
  }
  return table(["invariant", "checked", "last at", "first violation"], names.map(name => {
    const checked = checks[name], index = broken.get(name);
    return element("tr", {}, element("td", {}, name),
      element("td", { class: "n" }, checked ? checked.count.toLocaleString("en-GB") + "×" : "-"),
      element("td", { class: "n" }, checked ? clock(checked.last_ms) : "-"),
      index === undefined ? element("td", { class: "good" }, "held")
        : element("td", { class: "bad" }, `broken at ${timeText(data.marks[index])} `, element("button", { type: "button", onclick: () => act.select(index, true) }, "show")));
  }));
}

function faults(data, act) {
  const counted = data.run ? data.run.faults : [];
  const count = Math.max(counted.length, data.faults.length), rows = [];
  for (let i = 0; i < count; i++) {
    // The outcome lists faults in the order in which they were asked for, which is also that of their records.
    const span_ = data.faults[i], fault = counted[i] || span_, effects = counted[i] ? counted[i].effects : span_.effects.length;
    rows.push(element("tr", {}, element("td", {}, fault.name), element("td", {}, fault.scope),
      element("td", { class: "n" }, span_ ? clock(span_.from) : "-"),
      element("td", { class: "n" }, span_ && span_.to !== null ? clock(span_.to) : "-"),
      element("td", { class: effects ? "n" : "n bad" }, effects ? effects.toLocaleString("en-GB") : "none"),
      element("td", {}, span_ ? element("button", { type: "button", onclick: () => act.fault(span_) }, "show") : "")));
  }
  return table(["fault", "scope", "from", "to", "effects", ""], rows);
}
