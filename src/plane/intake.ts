/** The body of one request as it arrives: where it ends, and whether it comes at a tolerable pace. */
import type { FaultCode } from "../base/fault.ts";
import { BodyReader, type BodySink } from "../http/body.ts";
import type { RequestHead } from "../http/head.ts";
import { Pace } from "./pace.ts";
import { BODY_IDLE_MS } from "./patience.ts";

/** Reads one body. It is over when it is whole, or when its fault is known. */
export class Intake {
  readonly #reader: BodyReader;
  #pace: Pace | null;
  #isTooSlow = false;

  constructor(head: RequestHead, nowMs: number) {
    this.#reader = new BodyReader(head.body, head.contentLength);
    this.#pace = new Pace(nowMs);
  }

  get isDone(): boolean {
    return this.#reader.isDone;
  }

  /** What is wrong with it; null while nothing is. */
  get fault(): FaultCode | null {
    return this.#reader.fault ?? (this.#isTooSlow && !this.isDone ? "BODY_TIMEOUT" : null);
  }

  /** Complete lines of trailers that may be passed on, and how many may not. */
  get trailers(): { readonly lines: string; readonly dropped: number } {
    return { lines: this.#reader.trailers, dropped: this.#reader.trailersDropped };
  }

  /** Takes bytes. Gives where the body ended, or their end. */
  read(bytes: Buffer, nowMs: number, sink: BodySink): number {
    this.#isTooSlow = this.#pace?.isTooSlow(bytes.length, nowMs) === true;
    return this.#reader.read(bytes, 0, sink);
  }

  /** When the next bytes must be there; never, once an answer was given without them. */
  limitMs(nowMs: number): number {
    return this.#pace === null ? Infinity : Math.min(nowMs + BODY_IDLE_MS, this.#pace.limitMs(nowMs));
  }

  /** Reading was held back until now. */
  restart(nowMs: number): void {
    this.#pace?.restart(nowMs);
  }

  /** An answer was given without the rest: the client owes nothing more. */
  letGo(): void {
    this.#pace = null;
  }
}
