/** The answers to one mirrored request, from its beginning until all that are waited for are there. */
import type { FaultCode } from "../base/fault.ts";
import type { CapturedAnswer, NotComparedReason } from "../domain/compare_words.ts";
import type { CompiledCompare } from "../domain/table.ts";
import type { ResponseHead } from "../http/head.ts";
import { Capture } from "./capture.ts";
import type { Room } from "./room.ts";

/** What one request is compared for, and how. */
export interface ComparingOrder {
  readonly route: string;
  readonly compare: CompiledCompare;
  /** Whose answer the client gets. */
  readonly isPrimaryLegacy: boolean;
  /** Whether legacy gets the request a second time, to learn in what its own answers differ. */
  readonly hasSecond: boolean;
}

/** Gets each comparison that is ready, exactly once, and releases it when it has no more use for the answers. */
export type ReadyListener = (comparing: Comparing) => void;

/**
 * The answers to one request, which are captured as they pass.
 *
 * It is ready once the client's answer, the copy's and, if there is one, the second one of legacy are settled; then it
 * is given away. Or it is given up before that: a copy that was given up for a bound of ours says nothing about
 * backends.
 */
export class Comparing {
  readonly order: ComparingOrder;
  readonly copy: Capture;
  /** Legacy's answer to the second request. */
  readonly second: Capture | null;
  readonly #primary: Capture;
  readonly #onReady: ReadyListener;
  #isOver = false;
  /** The client left before it had its whole answer. */
  #isCutOff = false;
  #hasNoSecond = false;

  constructor(order: ComparingOrder, room: Room, onReady: ReadyListener) {
    this.order = order;
    this.#onReady = onReady;
    const { names, policy } = order.compare;
    const rules = { names, bodyBytesMax: policy.bodyBytesMax, hasBody: policy.body !== "off" };
    const capture = (): Capture => new Capture(rules, room, () => this.#onSettled());
    this.#primary = capture();
    this.copy = capture();
    this.second = order.hasSecond ? capture() : null;
  }

  // From the request.

  onHead(head: ResponseHead): void {
    this.#primary.onHead(head);
  }

  onData(bytes: Buffer): void {
    this.#primary.onData(bytes);
  }

  onEnd(): void {
    this.#primary.onEnd();
  }

  /** The backend that was asked first failed, whoever answers in the end. */
  onFault(code: FaultCode): void {
    this.#primary.onFault(code);
  }

  /** The request is over, however it ended. */
  onPrimaryOver(): void {
    if (this.#isOver || this.#primary.isSettled) return;
    this.#isCutOff = true;
    this.#primary.onCut();
  }

  // From the copies.

  /** The copy was given up, so there is nothing to compare. */
  onCopyLost(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.release();
  }

  /** Legacy will not answer a second time. */
  onSecondLost(): void {
    if (this.#isOver) return;
    this.#hasNoSecond = true;
    this.second?.onCut();
  }

  // To whoever compares.

  get legacy(): CapturedAnswer {
    return (this.order.isPrimaryLegacy ? this.#primary : this.copy).answer;
  }

  get candidate(): CapturedAnswer {
    return (this.order.isPrimaryLegacy ? this.copy : this.#primary).answer;
  }

  /** Why the two are not compared, as far as it is known without looking at them. */
  get obstacle(): NotComparedReason | null {
    if (this.#isCutOff) return "cut off";
    return this.#primary.lacksRoom || this.copy.lacksRoom ? "no room" : null;
  }

  /** Why legacy's two answers are not compared. */
  get secondObstacle(): NotComparedReason | null {
    if (this.#hasNoSecond) return "no copy";
    const { isPrimaryLegacy } = this.order;
    if (this.#isCutOff && isPrimaryLegacy) return "cut off";
    const legacy = isPrimaryLegacy ? this.#primary : this.copy;
    return legacy.lacksRoom || this.second?.lacksRoom === true ? "no room" : null;
  }

  /** Gives back the room that its answers take. */
  release(): void {
    for (const capture of [this.#primary, this.copy, this.second]) capture?.release();
  }

  #onSettled(): void {
    if (this.#isOver || !this.#primary.isSettled || !this.copy.isSettled) return;
    if (this.second !== null && !this.second.isSettled) return;
    this.#isOver = true;
    this.#onReady(this);
  }
}
