/**
 * What a terminal sends, as node:readline should get it: a pasted page is one message, Alt-Enter begins a new line, and one press of the
 * backspace takes a whole character, however many code points it is made of.
 */
import { Transform } from "node:stream";
import { StringDecoder } from "node:string_decoder";

/** Stands for a line end inside a line. */
export const NEWLINE = "⏎";

/** Sequences that no key has: readline tells of them and does nothing. */
export const ERASE = "\x1b[99~";
export const EDITOR = "\x1b[98~";

const PASTE_START = "\x1b[200~";
const PASTE_END = "\x1b[201~";
/** Keys that are given as something else. */
const given: ReadonlyMap<string, string> = new Map([
  ["\x1b\r", NEWLINE],
  ["\x1b\n", NEWLINE],
  ["\x7f", ERASE],
  ["\b", ERASE],
  ["\x07", EDITOR],
]);
const whole = [PASTE_START, PASTE_END, ...given.keys()];
const found = new RegExp(whole.map((text) => text.replace(/[[\]\\^$.*+?()|{}]/g, "\\$&")).join("|"), "g");

/** What is translated piece by piece: a sequence may come in two. */
export function translator(): (text: string) => string {
  let pasting = false;
  let held = "";
  const plain = (text: string) =>
    pasting
      ? text
          .replace(/\r\n?|\n/g, NEWLINE)
          .replaceAll("\t", " ")
          // Nothing that is pasted may be a key.
          .replace(/\p{Cc}/gu, "")
      : text;
  return (text) => {
    const all = held + text;
    held = "";
    let out = "";
    let at = 0;
    for (const match of all.matchAll(found)) {
      // Inside a paste nothing but its end is a sequence.
      if (pasting && match[0] !== PASTE_END) continue;
      out += plain(all.slice(at, match.index));
      at = match.index + match[0].length;
      if (match[0] === PASTE_START || match[0] === PASTE_END) pasting = match[0] === PASTE_START;
      else out += given.get(match[0])!;
    }
    const rest = all.slice(at);
    const cut = begun(rest, pasting);
    held = rest.slice(rest.length - cut);
    return out + plain(rest.slice(0, rest.length - cut));
  };
}

/** How many characters at the end may be the beginning of a sequence, or of a line end. */
function begun(text: string, pasting: boolean): number {
  if (pasting && text.endsWith("\r")) return 1;
  const wanted = pasting ? [PASTE_END] : whole.filter((one) => one.length > 1);
  for (let length = Math.min(PASTE_START.length - 1, text.length); length > 0; length--) {
    if (wanted.some((one) => one.length > length && one.startsWith(text.slice(-length)))) return length;
  }
  return 0;
}

export function keys(): Transform {
  const translate = translator();
  const decoder = new StringDecoder("utf8");
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      done(null, translate(decoder.write(chunk)));
    },
  });
}

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** Code points of the character before a place in a line: what readline takes one by one. */
export function codePointsBefore(line: string, cursor: number): number {
  const [last] = [...graphemes.segment(line.slice(0, cursor))].slice(-1);
  return last ? [...last.segment].length : 0;
}
