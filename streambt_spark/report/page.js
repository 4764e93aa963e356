(() => {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const log = document.getElementById("log");
  const symbol = document.getElementById("symbol");

  const themed = (value, css) => {
    if (typeof value === "string" && value.startsWith("$")) {
      return css.getPropertyValue("--" + value.slice(1)).trim() || value;
    }
    if (Array.isArray(value)) return value.map((item) => themed(item, css));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, themed(item, css)]));
    }
    return value;
  };

  const draw = (id, figure, logarithmic) => {
    const css = getComputedStyle(document.documentElement);
    const { data, layout } = themed(figure, css);
    const line = css.getPropertyValue("--line").trim();
    const axis = { gridcolor: line, linecolor: line, zeroline: false, automargin: true };
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: css.getPropertyValue("--muted").trim() },
      margin: { l: 64, r: 8, t: 8, b: 32 }, hovermode: "x unified",
      hoverlabel: { bgcolor: css.getPropertyValue("--card").trim(), bordercolor: line, font: { color: css.getPropertyValue("--fg").trim() } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: css.getPropertyValue("--muted").trim() },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    };
    for (const name of ["xaxis", "yaxis", "yaxis2"]) layout[name] = { ...axis, ...layout[name] };
    layout.xaxis.showgrid = false;
    if (logarithmic) layout.yaxis.type = "log";
    Plotly.react(id, data, { ...base, ...layout }, {
      responsive: true, displaylogo: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    });
  };

  const drawEquity = () => figures.equity && draw("equity", figures.equity, log.checked);
  const drawPrice = () => {
    if (!symbol || !figures.price.length) return;
    draw("price", figures.price[symbol.value]);
    const [name, count] = figures.symbols[symbol.value];
    document.getElementById("shown").textContent = `${name}: ${count.toLocaleString("en")} fills.`;
  };
  const drawAll = () => { drawEquity(); drawPrice(); };

  if (symbol) {
    figures.symbols.forEach(([name, count], index) => symbol.add(new Option(`${name} (${count})`, index)));
    symbol.addEventListener("change", drawPrice);
  }
  if (log) log.addEventListener("change", drawEquity);
  dark.addEventListener("change", drawAll);
  drawAll();

  const table = document.getElementById("trades");
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  };
  if (table) table.tHead.addEventListener("click", (event) => {
    const heading = event.target.closest("th");
    const column = heading.cellIndex;
    const sign = heading.dataset.sorted === "1" ? -1 : 1;
    for (const other of heading.parentNode.cells) delete other.dataset.sorted;
    heading.dataset.sorted = String(sign);
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const [x, y] = [key(a, column), key(b, column)];
      return x < y ? -sign : x > y ? sign : 0;
    });
    table.tBodies[0].append(...rows);
  });
})();
