/** Bytes that arrive in pieces to numbered lines, each within a bound. */

/** Longer lines are not kept. A request line of Crossfade has at most 8 KiB, and a log says little besides. */
export const LINE_BYTES_MAX = 16 * 1024;

/** One line of an input. */
export interface InputLine {
  /** Counted from 1. */
  readonly number: number;
  /** One character a byte, without the line break; null when the line is longer than LINE_BYTES_MAX. */
  readonly text: string | null;
}

const BYTE_ORDER_MARK = "\u00ef\u00bb\u00bf";

/**
 * The lines of an input, as it is read.
 *
 * Lines end with LF or CRLF; the last one may end with the input. Holds one piece and one line at a time, and no more
 * of a line than the bound.
 */
export async function* linesOf(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<InputLine, void, void> {
  let number = 1;
  let begun = "";
  let isTooLong = false;
  const line = (end: string): InputLine => {
    const whole = begun + end;
    if (isTooLong || whole.length > LINE_BYTES_MAX) return { number, text: null };
    const text = whole.endsWith("\r") ? whole.slice(0, -1) : whole;
    return { number, text: number === 1 && text.startsWith(BYTE_ORDER_MARK) ? text.slice(3) : text };
  };
  for await (const piece of pieces) {
    const parts = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
      .toString("latin1")
      .split("\n");
    const rest = parts.pop() as string;
    for (const part of parts) {
      yield line(part);
      number++;
      begun = "";
      isTooLong = false;
    }
    begun += rest;
    if (begun.length > LINE_BYTES_MAX) {
      begun = "";
      isTooLong = true;
    }
  }
  if (begun !== "" || isTooLong) yield line("");
}
