/** Damage to messages, as fuzzers do it: bytes changed, lost, doubled, moved, and pieces of other messages put in. */
import type { Random } from "../../src/base/random.ts";

/** Texts on which parsers disagree. */
const DICTIONARY = [
  "\r\n",
  "\n",
  "\r",
  "\r\n\r\n",
  "\0",
  " ",
  "\t",
  ":",
  ";",
  ",",
  "\x0b",
  "\x85",
  "\xa0",
  "\xff",
  "0\r\n\r\n",
  "1\r\na\r\n",
  "5\r\n",
  "ffffffff\r\n",
  "0x",
  "-1",
  "+",
  "Content-Length: 0\r\n",
  "Content-Length: 5\r\n",
  "Content-Length: 4\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding: identity\r\n",
  "Connection: close\r\n",
  "Connection: keep-alive\r\n",
  "Connection: Content-Length\r\n",
  "Expect: 100-continue\r\n",
  "Upgrade: h2c\r\n",
  "Host: h\r\n",
  " HTTP/1.1\r\n",
  " HTTP/1.0\r\n",
  "GET /x HTTP/1.1\r\nHost: h\r\n\r\n",
  "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 100 Continue\r\n\r\n",
  "HTTP/1.1 304 Not Modified\r\n\r\n",
  "HEAD ",
  "%00",
  "/../",
];

const CHANGES_MAX = 4;
const SLICE_MAX = 40;

/** One of a list. */
export function chosen<Item>(items: readonly Item[], random: Random): Item {
  return items[random.draw(items.length)] as Item;
}

/** A text with some changes, possibly none. `others`: texts to take pieces of. */
export function mutated(text: string, others: readonly string[], random: Random): string {
  let result = text;
  for (let change = random.draw(CHANGES_MAX + 1); change > 0; change--)
    result = changed(result, others, random);
  return result;
}

function changed(text: string, others: readonly string[], random: Random): string {
  const at = random.draw(text.length + 1);
  const end = at + random.draw(SLICE_MAX);
  const insert = (piece: string): string => text.slice(0, at) + piece + text.slice(at);
  switch (random.draw(8)) {
    case 0:
      return text.slice(0, at) + String.fromCharCode(random.draw(256)) + text.slice(at + 1);
    case 1:
      return text.slice(0, at) + text.slice(end);
    case 2:
      return insert(text.slice(at, end));
    case 3:
    case 4:
      return insert(chosen(DICTIONARY, random));
    case 5: {
      const other = chosen(others, random);
      return text.slice(0, at) + other.slice(random.draw(other.length + 1));
    }
    case 6: {
      const place = random.draw(text.length + 1);
      const rest = text.slice(0, at) + text.slice(end);
      return rest.slice(0, place) + text.slice(at, end) + rest.slice(place);
    }
    default:
      return text.replace(/\d+/, String(random.draw(20)));
  }
}

/** A text in up to four pieces. */
export function cutAnywhere(text: string, random: Random): string[] {
  const places = Array.from({ length: random.draw(4) }, () => random.draw(text.length + 1)).toSorted(
    (a, b) => a - b,
  );
  return [...places, text.length]
    .map((end, i) => text.slice(i === 0 ? 0 : places[i - 1], end))
    .filter((piece) => piece !== "");
}
