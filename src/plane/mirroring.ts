/** The copies of one request, as the request sees them. */
import type { FaultCode } from "../base/fault.ts";
import type { ResponseHead } from "../http/head.ts";
import type { Comparing } from "./comparing.ts";
import type { Shadow } from "./shadow.ts";

/** What a request with copies tells them. Nothing here ever waits, fails or answers. */
export class Mirroring {
  readonly #copies: readonly Shadow[];
  /** Null where the answers are not compared. */
  readonly #comparing: Comparing | null;

  constructor(copies: readonly Shadow[], comparing: Comparing | null) {
    this.#copies = copies;
    this.#comparing = comparing;
  }

  /** A piece of the request's body; copied. */
  onBody(bytes: Buffer): void {
    for (const copy of this.#copies) copy.onBody(bytes);
  }

  /** `trailers`: complete lines that may be passed on. */
  onBodyEnd(trailers: string): void {
    for (const copy of this.#copies) copy.onBodyEnd(trailers);
  }

  /** The head of the answer that the client gets. */
  onAnswer(head: ResponseHead): void {
    this.#comparing?.onHead(head);
  }

  /** A piece of that answer's body; what is kept of it is copied. */
  onAnswerData(bytes: Buffer): void {
    this.#comparing?.onData(bytes);
  }

  onAnswerEnd(): void {
    this.#comparing?.onEnd();
  }

  /** The backend did not answer, or not to the end. */
  onAnswerFault(code: FaultCode): void {
    this.#comparing?.onFault(code);
  }

  /** The request is over, however it ended. */
  onPrimaryOver(): void {
    for (const copy of this.#copies) copy.onPrimaryOver();
    this.#comparing?.onPrimaryOver();
  }
}
