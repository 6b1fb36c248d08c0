// From the data of a chart to ECharts' options. Pure functions: no page, no state.

const SYMBOLS = ["circle", "rect", "triangle", "diamond", "roundRect", "pin"];
const LOG_FROM = 20; // times the smallest value: then a logarithmic axis shows more
const NARROW = 480; // pixels
const TOOLTIP_WIDTH = 46; // characters
const MANY = 300; // points, which are drawn smaller

export function optionsOf(kind, data, chosen, colours, width) {
  const options = KINDS[kind](data, chosen, colours, width);
  return {
    aria: { enabled: true },
    animation: false,
    textStyle: { fontFamily: colours.font, color: colours.ink },
    grid: { left: 6, right: 18, top: 34, bottom: 6, outerBoundsMode: "same", outerBoundsContain: "all" },
    ...options,
    legend: options.legend && { type: "scroll", top: 0, left: 0, right: 0, itemWidth: 18, itemHeight: 10, textStyle: { color: colours.ink }, inactiveColor: colours.faint, pageTextStyle: { color: colours.muted }, pageIconColor: colours.ink, pageIconInactiveColor: colours.faint, ...options.legend },
    tooltip: {
      // HTML would need inline styles, which the content security policy forbids.
      renderMode: "richText",
      confine: true,
      backgroundColor: colours.card,
      borderColor: colours.line,
      borderWidth: 1,
      padding: 8,
      textStyle: { color: colours.ink, fontSize: 12, fontFamily: colours.font },
      formatter: ({ data: point }) => (point?.tip ? point.tip.flatMap((line) => wrapped(line)).join("\n") : ""),
    },
  };
}

// --- Numbers ---

// As tuning.formatting.significant writes it.
function significant(value) {
  if (value === 0) return "0";
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

// How values of a measure are shown: seconds as milliseconds where all are below one.
function scale(measure, values) {
  const known = values.filter((value) => value !== null);
  const inMilliseconds = measure.unit === "s" && known.every((value) => Math.abs(value) < 1);
  const [factor, unit] = inMilliseconds ? [1000, "ms"] : [1, measure.unit];
  const spread = Math.max(...known) / Math.min(...known);
  return {
    title: unit ? `${measure.label} (${unit})` : measure.label,
    of: (value) => (value === null ? null : value * factor),
    text: (value) => (value === null ? "–" : `${significant(value * factor)} ${unit}`.trim()),
    type: Math.min(...known) > 0 && spread >= LOG_FROM ? "log" : "value",
  };
}

// Canvas text does not wrap by itself.
function wrapped(text) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines[lines.length - 1];
    if (last && last.length + word.length >= TOOLTIP_WIDTH) lines.push(word);
    else lines[lines.length - 1] = last ? `${last} ${word}` : word;
  }
  return lines;
}

// A heading that stands above a narrow axis.
function folded(text) {
  const parts = text.split(/(?<=[- ])/);
  const lines = [""];
  for (const part of parts) {
    if (lines.at(-1) && lines.at(-1).length + part.length > 13) lines.push(part);
    else lines[lines.length - 1] += part;
  }
  return lines.map((line) => line.trim()).join("\n");
}

function axis(title, colours, more = {}) {
  return {
    type: "value",
    scale: true,
    name: title,
    nameLocation: "middle",
    nameGap: 26,
    nameMoveOverlap: true,
    nameTextStyle: { color: colours.muted, fontSize: 12 },
    axisLine: { lineStyle: { color: colours.faint } },
    axisTick: { lineStyle: { color: colours.faint } },
    axisLabel: { color: colours.muted, hideOverlap: true },
    splitLine: { lineStyle: { color: colours.line } },
    ...more,
  };
}

// There may be a thousand experiments, so that they come as rows without names.
const experiment = ([id, number, role, outcome, settings, ...values]) => ({ id, number, role, outcome, settings, values });
const named = (one) => `Experiment ${one.number}${one.role ? ` (${one.role})` : ""}`;

// --- Kinds ---

