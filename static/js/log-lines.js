// The lines of a log, and the rows that they make: which are shown, found, or speak of an error.
import { pieces } from "./ansi.js";

const ERROR = /\b(?:ERROR|FATAL|CRITICAL|Traceback)\b|\w(?:Error|Exception)\b:|\berror: |out of memory|\bpanic: |exited with code [1-9]|^\S+ E /;

export class LogLines {
  constructor(last) {
    this.last = last;
    this.lines = new Array(last); // Line 1 is in place 0; places may be empty until they are loaded.
    this.arrange([], Infinity);
  }

  get(number) { return this.lines[number - 1]; }

  // True when the lines came after all the others, so that nothing else has to move.
  add(batch) {
    const isNew = batch.length > 0 && batch[0][0] > this.last;
    for (const [number, time, source, raw] of batch) {
      const plain = pieces(raw).map(([piece]) => piece).join("");
      const text = plain === raw ? raw : plain; // One copy in memory where there is no difference.
      this.lines[number - 1] = { number, time, source, raw, text, isError: ERROR.test(text) };
      if (isNew) this.show(this.get(number));
    }
    if (isNew) this.last = batch.at(-1)[0];
    else this.arrange(this.sources, this.width);
    return isNew;
  }

  // Rows have one height: there is one for each line that is shown, or several of `width` characters.
  arrange(sources, width) {
    Object.assign(this, { sources, width, rows: [], cuts: [], shown: [], errors: [], matches: [] });
    this.lines.forEach((line) => this.show(line));
  }

  show({ number, source, text, isError }) {
    if (!this.sources.includes(source)) return;
    this.shown.push(number);
    for (let at = 0; at === 0 || at < text.length; at += this.width) { this.rows.push(number); this.cuts.push(at); }
    if (isError) this.errors.push(number);
    if (this.pattern && text.search(this.pattern) >= 0) this.matches.push(number);
  }

  search(words) {
    const escaped = words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    this.pattern = escaped ? new RegExp(escaped, "gi") : null;
    this.matches = escaped ? this.shown.filter((number) => this.get(number).text.search(this.pattern) >= 0) : [];
  }

  // The first row of a line, or of the next one that is shown.
  rowOf(number) { return Math.max(0, this.rows.findIndex((one) => one >= number)); }

  since(time) { return this.shown.find((number) => this.get(number).time >= time) ?? 0; }
}

// The one of `numbers` after (or before) a line, round and round; 0 when there is none.
export function step(numbers, way, from) {
  const place = way > 0 ? numbers.findIndex((number) => number > from) : numbers.findLastIndex((number) => number < from);
  return numbers.at(place >= 0 || way < 0 ? place : 0) ?? 0;
}
