// The pages of a task and of an experiment: dialogs before a loss, clocks, and what live parts keep.

// <button data-opens="id of a dialog">. Its forms close it.
document.addEventListener("click", (event) => {
  const asking = event.target.closest("[data-opens]");
  if (asking) document.getElementById(asking.dataset.opens).showModal();
});
document.addEventListener("submit", (event) => event.target.closest("dialog")?.close());

// <running-clock seconds="65" step="1">: counts up, or with step="-1" down to zero.
customElements.define("running-clock", class extends HTMLElement {
  connectedCallback() {
    const step = Number(this.getAttribute("step"));
    const start = Number(this.getAttribute("seconds"));
    const since = performance.now();
    this.timer = setInterval(() => {
      const passed = (performance.now() - since) / 1000;
      this.textContent = spoken(Math.max(0, Math.round(start + step * passed)));
    }, 1000);
  }
  disconnectedCallback() { clearInterval(this.timer); }
});

// As tuning.formatting.duration writes it.
function spoken(seconds) {
  if (seconds < 60) return `${seconds} s`;
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(seconds / 60);
  const rest = two(seconds % 60);
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${rest}`;
}

// Charts and winner are drawn anew only when an experiment or the task has ended, on `results`.
document.body.addEventListener("live", ({ detail: news }) => {
  const updates = document.querySelector("live-updates[data-seen]");
  if (!updates || !news.progress) return;
  const seen = `${news.status}/${news.progress.finished}`;
  if (seen === updates.dataset.seen) return;
  updates.dataset.seen = seen;
  document.body.dispatchEvent(new CustomEvent("results"));
});

// What a reader has folded or unfolded stays so when its part of the page is swapped.
const folds = new Map();
const foldable = (part) => [...part.querySelectorAll("details")].map((one) => [one.querySelector("summary").textContent, one]);
document.body.addEventListener("htmx:beforeSwap", ({ detail: { target } }) => {
  folds.set(target.id, new Map(foldable(target).map(([title, one]) => [title, one.open])));
});
document.body.addEventListener("htmx:afterSettle", ({ detail: { target } }) => {
  // Going back in the history settles without a target.
  const before = folds.get(target?.id);
  if (!before) return;
  for (const [title, one] of foldable(document.getElementById(target.id))) one.open = before.get(title) ?? one.open;
  folds.delete(target.id);
});