function history(data, chosen, colours) {
  const experiments = data.experiments.map(experiment).map((one) => ({ ...one, value: one.values[0] }));
  const shown = scale(data.measure, [...experiments.map((one) => one.value), data.baseline]);
  const point = (one, y) => ({
    value: [one.number, y],
    experiment: one.id,
    tip: [named(one), one.value === null ? one.outcome : `${shown.text(one.value)}, ${one.outcome}`, one.settings],
  });
  const measured = experiments.filter((one) => one.value !== null);
  const isSuccess = (one) => one.outcome.startsWith("success");
  const steps = data.best.map(([number, value]) => [number, shown.of(value)]);
  if (steps.length) steps.push([data.last, steps[steps.length - 1][1]]);
  const first = experiments[0].number;
  const series = [
    { name: "Best so far", type: "line", step: "end", symbol: "none", silent: true, lineStyle: { width: 2, color: colours.best }, itemStyle: { color: colours.best }, data: steps },
    { name: "Success", type: "scatter", symbolSize: measured.length > MANY ? 4 : 7, itemStyle: { color: colours.series[0] }, data: measured.filter(isSuccess).map((one) => ({ ...point(one, shown.of(one.value)), ...(one.role === "best" ? { symbol: "diamond", symbolSize: 13, itemStyle: { color: colours.best } } : {}) })) },
    { name: "SLO violated", type: "scatter", symbol: "emptyTriangle", symbolSize: 9, itemStyle: { color: colours.series[3] }, data: measured.filter((one) => !isSuccess(one)).map((one) => point(one, shown.of(one.value))) },
    { name: "No value", type: "scatter", symbol: CROSS, symbolSize: 9, yAxisIndex: 1, itemStyle: { color: colours.bad }, data: experiments.filter((one) => one.value === null).map((one) => point(one, 0)) },
  ].filter((one) => one.data.length);
  if (data.baseline !== null) {
    series.push({ name: "Baseline", type: "line", symbol: "none", silent: true, lineStyle: { type: "dashed", width: 1.5, color: colours.baseline }, itemStyle: { color: colours.baseline }, data: [[first, shown.of(data.baseline)], [data.last, shown.of(data.baseline)]] });
  }
  return {
    legend: {},
    xAxis: axis("Experiment", colours, { minInterval: 1, splitLine: { show: false } }),
    yAxis: [axis(shown.title, colours, { type: shown.type }), { type: "value", min: 0, max: 1, show: false }],
    series,
  };
}

const CROSS = "path://M2,0 L10,8 L18,0 L20,2 L12,10 L20,18 L18,20 L10,12 L2,20 L0,18 L8,10 L0,2 Z";

function curves(data, chosen, colours) {
  const position = Math.max(0, data.latencies.findIndex((one) => one.name === chosen.latency));
  const scenario = chosen.scenario ?? Object.keys(data.curves[0].points)[0];
  const drawn = data.curves.filter((curve) => curve.points[scenario]);
  const points = drawn.flatMap((curve) => curve.points[scenario]);
  const x = scale(data.throughput, points.map((point) => point[1]));
  const y = scale(data.latencies[position], points.map((point) => point[2 + position]));
  return {
    legend: {},
    xAxis: axis(x.title, colours, { scale: false }),
    yAxis: axis(y.title, colours, { type: y.type, scale: false }),
    series: drawn.map((curve, index) => ({
      name: curve.label,
      type: "line",
      symbol: SYMBOLS[index % SYMBOLS.length],
      symbolSize: curve.role ? 9 : 7,
      z: curve.role ? 4 : 2,
      ...coloured(curve, index, colours),
      data: curve.points[scenario].map((point) => ({
        value: [x.of(point[1]), y.of(point[2 + position])],
        experiment: curve.id,
        tip: [`Experiment ${curve.label}`, `Concurrency ${point[0]}`, x.text(point[1]), `${data.latencies[position].label} ${y.text(point[2 + position])}`],
      })),
    })),
  };
}

// The best and the baseline stand out; the others share the palette.
function coloured(curve, index, colours) {
  const others = colours.series.filter((colour) => colour !== colours.best);
  const colour = colours[curve.role] ?? others[index % others.length];
  const type = curve.role === "baseline" ? "dashed" : "solid";
  return { itemStyle: { color: colour }, lineStyle: { color: colour, type, width: curve.role ? 3 : 1.5 } };
}

