// Shows the snapshots of docs/reference/live.md as they come, once a second. Charts by BokehJS.
"use strict";
(() => {
  const PERCENTILES = ["p50", "p90", "p99", "p99.9"];
  const COLOURS = { p50: "blue", p90: "green", p99: "red", "p99.9": "purple", offered: "blue", served: "green", in_flight: "blue", lag_p99: "blue" };
  const PARTS = ["blue", "green", "red", "purple", "grey"];
  const NEEDED = { p50: 6, p90: 36, p99: 368, "p99.9": 3688 };
  const MEANINGS = {
    pass: "The run is valid, and every clause of its objective is met.",
    fail: "The run is valid, and it misses its objective.",
    invalid: "This run cannot say whether the objective is met.",
    "not decided yet": "The samples so far do not decide every clause.",
  };
  const at = (id) => document.getElementById(id);
  const form = at("controls"), plan = at("plan");
  let settings = null, shown = null, filled = false;

  // --- words and numbers ---------------------------------------------------------------------------------------

  const known = (value) => value !== null && value !== undefined;
  const grouped = (value, digits) => value.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const count = (value) => grouped(value, 0);
  const rate = (value) => (known(value) ? grouped(value, 1) : "-");
  const ms = (value) => (known(value) ? grouped(value, value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3) : "-");
  const share = (value) => (known(value) ? (value < 0.1 ? `${Number((value * 100).toPrecision(3))} %` : `${grouped(value * 100, 1)} %`) : "-");
  const dollars = (value) => `$${grouped(value, 2)}`;
  const interval = (found, show, unit = "") => (known(found.low) ? `${show(found.low)} ${known(found.high) ? `to ${show(found.high)}` : "or more"}${unit}` : "");

  function say(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function list(element, lines) {
    if (element.dataset.lines === lines.join("\n")) return;
    element.dataset.lines = lines.join("\n");
    element.replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  }

  function rows(body, cells, swatches = []) {
    while (body.rows.length > cells.length) body.deleteRow(-1);
    cells.forEach((texts, number) => {
      const row = body.rows[number] || body.insertRow();
      texts.forEach((text, column) => {
        const cell = row.cells[column] || row.insertCell();
        say(cell, text);
        if (body.dataset.words?.split(" ").includes(String(column))) cell.className = "text";
        if (!column && swatches.length) {
          cell.className = "swatch";
          cell.style.setProperty("--swatch", `var(--${swatches[number]})`);
        }
      });
    });
  }

  function key(name, value, note) {
    say(document.querySelector(`[data-key="${name}"]`), value);
    say(document.querySelector(`[data-note="${name}"]`), note);
  }

  // --- what the snapshot says ----------------------------------------------------------------------------------

  function show(snapshot) {
    const { run, summary, verdict, state } = snapshot;
    const settled = snapshot.judged.complete_s > run.warmup_s;
    document.title = `${verdict.outcome}: chatload`;
    say(at("run"), `${run.scenario}: ${run.arrivals} arrivals at ${Number(run.rate.toPrecision(6))}/s`);
    say(at("about"), `${run.host}; ${state}, ${duration(snapshot.now.at_s)}${run.run_time_s ? ` of ${duration(run.run_time_s)}` : ""}; objective ${run.objective}; run ${run.id}`);
    showVerdict(verdict, state);
    showHealth(snapshot.health);
    showKeys(snapshot, summary, settled);
    rows(at("clauses"), verdict.objective.map((c) => [c.clause, c.answer, c.reason.replace(`${c.clause} ${c.answer}: `, "")]));
    const counted = Object.entries(snapshot.outcomes);
    rows(at("outcomes"), counted.map(([name, arrivals]) => [name, count(arrivals), share(arrivals / summary.planned)]));
    showWhere(snapshot.where);
    charts.update(snapshot);
  }

  const duration = (seconds) => (seconds < 60 ? `${Math.floor(seconds)} s` : seconds < 3600 ? `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`);

  function showVerdict(verdict, state) {
    at("verdict").className = `verdict ${verdict.outcome.split(" ")[0]}`;
    const sofar = state === "finished" || verdict.outcome === "not decided yet" ? "" : " so far";
    say(at("outcome"), `${verdict.outcome.toUpperCase()}${sofar}`);
    say(at("meaning"), state === "warming up" ? "The run is warming up; nothing is measured yet." : MEANINGS[verdict.outcome]);
    list(at("reasons"), verdict.reasons);
  }

  function showHealth(health) {
    at("lamp").className = `lamp ${health.lamp}`;
    say(at("health"), `Generator: ${{ good: "good", warn: "near its limits", bad: "not to be trusted" }[health.lamp]}`);
    list(at("why"), health.why);
    const processes = `${health.workers} process${health.workers === 1 ? "" : "es"}${health.lost.length ? `, ${health.lost.length} lost` : ""}`;
    say(at("facts"), `lag p99 ${ms(health.lag_p99_ms)} ms; ${share(health.cpu_share)} of a core; ${count(health.dropped)} dropped; ${processes}`);
  }

  function showKeys(snapshot, summary, settled) {
    const last = (name) => snapshot.timeline[name].at(-1);
    const lately = (name) => (snapshot.state !== "finished" && known(last(name)) ? `lately ${rate(last(name))}/s` : "");
    key("offered", settled ? `${rate(summary.offered_rate)}/s` : "-", lately("offered"));
    key("served", settled ? `${rate(summary.throughput.value)}/s` : "-", lately("served"));
    key("in_flight", count(snapshot.now.in_flight), "");
    for (const name of PERCENTILES) {
      const found = summary.latency_ms[name];
      // Where so many got no answer, the percentile is one of them: it has no size.
      const unanswered = !known(found.value) && (known(found.low) || summary.errors.value > 1 - name.slice(1) / 100);
      const note = interval(found, ms) || (summary.planned < NEEDED[name] ? `needs ${count(NEEDED[name])} arrivals` : "");
      key(name, unanswered ? "no answer" : `${ms(found.value)}${known(found.value) ? " ms" : ""}`, note);
    }
    key("max", `${ms(summary.latency_ms.max.value)}${known(summary.latency_ms.max.value) ? " ms" : ""}`, known(summary.latency_ms.max.value) ? "of the answers" : "");
    key("errors", share(summary.errors.value), interval(summary.errors, share));
    key("accuracy", share(summary.accuracy.share.value), interval(summary.accuracy.share, share));
    const part = snapshot.judged.share < 1 ? `; percentiles from ${share(snapshot.judged.share)} of them, drawn at random` : "";
    const text = `${count(summary.planned)} arrivals measured, of all before second ${Math.floor(snapshot.judged.complete_s)}${part}. Small print: 95 % intervals.`;
    say(at("complete"), settled ? text : "");
  }

  function showWhere(where) {
    const parts = Object.entries(where), bar = at("bar");
    rows(at("where"), parts.map(([name, part]) => [name, ms(part.mean), ms(part.p50)]), PARTS);
    const total = parts.reduce((sum, [, part]) => sum + part.mean, 0);
    while (bar.children.length < parts.length) bar.append(document.createElement("span"));
    while (bar.children.length > parts.length) bar.lastChild.remove();
    parts.forEach(([, part], number) => {
      bar.children[number].style.width = `${(100 * part.mean) / total}%`;
      bar.children[number].style.background = `var(--${PARTS[number]})`;
    });
  }

  function showSearch(search) {
    at("search").hidden = !search;
    if (!search) return;
    const answer = search.answer && known(search.answer.rate) ? `: ${rate(search.answer.rate)}/s` : "";
    const [low, high] = search.bracket || [];
    const between = answer || !known(low) || !known(high) ? "" : `; between ${rate(low)} and ${rate(high)}/s`;
    say(at("search-state"), `${search.state}${answer}${between}`);
    const cell = (found) => (found && known(found.value) ? `${ms(found.value)} (${interval(found, ms)})` : "-");
    rows(at("probes"), search.probes.map((probe) => [rate(probe.rate), cell(probe.p.p50), cell(probe.p.p99), probe.answer]));
    charts.search(search.probes);
    if (answer && !plan.capacity.value) {
      plan.capacity.value = search.answer.rate;
      reckon();
    }
  }

  // --- charts --------------------------------------------------------------------------------------------------

  const colour = (role) => getComputedStyle(document.documentElement).getPropertyValue(`--${role}`).trim();
  const numbers = (values) => values.map((value) => (known(value) ? value : NaN));
  const NICE = [1, 2, 5], FINE = [1, 1.5, 2, 3, 4, 5, 6, 8, 10, 20];

  function ticksBetween(low, high) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const digit of high / low > 1000 ? [1] : NICE) ticks.push(Number((digit * 10 ** power).toPrecision(3)));
    }
    return ticks;
  }
  const niceBelow = (value) => NICE.map((d) => d * 10 ** Math.floor(Math.log10(value))).filter((v) => v <= value).at(-1);
  const niceAbove = (value, steps = [...NICE, 10, 20]) => steps.map((d) => d * 10 ** Math.floor(Math.log10(value))).find((v) => v >= value * 1.02);

  function font(axis) {
    axis.setv({ axis_label_text_font_style: "normal", axis_label_text_font_size: "12px", axis_label_text_color: colour("muted"), major_label_text_color: colour("text"), major_label_text_font_size: "12px", axis_line_color: colour("muted"), major_tick_line_color: colour("muted"), minor_tick_line_color: null });
  }

  class Chart {
    constructor(name, columns, { log = false, x = "seconds since the start" } = {}) {
      Object.assign(this, { name, columns, log, place: at(`chart-${name}`), marked: 0, span: "" });
      this.source = new Bokeh.ColumnDataSource({ data: Object.fromEntries(["t", ...this.fields()].map((field) => [field, []])) });
      this.x = new Bokeh.Range1d({ start: 0, end: 10 });
      this.y = new Bokeh.Range1d({ start: log ? 0.1 : 0, end: log ? 10 : 1 });
      this.plot = Bokeh.Plotting.figure({ sizing_mode: "stretch_both", x_range: this.x, y_range: this.y, y_axis_type: log ? "log" : "linear", tools: [], toolbar_location: null, background_fill_color: colour("surface"), border_fill_color: colour("surface"), outline_line_color: null, min_border_right: 14 });
      for (const axis of [...this.plot.below, ...this.plot.left]) font(axis);
      this.plot.xaxis.axis_label = x;
      for (const grid of [this.plot.xgrid, this.plot.ygrid]) grid.grid_line_color = colour("grid");
      this.warmup = new Bokeh.BoxAnnotation({ left: 0, right: 0, fill_color: colour("grey"), fill_alpha: 0.14, line_color: null });
      this.plot.add_layout(this.warmup);
      // Bokeh's own ticks of a log axis crowd a chart this low; until there are values they stand at 0.1 to 10.
      if (log) this.scale([0.2, 5]);
      this.draw();
    }

    fields() {
      return this.columns;
    }

    draw() {
      const lines = this.columns.map((column) => this.plot.line({ field: "t" }, { field: column }, { source: this.source, line_color: colour(COLOURS[column]), line_width: 2 }));
      const tips = [["second", "@t{0,0}"], ...this.columns.map((column) => [column, `@{${column}}{0,0.[000]}`])];
      this.plot.add_tools(new Bokeh.HoverTool({ renderers: [lines[0]], mode: "vline", tooltips: tips }));
    }

    async open() {
      this.view = await Bokeh.Plotting.show(this.plot, this.place);
    }

    update(snapshot) {
      const line = snapshot.timeline;
      this.source.data = { t: line.t_s, ...Object.fromEntries(this.columns.map((column) => [column, numbers(line[column])])) };
      this.x.end = Math.max(10, snapshot.run.run_time_s || niceAbove(line.t_s.at(-1) || 1, FINE));
      this.warmup.right = Math.min(snapshot.run.warmup_s, this.x.end);
      this.scale(this.columns.flatMap((column) => line[column]).filter(known));
      for (const mark of snapshot.marks.slice(this.marked)) this.plot.add_layout(new Bokeh.Span({ location: mark.at_s, dimension: "height", line_color: colour("muted"), line_dash: "dashed", line_width: 1.5 }));
      this.marked = snapshot.marks.length;
    }

    scale(values) {
      const seen = this.log ? values.filter((value) => value > 0) : values;
      if (!seen.length) return;
      // A line that hardly moves gets an octave of its own, so that it has ticks around it.
      const high = niceAbove(Math.max(...seen, this.log ? 0 : 0.1), this.log ? undefined : FINE), low = this.log ? niceBelow(Math.min(...seen) / 1.5) : 0;
      if (this.span === `${low} ${high}`) return;
      this.span = `${low} ${high}`;
      this.y.setv({ start: low * 0.9, end: high });
      if (!this.log) return;
      const ticks = ticksBetween(low, high);
      this.plot.yaxis.ticker = new Bokeh.FixedTicker({ ticks });
      this.plot.yaxis.major_label_overrides = new Map(ticks.map((tick) => [tick, tick.toLocaleString("en-GB", { maximumSignificantDigits: 3 })]));
    }
  }

  class Curve extends Chart {
    fields() {
      return this.columns.flatMap((name) => [name, `${name} low`, `${name} high`, `${name} fill`]);
    }

    draw() {
      for (const name of this.columns) {
        this.plot.segment({ field: "t" }, { field: `${name} low` }, { field: "t" }, { field: `${name} high` }, { source: this.source, line_color: colour(COLOURS[name]), line_width: 2, line_alpha: 0.6 });
        this.plot.scatter({ field: "t" }, { field: name }, { source: this.source, size: 9, line_color: colour(COLOURS[name]), fill_color: { field: `${name} fill` } });
      }
    }

    update(probes) {
      const data = { t: probes.map((probe) => probe.rate) };
      const values = [];
      for (const name of this.columns) {
        const part = (which) => numbers(probes.map((probe) => probe.p[name]?.[which]));
        Object.assign(data, { [name]: part("value"), [`${name} low`]: part("low"), [`${name} high`]: part("high") });
        data[`${name} fill`] = probes.map((probe) => colour(probe.answer === "pass" ? COLOURS[name] : "surface"));
        values.push(...part("value"), ...part("low"), ...part("high"));
      }
      this.source.data = data;
      this.x.end = 1.1 * Math.max(1, ...data.t);
      this.scale(values.filter(Number.isFinite));
    }
  }

  // One chart a frame, and only those that are in sight: drawing all at once would make scrolling stutter.
  const charts = {
    drawn: new Map(),
    waiting: new Map(),
    frame: 0,
    sight: new Set(),
    snapshot: null,
    probes: null,

    async build() {
      for (const chart of this.drawn.values()) chart.view?.remove();
      this.drawn.clear();
      for (const chart of [new Chart("latency", PERCENTILES, { log: true }), new Chart("rate", ["offered", "served"]), new Chart("in_flight", ["in_flight"]), new Chart("lag", ["lag_p99"], { log: true })]) {
        chart.place.replaceChildren();
        this.drawn.set(chart.name, chart);
        await chart.open();
      }
      document.documentElement.dataset.drawn = dark.matches ? "dark" : "light";
      if (this.snapshot) this.update(this.snapshot);
      if (this.probes) this.search(this.probes);
    },

    update(snapshot) {
      this.snapshot = snapshot;
      for (const name of this.drawn.keys()) if (name !== "search") this.later(name, snapshot);
    },

    async search(probes) {
      this.probes = probes;
      if (!this.drawn.has("search")) {
        const chart = new Curve("search", ["p50", "p99"], { log: true, x: "offered rate, /s" });
        this.drawn.set("search", chart);
        chart.place.replaceChildren();
        await chart.open();
      }
      this.later("search", probes);
    },

    later(name, found) {
      this.waiting.set(name, found);
      if (!this.frame) this.frame = requestAnimationFrame(() => this.next());
    },

    next() {
      this.frame = 0;
      const name = [...this.waiting.keys()].find((waiting) => this.sight.has(waiting));
      if (!name) return;
      this.drawn.get(name)?.update(this.waiting.get(name));
      this.waiting.delete(name);
      if (this.waiting.size) this.frame = requestAnimationFrame(() => this.next());
    },
  };

  const sight = new IntersectionObserver((entries) => {
    for (const entry of entries) charts.sight[entry.isIntersecting ? "add" : "delete"](entry.target.id.replace("chart-", ""));
    if (charts.waiting.size && !charts.frame) charts.frame = requestAnimationFrame(() => charts.next());
  });
  for (const place of document.querySelectorAll(".chart")) sight.observe(place);

  // --- controls ------------------------------------------------------------------------------------------------

  const running = () => ["spawning", "running"].includes(settings?.state);

  function showControls() {
    if (!filled) {
      for (const name of ["rate", "objective", "run_time", "warmup", "host"]) form[name].value = settings[name] ?? "";
      filled = true;
    }
    const enabled = { start: !running(), edit: running(), stop: running(), search: !running(), "end-search": true };
    for (const button of form.querySelectorAll("button")) button.disabled = !enabled[button.value];
    at("contact").hidden = !settings.mistake;
    say(at("contact"), settings.mistake || "");
  }

  async function post(path, body, type) {
    const answer = await fetch(path, { method: "POST", body, headers: type ? { "Content-Type": type } : {} });
    const text = await answer.text();
    const found = text.startsWith("{") ? JSON.parse(text) : { error: text };
    return found.error || (found.success === false ? found.message : "");
  }

  const ACTIONS = {
    start: () => {
      const users = Math.max(Math.round(form.rate.value / settings.stream_rate), 1);
      const fields = Object.fromEntries(["rate", "objective", "run_time", "warmup", "host"].map((name) => [name, form[name].value]));
      return post("swarm", new URLSearchParams({ ...fields, user_count: users, spawn_rate: users }));
    },
    edit: () => post("chatload/rate", JSON.stringify({ rate: Number(form.rate.value) }), "application/json"),
    stop: () => post("stop", ""),
    search: () => post("chatload/search", JSON.stringify({ action: "start", objective: form.objective.value }), "application/json"),
    "end-search": () => post("chatload/search", JSON.stringify({ action: "stop" }), "application/json"),
  };
  const DONE = { start: "The run starts.", edit: "The rate changes.", stop: "The run stops; answers still out are waited for.", search: "The search starts.", "end-search": "The search ends; its probes are kept." };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const action = event.submitter?.value || (running() ? "edit" : "start");
    try {
      say(at("said"), (await ACTIONS[action]()) || DONE[action]);
    } catch (error) {
      say(at("said"), `Locust did not answer (${error.message}).`);
    }
  });

  // --- planning ------------------------------------------------------------------------------------------------

  async function reckon() {
    for (const label of plan.querySelectorAll("[data-by]")) {
      label.hidden = label.dataset.by !== plan.by.value;
      label.querySelector("input").disabled = label.hidden;
    }
    if (!plan.checkValidity()) return;
    const [region, instance] = plan.instance.value.split(" ");
    const answer = await fetch(`chatload/plan?${new URLSearchParams({ ...Object.fromEntries(new FormData(plan)), region, instance })}`);
    const bill = await answer.json();
    if (bill.error) return say(at("bill"), bill.error);
    const rest = known(bill.scaled_dollars) ? `; ${dollars(bill.scaled_dollars)} with as many as each hour needs; ${dollars(bill.per_million)} per million questions; ${share(bill.utilisation)} used` : "";
    say(at("bill"), `${count(bill.instances)} × ${instance} at $${bill.dollars_per_hour} an hour (${region}): ${dollars(bill.dollars)} a month${rest}.`);
  }
  plan.addEventListener("input", reckon);
  plan.addEventListener("submit", (event) => event.preventDefault());

  // --- once a second -------------------------------------------------------------------------------------------

  async function look() {
    try {
      const answer = await fetch("chatload/data");
      if (!answer.ok) throw new Error(`${answer.status}`);
      const found = await answer.json();
      settings = found.settings;
      showControls();
      if (found.snapshot) show((shown = found.snapshot));
      showSearch(found.search);
      document.documentElement.dataset.seen = String(Number(document.documentElement.dataset.seen || 0) + 1);
    } catch (error) {
      at("contact").hidden = false;
      say(at("contact"), `Locust does not answer (${error.message}); the figures below are its last ones.`);
    }
    setTimeout(look, 1000);
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => charts.build());
  at("clauses").dataset.words = "1 2";
  at("probes").dataset.words = "3";
  reckon();
  charts.build().then(look);
})();
