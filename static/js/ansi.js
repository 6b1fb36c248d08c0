// ANSI escape codes of log lines: colours become classes, everything else is dropped.

const ESCAPE = /\x1b(?:\[([\d;:]*)m|\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])/g;
const CONTROL = /[\x00-\x1f\x7f-\x9f]/g;

// [[text, class names], …]: the pieces of one line, without anything that can't be seen.
export function pieces(line) {
  const found = [];
  let at = 0, look = { bold: false, colour: null };
  const add = (end) => {
    const text = line.slice(at, end).replaceAll("\t", "    ").replace(CONTROL, "");
    const names = [look.bold ? "ansi-bold" : "", look.colour === null ? "" : `ansi-${look.colour}`];
    if (text) found.push([text, names.join(" ").trim()]);
  };
  for (const code of line.matchAll(ESCAPE)) {
    add(code.index);
    at = code.index + code[0].length;
    if (code[1] !== undefined) look = changed(look, code[1].split(/[;:]/).map(Number));
  }
  add(line.length);
  return found;
}

function changed({ bold, colour }, codes) {
  while (codes.length) {
    const code = codes.shift();
    if (code === 0) [bold, colour] = [false, null];
    else if (code === 1) bold = true;
    else if (code === 22) bold = false;
    else if (code === 39) colour = null;
    else if (code >= 30 && code <= 37) colour = code - 30;
    else if (code >= 90 && code <= 97) colour = code - 82;
    else if (code === 38 || code === 48) {
      const one = codes.shift() === 5 ? ofPalette(codes.shift()) : nearest(...codes.splice(0, 3));
      if (code === 38) colour = one;
    }
  }
  return { bold, colour };
}

// One of the 256 colours as one of 16: 16-231 are a cube of 6 x 6 x 6, the rest are greys.
function ofPalette(number = 0) {
  if (number < 16) return number;
  if (number > 231) return nearest(...Array(3).fill(8 + 10 * (number - 232)));
  const cube = number - 16;
  return nearest(...[Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map((level) => level * 51));
}

function nearest(red = 0, green = 0, blue = 0) {
  const most = Math.max(red, green, blue);
  if (most < 60) return 0;
  if (most - Math.min(red, green, blue) < 30) return most < 110 ? 8 : most < 200 ? 7 : 15;
  const hue = [red, green, blue].reduce((bits, part, place) => bits | (part > most * 0.5) << place, 0);
  return most > 215 ? hue + 8 : hue;
}
