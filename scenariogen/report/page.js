"use strict";
(() => {
  const PAPER_PX = 680; // width of A4 less its margins, in CSS pixels
  const charts = [...document.querySelectorAll(".chart")];
  let printing = false;
  const options = { responsive: false, displayModeBar: false, scrollZoom: false };

  const heightFor = (div, layout, width) => {
    if (div.dataset.kind !== "map") return width < 560 ? 350 : 400;
    return Math.round(Math.min(Math.max(width * layout.meta.aspect, 200), printing ? 480 : 620)) + 64;
  };
  const titleSize = (width) => (width < 560 ? 10.5 : 12.5);
  const draw = (div, width) => {
    const height = heightFor(div, div.figure.layout, width);
    div.style.height = `${height}px`;
    return Plotly.relayout(div, { width, height, "xaxis.title.font.size": titleSize(width) });
  };
  const drawAll = (width) => charts.forEach((div) => draw(div, width ?? div.parentElement.clientWidth));

  for (const div of charts) {
    div.figure = JSON.parse(document.getElementById(`data-${div.dataset.chart}`).textContent);
    const width = div.parentElement.clientWidth;
    const layout = { ...div.figure.layout, width, height: heightFor(div, div.figure.layout, width) };
    div.style.height = `${layout.height}px`;
    const title = { ...layout.xaxis.title, font: { ...layout.xaxis.title?.font, size: titleSize(width) } };
    layout.xaxis = { ...layout.xaxis, title };
    Plotly.newPlot(div, div.figure.data, layout, options);
  }

  let last = window.innerWidth;
  let timer = 0;
  window.addEventListener("resize", () => {
    if (printing || window.innerWidth === last) return;
    last = window.innerWidth;
    clearTimeout(timer);
    timer = setTimeout(() => drawAll(), 120);
  });

  const buttons = [...document.querySelectorAll(".switch button")];
  const show = (number) => {
    const map = document.getElementById("chart-map");
    const meta = map.figure.layout.meta;
    const traces = meta.policies.map((_, i) => meta.first + i);
    Plotly.restyle(map, { visible: traces.map((_, i) => i === number) }, traces);
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === number)));
  };
  buttons.forEach((button, i) => button.addEventListener("click", () => show(i)));

  document.querySelectorAll(".copy").forEach((button) => {
    button.addEventListener("click", async () => {
      const code = button.previousElementSibling;
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(code); // no clipboard from a file: selected, ready to copy by hand
        button.textContent = "selected";
      }
    });
  });

  const opened = [];
  const beforePrint = () => {
    if (printing) return;
    printing = true;
    if (buttons.length) show(0);
    drawAll(PAPER_PX);
    document.querySelectorAll("details:not([open])").forEach((each) => {
      each.open = true;
      opened.push(each);
    });
  };
  const afterPrint = () => {
    printing = false;
    opened.splice(0).forEach((each) => (each.open = false));
    drawAll();
  };
  window.addEventListener("beforeprint", beforePrint);
  window.addEventListener("afterprint", afterPrint);
})();