function pareto(data, chosen, colours) {
  const position = Math.max(0, data.latencies.findIndex((one) => one.name === chosen.latency));
  const latency = data.latencies[position];
  const experiments = data.points.map(experiment);
  const x = scale(data.throughput, experiments.map((one) => one.values[0]));
  const y = scale(latency, experiments.map((one) => one.values[1 + position]));
  const place = (one) => [x.of(one.values[0]), y.of(one.values[1 + position])];
  const point = (one) => ({
    value: place(one),
    experiment: one.id,
    tip: [named(one), x.text(one.values[0]), `${latency.label} ${y.text(one.values[1 + position])}`, one.outcome, one.settings],
  });
  const byId = new Map(experiments.map((one) => [one.id, one]));
  const front = data.fronts[latency.name].map((id) => byId.get(id)).reverse();
  const scatter = (name, points, more) => ({ name, type: "scatter", data: points.map(point), ...more });
  const others = experiments.filter((one) => !one.role && !front.includes(one));
  return {
    legend: {},
    xAxis: axis(x.title, colours),
    yAxis: axis(y.title, colours, { type: y.type }),
    series: [
      scatter("Others", others, { symbolSize: others.length > MANY ? 4 : 6, itemStyle: { color: colours.faint } }),
      { name: "On the front", type: "line", step: "start", symbol: "circle", symbolSize: 8, itemStyle: { color: colours.series[0] }, lineStyle: { color: colours.series[0], width: 2 }, data: front.map(point) },
      scatter("Best", experiments.filter((one) => one.role === "best"), { symbol: "diamond", symbolSize: 15, z: 5, itemStyle: { color: colours.best } }),
      scatter("Baseline", experiments.filter((one) => one.role === "baseline"), { symbol: "rect", symbolSize: 11, z: 5, itemStyle: { color: colours.baseline } }),
    ].filter((one) => one.data.length),
  };
}

// The front of a task's own objectives, two of them at a time. Of more than two, the front is no line.
function objectives(data, chosen, colours) {
  const position = Math.max(1, data.measures.findIndex((one) => one.name === chosen.against));
  const experiments = data.points.map(experiment);
  const x = scale(data.measures[0], experiments.map((one) => one.values[0]));
  const y = scale(data.measures[position], experiments.map((one) => one.values[position]));
  const point = (one) => ({
    value: [x.of(one.values[0]), y.of(one.values[position])],
    experiment: one.id,
    tip: [named(one), ...data.measures.map((measure, index) => `${measure.label} ${scale(measure, [one.values[index]]).text(one.values[index])}`), one.outcome, one.settings],
  });
  const byId = new Map(experiments.map((one) => [one.id, one]));
  const front = data.front.map((id) => byId.get(id)).filter(Boolean).sort((a, b) => a.values[0] - b.values[0]);
  const others = experiments.filter((one) => !one.role && !front.includes(one));
  const scatter = (name, points, more) => ({ name, type: "scatter", data: points.map(point), ...more });
  const isLine = data.measures.length === 2;
  return {
    legend: {},
    xAxis: axis(x.title, colours, { type: x.type }),
    yAxis: axis(y.title, colours, { type: y.type }),
    series: [
      scatter("Others", others, { symbolSize: others.length > MANY ? 4 : 6, itemStyle: { color: colours.faint } }),
      { name: "On the front", type: isLine ? "line" : "scatter", symbol: "circle", symbolSize: 8, itemStyle: { color: colours.series[0] }, lineStyle: { color: colours.series[0], width: 2 }, data: front.map(point) },
      scatter("Knee", experiments.filter((one) => one.role === "best"), { symbol: "diamond", symbolSize: 15, z: 5, itemStyle: { color: colours.best } }),
      scatter("Baseline", experiments.filter((one) => one.role === "baseline"), { symbol: "rect", symbolSize: 11, z: 5, itemStyle: { color: colours.baseline } }),
    ].filter((one) => one.data.length),
  };
}

function hypervolume(data, chosen, colours) {
  const percent = (share) => `${Math.round(share * 100)} %`;
  return {
    xAxis: axis("Experiment", colours, { minInterval: 1, splitLine: { show: false } }),
    yAxis: axis("Share of the space", colours, { min: 0, scale: false, axisLabel: { color: colours.muted, formatter: percent, hideOverlap: true } }),
    series: [{
      name: "Hypervolume",
      type: "line",
      step: "end",
      symbolSize: data.steps.length > MANY ? 3 : 6,
      itemStyle: { color: colours.series[0] },
      lineStyle: { width: 2, color: colours.series[0] },
      data: data.steps.map(([number, share, id]) => ({ value: [number, share], experiment: id, tip: [`Experiment ${number}`, `Hypervolume ${(share * 100).toFixed(1)} %`] })),
    }],
  };
}

