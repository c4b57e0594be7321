/** WebSocket frames in any pieces: where each ends is found, whatever is in them. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FrameTracker, goodbye } from "../../src/http/frames.ts";

interface Frame {
  readonly opcode: number;
  readonly isMasked: boolean;
  readonly payload: Uint8Array;
}

const frameArbitrary: fc.Arbitrary<Frame> = fc.record({
  opcode: fc.constantFrom(0, 1, 2, 9, 10),
  isMasked: fc.boolean(),
  payload: fc.oneof(
    fc.uint8Array({ maxLength: 20 }),
    fc.constantFrom(125, 126, 127, 65_535, 65_536).map((length) => new Uint8Array(length).fill(0x88)),
  ),
});

function bytesOf({ opcode, isMasked, payload }: Frame): Buffer {
  const { length } = payload;
  const short = length < 126 ? length : length < 65_536 ? 126 : 127;
  const extended = Buffer.alloc(short === 126 ? 2 : short === 127 ? 8 : 0);
  if (short === 126) extended.writeUInt16BE(length);
  if (short === 127) extended.writeBigUInt64BE(BigInt(length));
  const head = Buffer.from([0x80 | opcode, (isMasked ? 0x80 : 0) | short]);
  return Buffer.concat([head, extended, Buffer.from(isMasked ? [1, 2, 3, 4] : []), payload]);
}

/** Cuts bytes into pieces of these lengths, again and again. */
function pieces(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const cut: Buffer[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const length = lengths[turn % lengths.length] as number;
    cut.push(bytes.subarray(at, at + length));
    at += length;
  }
  return cut;
}

const lengthsArbitrary = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 5 });

describe("a tracker", () => {
  test("is at a boundary exactly where a frame ends", () => {
    fc.assert(
      fc.property(fc.array(frameArbitrary, { maxLength: 6 }), lengthsArbitrary, (frames, lengths) => {
        const ends = new Set([0]);
        let end = 0;
        for (const frame of frames) ends.add((end += bytesOf(frame).length));
        const tracker = new FrameTracker();
        let at = 0;
        for (const piece of pieces(Buffer.concat(frames.map(bytesOf)), lengths)) {
          expect(tracker.read(piece)).toBe(piece.length);
          at += piece.length;
          expect(tracker.isAtBoundary).toBe(ends.has(at));
        }
        expect(tracker.hasClosed).toBe(false);
      }),
    );
  });

  test("that stops at a boundary stops at the end of the frame that was under way", () => {
    fc.assert(
      fc.property(frameArbitrary, frameArbitrary, fc.nat(), (first, second, cut) => {
        const [one, two] = [bytesOf(first), bytesOf(second)];
        const begun = 1 + (cut % (one.length - 1));
        const tracker = new FrameTracker();
        tracker.read(one.subarray(0, begun));
        const rest = Buffer.concat([one.subarray(begun), two]);
        expect(tracker.read(rest, true)).toBe(one.length - begun);
        expect(tracker.isAtBoundary).toBe(true);
      }),
    );
  });

  test.each([false, true])("knows a goodbye, masked: %s", (isMasked) => {
    const tracker = new FrameTracker();
    const bytes = goodbye(isMasked);
    for (const byte of bytes.subarray(0, -1)) tracker.read(Uint8Array.of(byte));
    expect([tracker.hasClosed, tracker.isAtBoundary]).toEqual([false, false]);
    tracker.read(bytes.subarray(-1));
    expect([tracker.hasClosed, tracker.isAtBoundary]).toEqual([true, true]);
    expect(bytes.readUInt16BE(bytes.length - 2)).toBe(1001);
  });
});
