/** Streams of events: which answers are some, and where they may end early. */
import { fieldValue, type ResponseHead } from "../http/head.ts";

const EVENT_STREAM = /^text\/event-stream\b/i;
const [CR, LF] = [0x0d, 0x0a];
/** Two line ends of two bytes each are the longest that is looked at. */
const TAIL_BYTES = 4;

/** Whether an answer is a stream of events: silent for as long as nothing happens, and ended when somebody ends it. */
export function isEventStream(head: ResponseHead): boolean {
  return EVENT_STREAM.test(fieldValue(head, "content-type") ?? "");
}

/** Follows one stream. An empty line ends an event. Source: HTML standard, server-sent events, section 9.2.5. */
export class EventStream {
  /** Line ends since the last byte that was none; CR LF counts as one. */
  #lineEnds = 2;
  #last = 0;
  #isLeaving = false;

  /** Whether it shall end, and no event has begun that has not ended. */
  get mayEnd(): boolean {
    return this.#isLeaving && this.#lineEnds >= 2;
  }

  /** It shall end as soon as it may. */
  leave(): void {
    this.#isLeaving = true;
  }

  read(bytes: Uint8Array): void {
    for (let at = Math.max(0, bytes.length - TAIL_BYTES); at < bytes.length; at++) {
      const byte = bytes[at] as number;
      if (byte !== CR && byte !== LF) this.#lineEnds = 0;
      else if (byte === CR || this.#last !== CR) this.#lineEnds++;
      this.#last = byte;
    }
  }
}
