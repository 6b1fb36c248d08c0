// One row of a log: number, time, source, and the characters `from` to `to` of the line's text.
import { pieces } from "./ansi.js";

export const make = (tag, className, text = "") => Object.assign(document.createElement(tag), { className, textContent: text });

export function drawRow(line, from, to, pattern) {
  const row = make("div", `log-row log-${line.source}${line.isError ? " is-error" : ""}`);
  const number = Object.assign(make("a", "log-number", from ? "" : line.number), { href: `#L${line.number}`, tabIndex: -1 });
  const moment = new Date(line.time * 1000).toISOString();
  const time = Object.assign(make("time", "log-time", from ? "" : moment.slice(11, 23)), { dateTime: moment, title: moment });
  const text = make("span", "log-text");
  text.append(...spans(line, from, Math.min(to, line.text.length), pattern));
  row.append(number, time, make("span", "log-source", from ? "" : line.source), text);
  return row;
}

// Elements of one look each, cut where a colour or a match begins and ends.
function* spans({ raw, text }, from, to, pattern) {
  const found = pattern ? [...text.matchAll(pattern)].map((match) => [match.index, match.index + match[0].length]) : [];
  let start = 0;
  for (const [piece, look] of pieces(raw)) {
    const first = Math.max(start, from), end = Math.min(start + piece.length, to);
    const edges = [first, ...found.flat().filter((edge) => edge > first && edge < end), end];
    for (let index = 1; index < edges.length && first < end; index++) {
      const isFound = found.some(([begins, ends]) => begins <= edges[index - 1] && edges[index - 1] < ends);
      yield make(isFound ? "mark" : "span", look, text.slice(edges[index - 1], edges[index]));
    }
    start += piece.length;
  }
}
