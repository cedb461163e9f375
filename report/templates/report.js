"use strict";
(function () {
  const root = document.documentElement;
  const specs = JSON.parse(document.getElementById("charts").textContent);
  // The page's own colours, so that charts follow its theme.
  const style = getComputedStyle(root);
  const colour = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  const ink = colour("--ink", "#27303b");
  const grid = colour("--line", "#e8ebef");
  const title = { font: { size: 12, color: colour("--quiet", "#5d6876") }, standoff: 12 };
  const base = {
    font: {
      family: '"PingFang SC", "Noto Sans CJK SC", "Microsoft YaHei", "Hiragino Sans GB", "Segoe UI", Roboto, sans-serif',
      size: 13,
      color: ink,
    },
    margin: { l: 12, r: 28, t: 14, b: 30 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: colour("--paper", "#fff"), bordercolor: grid, font: { color: ink } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } },
    xaxis: { gridcolor: grid, linecolor: grid, automargin: true, fixedrange: true, zerolinecolor: grid, title: title },
    yaxis: { gridcolor: grid, linecolor: grid, automargin: true, fixedrange: true, zerolinecolor: grid, title: title },
    dragmode: false,
  };

  function isText(v) {
    return v !== null && typeof v === "object" && "zh" in v && "en" in v && Object.keys(v).length === 2;
  }

  function spoken(v, lang) {
    if (isText(v)) return v[lang];
    if (Array.isArray(v)) return v.map((x) => spoken(x, lang));
    if (v !== null && typeof v === "object") {
      const out = {};
      for (const k of Object.keys(v)) out[k] = spoken(v[k], lang);
      return out;
    }
    return v;
  }

  function merged(a, b) {
    const out = structuredClone(a);
    for (const k of Object.keys(b)) {
      const both = out[k] && b[k] && typeof out[k] === "object" && typeof b[k] === "object";
      out[k] = both && !Array.isArray(b[k]) ? merged(out[k], b[k]) : b[k];
    }
    return out;
  }

  function wrapped(text, most) {
    if (typeof text !== "string" || text.length <= most) return text;
    const lines = [""];
    for (const word of text.split(" ")) {
      const line = lines[lines.length - 1];
      if (line && line.length + word.length + 1 > most) lines.push(word);
      else lines[lines.length - 1] = line ? line + " " + word : word;
    }
    return lines.join("<br>");
  }

  function length(text) {
    let n = 0;
    for (const c of text) n += c.charCodeAt(0) > 255 ? 13 : 7;
    return n;
  }

  // Labels above a matrix lie flat where they fit, and lean where they would run into each other.
  function leaning(figure, width) {
    const trace = figure.data[0];
    const axis = figure.layout.xaxis;
    if (!trace || trace.type !== "heatmap" || !axis.ticktext) return;
    const leans = Math.max(...axis.ticktext.map(length)) > (0.68 * width) / axis.ticktext.length - 6;
    axis.tickangle = leans ? -42 : 0;
    axis.ticklabeloverflow = "allow";
    if (!leans) return;
    figure.layout.height += 46;
    figure.layout.margin.r = Math.min(64, 0.17 * width);
  }

  function fitted(figure, narrow, width) {
    const layout = figure.layout;
    leaning(figure, width);
    const wide = narrow ? 13 : 26;
    if (layout.yaxis && layout.yaxis.ticktext) layout.yaxis.ticktext = layout.yaxis.ticktext.map((s) => wrapped(s, wide));
    if (!narrow) return figure;
    layout.font.size = 11;
    layout.margin = Object.assign({}, layout.margin, { l: 4 });
    for (const trace of figure.data) {
      if (trace.type === "heatmap") {
        delete layout.yaxis.title;
      }
      if (trace.type === "sankey") trace.node.pad = 10;
    }
    return figure;
  }

  // A page with a dark theme names its own shades of a matrix: pale cells would glare.
  function shaded(data) {
    const shades = ["--heat-low", "--heat-middle", "--heat-high"].map((name) => colour(name, ""));
    if (shades.every(Boolean)) {
      for (const trace of data) if (trace.type === "heatmap") trace.colorscale = shades.map((shade, i) => [i / 2, shade]);
    }
    return data;
  }

  function figureOf(spec, lang, width) {
    const layout = merged(base, spoken(spec.layout, lang));
    layout.height = spec.height;
    const figure = fitted({ data: shaded(spoken(spec.data, lang)), layout: layout }, root.clientWidth < 560 || width < 440, width);
    if (layout.showlegend) layout.margin.t = 44;
    return figure;
  }

  function draw(spec) {
    const box = document.getElementById(spec.id);
    // A matrix keeps room for its numbers; where the window has less, its figure scrolls sideways.
    const trace = spec.data[0];
    const across = trace && trace.type === "heatmap" ? trace.x.length : 0;
    box.style.minWidth = across ? 100 + 46 * across + "px" : "";
    const figure = figureOf(spec, root.dataset.lang, box.clientWidth);
    box.style.height = figure.layout.height + "px";
    return Plotly.react(box, figure.data, figure.layout, { responsive: true, displayModeBar: false, displaylogo: false });
  }

  let turn = 0;
  function drawAll() {
    if (!globalThis.Plotly) return;
    const mine = ++turn;
    root.dataset.charts = "drawing";
    let i = 0;
    (function next() {
      if (mine !== turn) return;
      if (i >= specs.length) {
        root.dataset.charts = "drawn";
        return;
      }
      draw(specs[i++]).then(() => setTimeout(next, 0));
    })();
  }

  function say(lang) {
    root.dataset.lang = lang;
    root.lang = lang === "zh" ? "zh-CN" : "en";
    for (const b of document.querySelectorAll("[data-set-lang]")) {
      b.setAttribute("aria-pressed", String(b.dataset.setLang === lang));
    }
    drawAll();
  }

  for (const b of document.querySelectorAll("[data-set-lang]")) b.addEventListener("click", () => say(b.dataset.setLang));
  let narrow = window.innerWidth < 560;
  window.addEventListener("resize", () => {
    const now = window.innerWidth < 560;
    if (now !== narrow) {
      narrow = now;
      drawAll();
    }
  });
  window.addEventListener("beforeprint", () => specs.forEach((s) => Plotly.Plots.resize(document.getElementById(s.id))));
  // A report holds the library packed (unpack.js); a portal's page has it before this script.
  Promise.resolve(globalThis.chartLibrary).then(drawAll, () => {
    root.dataset.charts = "missing";
  });
})();
