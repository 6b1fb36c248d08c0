// <chart-view kind="history" id="…"><template>JSON</template></chart-view>: a chart of the JSON.
//
// Where a page swaps in a newer element with the same id, that takes over the drawing of the older
// one: the canvas moves, so that nothing flickers, and keeps what its reader has chosen.

import { optionsOf } from "./chart-options.js";

const ECHARTS = new URL("../vendor/echarts-6.1.0.min.js", import.meta.url);
const views = new Map();
let loading;

function library() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = ECHARTS;
    script.addEventListener("load", () => resolve(window.echarts));
    script.addEventListener("error", () => {
      loading = undefined;
      reject(new Error("The chart library did not load."));
    });
    document.head.append(script);
  });
  return loading;
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  return {
    series: [1, 2, 3, 4, 5, 6, 7, 8].map((number) => colour(`--chart-${number}`)),
    best: colour("--chart-best"),
    baseline: colour("--chart-baseline"),
    faint: colour("--chart-faint"),
    scale: [colour("--chart-low"), colour("--chart-middle"), colour("--chart-high")],
    ink: colour("--page-ink"),
    muted: colour("--pico-muted-color"),
    line: colour("--page-line"),
    card: colour("--page-card"),
    bad: colour("--tone-bad"),
    font: getComputedStyle(document.body).fontFamily,
  };
}

customElements.define("chart-view", class extends HTMLElement {
  connectedCallback() {
    this.data = JSON.parse(this.querySelector("template").content.textContent);
    const older = views.get(this.id);
    views.set(this.id, this);
    if (older && older !== this) this.takeOver(older);
    for (const choice of this.choices()) choice.addEventListener("change", () => this.draw());
    this.draw();
  }

  disconnectedCallback() {
    // Its successor may come only after it has gone.
    setTimeout(() => {
      if (this.isConnected || views.get(this.id) !== this) return;
      views.delete(this.id);
      this.sizes?.disconnect();
      this.chart?.dispose();
    }, 1000);
  }

  takeOver(older) {
    const chosen = older.chosen();
    for (const choice of this.choices()) {
      if ([...choice.options].some((option) => option.value === chosen[choice.name])) choice.value = chosen[choice.name];
    }
    if (!older.chart) return;
    [this.chart, this.sizes] = [older.chart, older.sizes];
    this.append(this.chart.getDom());
  }

  // The fields beside the chart that say what of it is shown.
  choices() { return [...this.parentElement.querySelectorAll("select[name]")]; }
  chosen() { return Object.fromEntries(this.choices().map((choice) => [choice.name, choice.value])); }

  async draw() {
    try {
      const echarts = await library();
      if (!this.isConnected) return;
      this.querySelector(".undrawn")?.remove();
      this.chart ??= this.canvas(echarts);
      const options = optionsOf(this.getAttribute("kind"), this.data, this.chosen(), palette(), this.clientWidth);
      // Only series are replaced, so that a zoom and what is hidden in the legend stay.
      this.chart.setOption(options, { replaceMerge: ["series"] });
    } catch (error) {
      this.apologize();
      console.error(error);
    }
  }

  apologize() {
    if (this.querySelector(".undrawn")) return;
    const note = document.createElement("p");
    note.className = "undrawn";
    note.textContent = "This chart could not be drawn; its numbers are in the table below.";
    this.append(note);
  }

  canvas(echarts) {
    const host = document.createElement("div");
    host.className = "canvas";
    this.append(host);
    const chart = echarts.init(host);
    chart.on("click", ({ data }) => {
      if (data?.experiment) location.assign(`/experiments/${data.experiment}/`);
    });
    this.sizes = new ResizeObserver(() => chart.resize());
    this.sizes.observe(host);
    return chart;
  }
});

function drawAll() {
  for (const view of views.values()) view.draw();
}
document.addEventListener("theme-changed", drawAll);
// The library may be what the connection was lost over.
document.addEventListener("connection-back", drawAll);
