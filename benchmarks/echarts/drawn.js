"use strict";
// The report's figures drawn by ECharts, to measure it against plotly on the same numbers. Every `own` names a kind of
// chart that ECharts has no option for, so that code of ours has to draw it.
(function () {
  const root = document.documentElement;
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const own = new Set();
  const quiet = { fontSize: 12, color: "#5d6876" };
  const text = { fontFamily: '"PingFang SC", "Noto Sans CJK SC", "Microsoft YaHei", sans-serif', color: "#27303b" };
  const grid = { left: 12, right: 36, top: 44, bottom: 24, containLabel: true };
  const faint = { lineStyle: { color: "#e8ebef" } };

  function spoken(v, lang) {
    if (Array.isArray(v)) return v.map((x) => spoken(x, lang));
    if (v === null || typeof v !== "object") return v;
    if ("zh" in v && "en" in v && Object.keys(v).length === 2) return v[lang];
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, spoken(x, lang)]));
  }

  // What plotly reads as d3's format of numbers.
  function numbers(format) {
    if (format && format.includes("%")) {
      const digits = format.includes(".0") ? 0 : Number(format.match(/\.(\d)/)[1]);
      return (v) => Number((100 * v).toFixed(digits)) + "%";
    }
    if (format !== "~s") return (v) => Number(v.toFixed(3)).toLocaleString("en");
    return (v) => {
      const at = Math.abs(v) >= 1e9 ? [1e9, "G"] : Math.abs(v) >= 1e6 ? [1e6, "M"] : Math.abs(v) >= 1e3 ? [1e3, "k"] : [1, ""];
      return Number((v / at[0]).toPrecision(6)) + at[1];
    };
  }

  const labelled = (axis) => ({
    type: "category",
    data: axis.ticktext,
    inverse: axis.autorange === "reversed" || Boolean(axis.range && axis.range[0] > axis.range[1]),
    axisTick: { show: false },
    axisLine: faint,
    axisLabel: { interval: 0, width: 150, overflow: "break" },
  });
  const measured = (axis) => ({
    type: axis.type === "date" ? "time" : "value",
    min: axis.range ? axis.range[0] : undefined,
    max: axis.range ? axis.range[1] : undefined,
    name: axis.title && axis.title.text,
    nameLocation: "middle",
    nameGap: 28,
    nameTextStyle: quiet,
    splitNumber: 4,
    splitLine: faint,
    axisLabel: axis.type === "date" ? { formatter: "{MM}-{dd}", hideOverlap: true } : { formatter: numbers(axis.tickformat) },
  });

  function bars(data, layout) {
    const lying = data[0].orientation === "h";
    return {
      xAxis: lying ? measured(layout.xaxis) : labelled(layout.xaxis),
      yAxis: lying ? labelled(layout.yaxis) : measured(layout.yaxis),
      series: data.map((d) => ({
        type: "bar",
        name: d.name,
        stack: layout.barmode === "stack" ? "all" : undefined,
        itemStyle: { color: d.marker.color },
        label: { show: d.textposition !== "none", position: lying ? "right" : "top", formatter: (p) => d.text[p.dataIndex] },
        tooltip: { formatter: (p) => d.hovertext[p.dataIndex] },
        data: lying ? d.x : d.y,
      })),
    };
  }

  function lines(data, layout) {
    const series = data.map((d) => {
      if (d.fill) {
        own.add("interval of a line");
        const at = d.x.map((x, i) => [x, d.y[i]]);
        return {
          type: "custom",
          silent: true,
          data: [at.flat()],
          clip: true,
          renderItem: (params, api) => ({
            type: "polygon",
            shape: { points: at.map((p) => api.coord(p)) },
            style: { fill: d.fillcolor },
          }),
        };
      }
      return {
        type: "line",
        name: d.name,
        showSymbol: d.mode !== "lines",
        symbolSize: 6,
        step: d.line.shape === "hv" ? "end" : false,
        lineStyle: { width: 2.2, type: { dash: "dashed", dot: "dotted" }[d.line.dash] || "solid" },
        itemStyle: { color: d.line.color },
        data: d.x.map((x, i) => [x, d.y[i]]),
      };
    });
    const marks = (layout.shapes || []).map((s, i) => ({
      xAxis: s.x0,
      lineStyle: { color: s.line.color, type: "dotted" },
      label: { formatter: layout.annotations[i].text, color: s.line.color, distance: [4, -14 - 12 * (i % 8)] },
    }));
    if (marks.length) series[series.length - 1].markLine = { symbol: "none", data: marks, silent: true };
    return { xAxis: { ...measured(layout.xaxis), splitLine: { show: false } }, yAxis: measured(layout.yaxis), series: series, tooltip: { trigger: "axis" } };
  }

  function matrix([d], layout) {
    const cells = d.z.flatMap((row, y) => row.map((z, x) => [x, y, z]));
    const known = cells.map((c) => c[2]).filter((z) => z !== null);
    return {
      grid: { ...grid, top: 60 },
      xAxis: { ...labelled(layout.xaxis), position: "top", axisLabel: { interval: 0, hideOverlap: false } },
      yAxis: labelled(layout.yaxis),
      visualMap: { show: false, min: Math.min(...known), max: Math.max(...known), inRange: { color: d.colorscale.map((s) => s[1]) } },
      series: [
        {
          type: "heatmap",
          data: cells,
          itemStyle: { borderColor: "#fff", borderWidth: 2 },
          label: { show: true, formatter: (p) => d.text[p.data[1]][p.data[0]] },
          tooltip: { formatter: (p) => d.hovertext[p.data[1]][p.data[0]] },
        },
      ],
    };
  }

  function sankey([d]) {
    return {
      series: [
        {
          type: "sankey",
          layoutIterations: 0,
          nodeGap: 16,
          nodeWidth: 14,
          right: 110,
          data: d.node.label.map((name, i) => ({ name: String(i), itemStyle: { color: d.node.color[i] } })),
          label: { formatter: (p) => d.node.label[Number(p.name)] },
          links: d.link.source.map((s, i) => ({
            source: String(s),
            target: String(d.link.target[i]),
            value: d.link.value[i],
            lineStyle: { color: d.link.color[i], opacity: 1 },
            tooltip: { formatter: () => d.link.customdata[i] },
          })),
        },
      ],
    };
  }

  function intervals([d], layout) {
    own.add("number with its interval");
    const ends = d.x.map((x, i) => [x - d.error_x.arrayminus[i], x + d.error_x.array[i], d.y[i]]);
    return {
      xAxis: measured(layout.xaxis),
      yAxis: labelled(layout.yaxis),
      series: [
        {
          type: "custom",
          data: ends,
          encode: { x: [0, 1], y: 2 },
          renderItem: (params, api) => {
            const [a, y] = api.coord([api.value(0), api.value(2)]);
            const [b] = api.coord([api.value(1), api.value(2)]);
            const across = (x) => ({ type: "line", shape: { x1: x, x2: x, y1: y - 5, y2: y + 5 }, style: { stroke: d.error_x.color, lineWidth: 2 } });
            const whole = { type: "line", shape: { x1: a, x2: b, y1: y, y2: y }, style: { stroke: d.error_x.color, lineWidth: 2 } };
            return { type: "group", children: [whole, across(a), across(b)] };
          },
        },
        {
          type: "scatter",
          data: d.x.map((x, i) => [x, d.y[i]]),
          symbolSize: 10,
          itemStyle: { color: d.marker.color },
          tooltip: { formatter: (p) => d.hovertext[p.dataIndex] },
          markLine: { symbol: "none", silent: true, data: [{ xAxis: 0 }], label: { show: false } },
        },
      ],
    };
  }

  function calendar(data, layout) {
    own.add("spans of a calendar");
    const spans = data.filter((d) => d.base);
    const series = spans.map((d) => ({
      type: "custom",
      name: d.name,
      itemStyle: { color: d.marker.color },
      encode: { x: [0, 1], y: 2 },
      data: d.base.map((from, i) => [Date.parse(from), Date.parse(from) + d.x[i], d.y[i]]),
      renderItem: (params, api) => {
        const [a, y] = api.coord([api.value(0), api.value(2)]);
        const [b] = api.coord([api.value(1), api.value(2)]);
        const high = 0.6 * api.size([0, 1])[1];
        return { type: "rect", shape: { x: a, y: y - high / 2, width: b - a, height: high }, style: { fill: d.marker.color } };
      },
      tooltip: { formatter: (p) => d.hovertext[p.dataIndex] },
    }));
    for (const d of data.filter((d) => !d.base && d.mode === "markers"))
      series.push({ type: "scatter", name: d.name, symbol: "diamond", symbolSize: 10, itemStyle: { color: d.marker.color }, data: d.x.map((x, i) => [x, d.y[i]]) });
    for (const d of data.filter((d) => d.mode === "lines"))
      series[0].markLine = { symbol: "none", silent: true, data: [{ xAxis: d.x[0], label: { formatter: d.name }, lineStyle: { color: d.line.color } }] };
    return { xAxis: { ...measured(layout.xaxis), scale: true }, yAxis: { ...labelled(layout.yaxis), data: layout.yaxis.ticktext }, series: series };
  }

  function option(spec, lang) {
    const data = spoken(spec.data, lang);
    const layout = spoken(spec.layout, lang);
    const first = data[0];
    const kind =
      first.type === "heatmap" ? matrix : first.type === "sankey" ? sankey : first.base ? calendar : first.type === "bar" ? bars : first.error_x ? intervals : lines;
    const made = kind(data, layout);
    const legend = layout.showlegend ? { left: 0, top: 0, textStyle: { fontSize: 12 } } : undefined;
    return { animation: false, textStyle: text, grid: { ...grid, top: legend ? 44 : 20 }, legend: legend, ...made, tooltip: { confine: true, renderMode: "richText", ...made.tooltip } };
  }

  root.dataset.charts = "drawing";
  let i = 0;
  function next() {
    if (i >= specs.length) {
      root.dataset.own = [...own].join(", ");
      root.dataset.charts = "drawn";
      return;
    }
    const spec = specs[i++];
    const chart = echarts.init(document.getElementById(spec.id), null, { renderer: "svg", height: spec.height });
    chart.on("finished", function done() {
      chart.off("finished", done);
      setTimeout(next, 0);
    });
    chart.setOption(option(spec, root.dataset.lang));
  }
  Promise.resolve(globalThis.chartLibrary).then(next);
})();