function parallel(data, chosen, colours, width) {
  const values = data.lines.map((line) => line.value).filter((value) => value !== null);
  const shown = scale(data.measure, values);
  const last = data.axes.length;
  const line = (one) => ({
    value: [...one.settings, shown.of(one.value)],
    experiment: one.id,
    tip: [named(one), one.value === null ? one.outcome : `${shown.text(one.value)}, ${one.outcome}`, data.axes.map((flag, index) => `${flag.flag}=${one.settings[index]}`).join(" ")],
  });
  const titled = (title) => ({ name: title, nameLocation: "end", nameGap: 10, nameTextStyle: { color: colours.ink, fontSize: 11, lineHeight: 13 }, axisLine: { lineStyle: { color: colours.faint } }, axisTick: { lineStyle: { color: colours.faint } }, axisLabel: { color: colours.ink, fontSize: 11, hideOverlap: true, textBorderColor: colours.card, textBorderWidth: 3 } });
  const series = { type: "parallel", smooth: false, inactiveOpacity: 0.04, activeOpacity: 0.9 };
  const scaleColours = data.direction === "maximize" ? colours.scale : [...colours.scale].reverse();
  const isNarrow = width < NARROW;
  return {
    legend: undefined,
    parallel: isNarrow
      ? { layout: "vertical", left: 12, right: 110, top: 24, bottom: 24 }
      : { left: 40, right: 70, top: 48, bottom: 30 },
    parallelAxis: [
      ...data.axes.map((flag, dim) => ({ dim, type: flag.type, data: flag.values, scale: true, ...titled(folded(flag.flag)) })),
      { dim: last, type: shown.type, scale: true, ...titled(folded(shown.title)) },
    ],
    visualMap: values.length ? { show: false, seriesIndex: 1, dimension: last, min: Math.min(...values.map(shown.of)), max: Math.max(...values.map(shown.of)), inRange: { color: scaleColours } } : undefined,
    series: [
      { ...series, name: "Failed", lineStyle: { color: colours.faint, width: 1, opacity: 0.6 }, data: data.lines.filter((one) => one.value === null).map(line) },
      { ...series, name: "Measured", lineStyle: { width: 1.6, opacity: 0.85 }, data: data.lines.filter((one) => one.value !== null).reverse().map(line) },
    ],
  };
}

function importance(data, chosen, colours) {
  const percent = (share) => `${Math.round(share * 100)} %`;
  return {
    grid: { left: 6, right: 50, top: 6, bottom: 6, outerBoundsMode: "same", outerBoundsContain: "all" },
    xAxis: axis("Share of the variance", colours, { min: 0, max: 1, scale: false, axisLabel: { color: colours.muted, formatter: percent, hideOverlap: true } }),
    yAxis: axis("", colours, { type: "category", inverse: true, data: data.flags.map((one) => one.flag), axisLabel: { color: colours.ink, width: 150, overflow: "truncate" } }),
    series: [
      {
        type: "bar",
        barMaxWidth: 22,
        data: data.flags.map((one) => ({
          value: one.share,
          itemStyle: { color: one.flat ? colours.faint : colours.series[0] },
          tip: [`${one.flag}: ${percent(one.share)}${one.flat ? ", flat" : ""}`, `95 % interval ${percent(one.low)} to ${percent(one.high)}`, "Means:", ...one.groups],
        })),
      },
      {
        type: "custom",
        z: 5,
        silent: true,
        renderItem: whisker,
        encode: { x: [1, 2], y: 0 },
        itemStyle: { color: colours.ink },
        data: data.flags.map((one, row) => [row, one.low, one.high]),
      },
      {
        type: "scatter",
        symbolSize: 1,
        silent: true,
        itemStyle: { color: colours.ink },
        label: { show: true, position: "right", color: colours.ink, formatter: ({ dataIndex }) => (data.flags[dataIndex].flat ? "flat" : percent(data.flags[dataIndex].share)) },
        data: data.flags.map((one, row) => [one.high, row]),
      },
    ],
  };
}

// An interval as a line with a stop at either end.
function whisker(params, api) {
  const [low, y] = api.coord([api.value(1), api.value(0)]);
  const [high] = api.coord([api.value(2), api.value(0)]);
  const style = { stroke: api.visual("color"), lineWidth: 1.5 };
  const line = (x1, y1, x2, y2) => ({ type: "line", shape: { x1, y1, x2, y2 }, style });
  return { type: "group", children: [line(low, y, high, y), line(low, y - 5, low, y + 5), line(high, y - 5, high, y + 5)] };
}

