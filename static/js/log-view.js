// <log-view src="socket" lines="address of older lines" last="their last number" from-time="unix s">:
// a log of 100,000 lines. All of them are in memory; in the page are only those that can be seen.
import { LiveSocket } from "./app.js";
import { LogLines, step } from "./log-lines.js";
import { LogWindow } from "./log-window.js";

const TAIL = 2000, PORTION = 10000, MOST = 300000;
const figure = (number) => number.toLocaleString("en");
const amount = (number, what) => `${figure(number)} ${what}${number === 1 ? "" : "s"}`;

customElements.define("log-view", class extends HTMLElement {
  connectedCallback() {
    this.element = (name) => this.querySelector(`[data-log="${name}"]`);
    this.log = new LogLines(Number(this.getAttribute("last") ?? 0));
    this.window = new LogWindow(this.element("lines"), this.log);
    Object.assign(this, { unseen: 0, state: "live" });
    this.readAddress();
    this.window.follows = !this.goal && !this.hasAttribute("from-time");
    this.listen();
    this.live = new LiveSocket(() => `${this.getAttribute("src")}?after=${this.log.last}`, (news) => this.receive(news));
    this.loadOlder(this.log.last);
  }
  disconnectedCallback() { this.live.close(); this.resize.disconnect(); this.leaving.abort(); }

  listen() {
    this.leaving = new AbortController();
    const on = (target, type, act) => target.addEventListener(type, act, { signal: this.leaving.signal });
    on(this.element("lines"), "scroll", () => { this.window.scrolled(); this.tell(); });
    on(this, "change", () => this.arrange());
    on(this.element("search"), "input", () => this.search());
    on(this, "click", (event) => this.press(event));
    on(window, "hashchange", () => { this.readAddress(); this.arrive(); });
    on(document, "keydown", (event) => this.key(event));
    this.resize = new ResizeObserver(() => this.arrange());
    this.resize.observe(this.element("lines"));
  }
  press(event) {
    const number = event.target.closest(".log-number");
    if (number) { event.preventDefault(); this.choose(Number(number.textContent), event.shiftKey); }
    const does = {
      next: () => this.find(1), previous: () => this.find(-1), follow: () => this.toEnd(),
      "first-error": () => this.choose(this.log.errors[0]),
      "next-error": () => this.choose(step(this.log.errors, 1, this.window.mark[0])),
    };
    does[event.target.closest("[data-log]")?.dataset.log]?.();
  }
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isSearch = event.target === this.element("search");
    if (!isSearch && event.target.closest("input:not([type=checkbox]), textarea, select")) return;
    const next = () => this.find(event.shiftKey ? -1 : 1);
    const does = isSearch ? { Enter: next } : { "/": () => this.element("search").focus(), n: next, N: next, End: () => this.toEnd() };
    if (does[event.key]) { event.preventDefault(); does[event.key](); }
  }

  // The newest lines first, then the rest backwards, while the socket brings what is new.
  async loadOlder(last) {
    const oldest = Math.max(1, last - MOST + 1);
    for (let size = TAIL; last >= oldest; size = PORTION) {
      const first = Math.max(oldest, last - size + 1);
      const answer = await fetch(`${this.getAttribute("lines")}?first=${first}&last=${last}`).catch(() => null);
      if (!this.isConnected || answer?.redirected || answer?.status === 404) return;
      if (answer?.ok) { this.add((await answer.json()).lines); last = first - 1; }
      else await new Promise((again) => setTimeout(again, 3000));
    }
    this.isLoaded = true;
    if (this.hasAttribute("from-time") && !this.window.mark[0]) {
      const start = this.log.since(Number(this.getAttribute("from-time")));
      if (start) this.choose(start); else this.toEnd();
    }
    this.tell();
    this.tellFound();
  }
  receive(news) {
    this.state = news.error ?? (news.end ? "the task has ended" : "live");
    this.add((news.lines ?? []).filter(([number]) => number > this.log.last));
  }
  add(batch) {
    const { topLine } = this.window, isNew = batch.length > 0 && this.log.add(batch);
    this.unseen += isNew ? batch.length : 0;
    if (isNew) this.window.settle();
    else if (batch.length) this.window.redraw(topLine);
    this.arrive();
    this.tell();
  }

  arrange() {
    this.classList.toggle("has-times", this.element("times").checked);
    const { topLine } = this.window, fitting = this.window.measure();
    if (!fitting) return;
    const boxes = [...this.querySelectorAll("[name=source]:checked")];
    this.log.arrange(boxes.map((box) => box.value), this.element("wrap").checked ? fitting : Infinity);
    this.window.redraw(topLine);
    this.arrive();
    this.tell();
  }
  search() {
    const { topLine } = this.window;
    this.log.search(this.element("search").value);
    this.window.redraw(topLine);
    this.choose(step(this.log.matches, 1, topLine - 1));
    this.tellFound();
  }
  find(way) { this.choose(step(this.log.matches, way, this.window.mark[0])); }
  toEnd() { this.window.toEnd(); this.tell(); }

  choose(number, isRange = false) {
    if (!number) return;
    const from = (isRange && this.window.mark[0]) || number;
    this.window.mark = [Math.min(from, number), Math.max(from, number)];
    history.replaceState(history.state, "", `#L${[...new Set(this.window.mark)].join("-L")}`);
    this.window.goTo(number);
    this.tell();
    this.tellFound();
  }
  readAddress() {
    const [, first = 0, last = first] = /^#L(\d+)(?:-L(\d+))?$/.exec(location.hash) ?? [];
    this.window.mark = [Number(first), Number(last)];
    this.goal = this.window.mark[0];
  }
  arrive() { // at the line that the address names, once it is there
    if (!this.window.rowHeight || !this.log.get(this.goal)) return;
    this.window.goTo(this.goal);
    this.goal = 0;
  }

  tell() {
    const { shown, errors, last } = this.log, { follows } = this.window, follow = this.element("follow");
    if (follows) this.unseen = 0;
    follow.setAttribute("aria-pressed", follows);
    follow.textContent = follows ? "Following" : `Follow${this.unseen ? ` (${figure(this.unseen)} new)` : ""}`;
    this.element("first-error").disabled = this.element("next-error").disabled = !this.isLoaded || !errors.length;
    this.element("empty").hidden = last > 0;
    const loading = this.isLoaded ? "" : ", loading older ones …";
    this.element("status").textContent = `${amount(shown.length, "line")}${loading} · ${amount(errors.length, "error")} · ${this.state}`;
  }
  tellFound() {
    const { matches, pattern } = this.log, place = matches.indexOf(this.window.mark[0]);
    this.element("found").textContent = pattern ? `${place < 0 ? "" : `${place + 1} of `}${amount(matches.length, "line")}` : "";
  }
});
