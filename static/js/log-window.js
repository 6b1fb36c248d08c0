// The part of a log that can be seen: only its rows are in the page, all of one height.
import { drawRow, make } from "./log-row.js";

const SPARE_ROWS = 15;

export class LogWindow {
  constructor(scroller, log) {
    Object.assign(this, { scroller, log, drawn: new Map(), mark: [0, 0], follows: true });
    this.space = scroller.appendChild(make("div", "log-space"));
  }

  get topLine() { return this.log.rows[Math.floor(this.scroller.scrollTop / this.rowHeight)] ?? 0; }

  // Sets the height of a row; returns how many characters fit into one. False while nothing can be seen.
  measure() {
    if (!this.scroller.clientHeight) return false;
    const text = "0".repeat(100);
    const probe = this.space.appendChild(drawRow({ number: 1, time: 0, source: "engine", text, raw: text }, 0, 100));
    const all = probe.getBoundingClientRect(), sample = probe.lastChild.getBoundingClientRect();
    probe.remove();
    this.rowHeight = all.height;
    return Math.max(20, Math.floor((this.scroller.clientWidth - (sample.left - all.left)) / (sample.width / 100)) - 1);
  }

  // After the rows have changed: the line `top` stays where it is.
  redraw(top) {
    const shift = this.scroller.scrollTop % this.rowHeight || 0;
    this.drawn.clear();
    this.space.replaceChildren();
    this.settle(this.log.rowOf(top) * this.rowHeight + shift);
  }

  // After rows were added at the end, or to scroll: at the end if that is followed.
  settle(top = this.scroller.scrollTop) {
    if (!this.rowHeight) return;
    this.space.style.height = `${this.log.rows.length * this.rowHeight}px`;
    this.scroller.scrollTop = this.follows ? this.scroller.scrollHeight : top;
    this.placed = this.scroller.scrollTop;
    this.draw();
  }

  draw() {
    const { scrollTop, clientHeight } = this.scroller, { rows, cuts, width, pattern } = this.log;
    const first = Math.max(0, Math.floor(scrollTop / this.rowHeight) - SPARE_ROWS);
    const end = Math.min(rows.length, Math.ceil((scrollTop + clientHeight) / this.rowHeight) + SPARE_ROWS);
    for (const [at, row] of this.drawn) if (at < first || at >= end) { row.remove(); this.drawn.delete(at); }
    let next = this.space.firstChild;
    for (let at = first; at < end; at++) {
      const known = this.drawn.get(at), row = known ?? drawRow(this.log.get(rows[at]), cuts[at], cuts[at] + width, pattern);
      if (known) next = known.nextSibling;
      else { row.style.top = `${at * this.rowHeight}px`; this.drawn.set(at, this.space.insertBefore(row, next)); }
      row.classList.toggle("is-marked", rows[at] >= this.mark[0] && rows[at] <= this.mark[1]);
    }
  }

  // Scrolling by hand decides whether the end is followed; scrolling by `settle` does not.
  scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    if (scrollTop !== this.placed) this.follows = scrollTop + clientHeight > scrollHeight - this.rowHeight;
    this.draw();
  }

  goTo(number) {
    const { scrollTop, clientHeight } = this.scroller, at = this.log.rowOf(number) * this.rowHeight;
    this.follows = false;
    this.settle(at < scrollTop || at + this.rowHeight > scrollTop + clientHeight ? at - clientHeight / 2 : scrollTop);
  }

  toEnd() { this.follows = true; this.settle(); }
}