const ROWS_IN_SIGHT = 24;

function timeline(data, chosen, colours) {
  const numbers = data.experiments.map((one) => String(one.number));
  const spent = (milliseconds) => `${significant(milliseconds / 1000)} s`;
  const phases = data.phases.map((phase, index) => ({
    name: phase[0].toUpperCase() + phase.slice(1),
    type: "custom",
    clip: true,
    renderItem: bar,
    encode: { x: [1, 2], y: 0 },
    itemStyle: { color: [colours.series[4], colours.series[0], colours.faint][index] },
    data: data.experiments.flatMap((one, row) => one.bars.filter(([number]) => number === index).map(([, start, end]) => ({
      value: [row, start, end],
      experiment: one.id,
      tip: [named(one), `${phase} ${spent(end - start)}`, `attempt ${one.attempt}, ${one.outcome}`],
    }))),
  }));
  const marks = (name, chosenOnes, more) => ({ name, type: "scatter", z: 5, ...more, data: chosenOnes });
  const failures = data.experiments.flatMap((one, row) => (one.failed ? [{ value: [one.bars.at(-1)[2], row], experiment: one.id, tip: [named(one), one.outcome] }] : []));
  const retries = data.experiments.flatMap((one, row) => (one.attempt > 1 ? [{ value: [one.bars[0][1], row], experiment: one.id, tip: [named(one), `attempt ${one.attempt}`], label: { formatter: String(one.attempt) } }] : []));
  const isLong = numbers.length > ROWS_IN_SIGHT;
  return {
    legend: {},
    grid: { left: 6, right: isLong ? 44 : 18, top: 34, bottom: 6, outerBoundsMode: "same", outerBoundsContain: "all" },
    dataZoom: isLong ? [{ type: "slider", yAxisIndex: 0, filterMode: "weakFilter", right: 4, width: 18, startValue: numbers.length - ROWS_IN_SIGHT, endValue: numbers.length - 1, brushSelect: false, showDetail: false, showDataShadow: false, borderColor: colours.line, fillerColor: colours.line, handleStyle: { color: colours.muted } }] : [],
    xAxis: axis("", colours, { type: "time" }),
    yAxis: axis("Experiment", colours, { type: "category", inverse: true, data: numbers, splitLine: { show: false } }),
    series: [
      ...phases,
      marks("Failure", failures, { symbol: CROSS, symbolSize: 9, itemStyle: { color: colours.bad } }),
      marks("Repeated attempt", retries, { symbol: "circle", symbolSize: 1, itemStyle: { color: colours.ink }, label: { show: true, position: "left", color: colours.ink } }),
    ].filter((one) => one.data.length),
  };
}

function bar(params, api) {
  const [x, y] = api.coord([api.value(1), api.value(0)]);
  const [end] = api.coord([api.value(2), api.value(0)]);
  const height = Math.min(16, api.size([0, 1])[1] * 0.7);
  return { type: "rect", shape: { x, y: y - height / 2, width: Math.max(end - x, 1), height }, style: { fill: api.visual("color") } };
}

// Best so far of several tasks, over experiments or over time.
function progress(data, chosen, colours) {
  const shown = scale(data.measure, data.tasks.flatMap((task) => task.steps.map((step) => step[2])));
  const overTime = chosen.over === "time";
  const longest = Math.max(...data.tasks.map((task) => task.last[1]));
  const [seconds, unit] = longest > 7200 ? [3600, "h"] : [60, "min"];
  const at = (step) => (overTime ? step[1] / seconds : step[0]);
  return {
    legend: {},
    xAxis: axis(overTime ? `Time since the start (${unit})` : "Experiment", colours, { scale: false }),
    yAxis: axis(shown.title, colours, { type: shown.type }),
    series: data.tasks.map((task, index) => ({
      name: task.label,
      type: "line",
      step: "end",
      symbol: SYMBOLS[index % SYMBOLS.length],
      symbolSize: 7,
      ...coloured({ role: "" }, index, colours),
      data: [
        ...task.steps.map((step) => ({ value: [at(step), shown.of(step[2])], experiment: step[3], tip: [task.label, `Experiment ${step[0]}`, shown.text(step[2])] })),
        { value: [at(task.last), shown.of(task.steps.at(-1)[2])], symbol: "none" },
      ],
    })),
  };
}

const KINDS = { history, curves, pareto, objectives, hypervolume, parallel, importance, timeline, progress };
