/** All copies of requests in one worker: which requests have some, within which bounds, and what became of them. */
import type { StepClock } from "../base/clock.ts";
import { assert } from "../base/fault.ts";
import type { Random } from "../base/random.ts";
import type { Pick } from "../domain/pick.ts";
import { SHARES_TOTAL, type Backend, type MirrorPolicy } from "../domain/route.ts";
import { isSampled } from "../domain/sampling.ts";
import type { CompiledMirror, CompiledRoute, RequestView } from "../domain/table.ts";
import { shadowForward, type RequestContext } from "../http/forward.ts";
import type { RequestHead } from "../http/head.ts";
import { ShadowCell, type ShadowCount, type ShadowResult } from "../shared/counters.ts";
import type { Capture } from "./capture.ts";
import { Comparer, type StartThread } from "./comparer.ts";
import { Comparing } from "./comparing.ts";
import type { Deadlines } from "./deadlines.ts";
import type { DryRun } from "./dry_run.ts";
import { Mirroring } from "./mirroring.ts";
import { Pool } from "./pool.ts";
import type { Resolver } from "./resolver.ts";
import { Room } from "./room.ts";
import { Shadow, type ShadowOrder } from "./shadow.ts";

/** Copies under way in one worker, whatever their routes. */
const IN_FLIGHT_MAX = 1024;
/** What all copies under way hold of requests together, and what is held of answers that are compared. */
const HELD_BYTES_MAX = 32 * 1024 * 1024;
/** Of an answer that is not compared so much is read. */
const ANSWER_BYTES_MAX = 64 * 1024;
/** Every read from a shadow lands in a buffer of this size, which no answer to a client ever sees. */
const READ_BYTES = 64 * 1024;

const DRAW_MAX = 0x1_0000_0000;

/** What ends a copy before its backend has said anything: a bound of ours, or the request itself. */
const GIVEN_UP: ReadonlySet<ShadowResult> = new Set([
  "busy",
  "overload",
  "body_too_large",
  "memory",
  "incomplete",
  "unproved",
  "stopped",
]);

/** What copies share with the rest of their worker: time, chance and names, and nothing that carries requests. */
interface ShadowShared {
  readonly clock: StepClock;
  readonly random: Random;
  readonly deadlines: Deadlines;
  readonly resolver: Resolver;
  readonly dryRun: DryRun;
}

/** A request as a copy is made of it. */
interface MirroredRequest {
  readonly head: RequestHead;
  readonly context: RequestContext;
  /** The client's address, as far as those are believed who tell it. */
  readonly client: string;
}

/**
 * All copies of one worker.
 *
 * They have connections of their own, so that no queue, bound or refusal of a shadow meets a request. Whatever a copy
 * would need beyond a bound, it is given up instead, and counted by why; nothing here ever makes a request wait.
 */
export class Shadows {
  readonly pool: Pool;
  readonly comparer: Comparer;
  readonly #shared: ShadowShared;
  readonly #live = new Set<Shadow>();
  readonly #cells = new Map<string, ShadowCell>();
  readonly #room = new Room(HELD_BYTES_MAX);
  readonly #answerRoom = new Room(HELD_BYTES_MAX);
  #isShedding = false;

  constructor(shared: ShadowShared, startThread?: StartThread) {
    this.#shared = shared;
    const { clock, deadlines, resolver } = shared;
    this.pool = new Pool({ clock, deadlines, resolver, readBuffer: Buffer.allocUnsafeSlow(READ_BYTES) });
    this.comparer = new Comparer(clock, shared.random.id(), startThread);
  }

  /** Bytes of requests that copies under way hold now, and bytes of answers. */
  get heldBytes(): number {
    return this.#room.held + this.#answerRoom.held;
  }

  /** Begins the copies of a request that was just given to the backend it was `picked` for, if it is to have any. */
  mirror(
    compiled: CompiledRoute,
    picked: Pick,
    view: RequestView,
    request: MirroredRequest,
  ): Mirroring | null {
    const { mirror, route } = compiled;
    assert(mirror !== null, "only routes with a mirror ask");
    const { head } = request;
    const { random } = this.#shared;
    // Both ask the backend something before they go on, and the answer is another one for each backend.
    if (head.isWebSocket || head.expectsContinue) return null;
    if (!isSampled(mirror, picked, view, (below) => random.draw(below))) return null;
    const cell = this.#cellOf(route.id);
    cell.add("sampled");
    const refusal = this.#refusal(mirror, cell, head);
    if (refusal !== null) {
      cell.add(refusal);
      return null;
    }
    const comparing = this.#comparing(compiled, mirror, picked, head);
    const copy = this.#begin(compiled, mirror, request, {
      backend: mirror.backend,
      capture: comparing?.copy ?? null,
      onOver: (result) => {
        cell.add(result);
        if (GIVEN_UP.has(result)) comparing?.onCopyLost();
        else comparing?.copy.onCut();
      },
    });
    if (comparing === null || comparing.second === null || mirror.compare === null) {
      return new Mirroring([copy], comparing);
    }
    const { second } = comparing;
    const other = this.#begin(compiled, mirror, request, {
      backend: mirror.compare.legacy,
      capture: second,
      onOver: (result) => {
        if (GIVEN_UP.has(result)) comparing.onSecondLost();
        else second.onCut();
      },
    });
    return new Mirroring([copy, other], comparing);
  }

  /** Follows a new table, as Pool.follow does. Copies under way go on. */
  follow(backends: Iterable<Backend>): void {
    this.pool.follow(backends);
  }

  /** Makes no copies while the worker is pressed, and no comparisons that need the thread. */
  shed(what: { readonly mirrors: boolean; readonly comparisons: boolean }): void {
    this.#isShedding = what.mirrors;
    this.comparer.shed(what.comparisons);
  }

  /** The numbers of the routes whose copies changed since the last call, or of all. */
  report(all: boolean): ShadowCount[] {
    const changed = [...this.#cells.values()].filter((cell) => all || cell.changed);
    return changed.flatMap((cell) => {
      cell.changed = false;
      return cell.counts();
    });
  }

  /** Gives up every copy and closes every connection: the worker ends. All is counted when the promise is kept. */
  async close(): Promise<void> {
    for (const shadow of this.#live) shadow.stop();
    this.pool.closeIdle();
    await this.comparer.close();
  }

  #refusal({ policy }: CompiledMirror, cell: ShadowCell, head: RequestHead): ShadowResult | null {
    if (this.#isShedding) return "overload";
    if (this.#live.size >= IN_FLIGHT_MAX || cell.inFlight > policy.inFlightMax) return "busy";
    if (head.contentLength > policy.bodyBytesMax) return "body_too_large";
    return mayWrite(policy, head) && this.#shared.dryRun.isRefused(policy.to) ? "unproved" : null;
  }

  /** Where its answers are captured; null where they are not compared. */
  #comparing(
    { route, legacy, candidate }: CompiledRoute,
    mirror: CompiledMirror,
    picked: Pick,
    head: RequestHead,
  ): Comparing | null {
    const { compare, backend } = mirror;
    if (compare === null) return null;
    const isPrimaryLegacy = backend.id !== legacy.id;
    // Another backend than the two answers some pinned requests only, and those have no copies.
    if (picked.backend.id !== (isPrimaryLegacy ? legacy.id : candidate.id)) return null;
    // Legacy does not pretend: what a request changes there, it changes once.
    const hasSecond =
      !mayWrite(mirror.policy, head) &&
      this.#live.size + 1 < IN_FLIGHT_MAX &&
      this.#shared.random.draw(SHARES_TOTAL) < compare.secondShares;
    const order = { route: route.id, compare, isPrimaryLegacy, hasSecond };
    return new Comparing(order, this.#answerRoom, (one) => this.comparer.take(one));
  }

  #begin(
    { route }: CompiledRoute,
    { policy, compare }: CompiledMirror,
    { head, context, client }: MirroredRequest,
    to: Readonly<{ backend: Backend; capture: Capture | null; onOver: (result: ShadowResult) => void }>,
  ): Shadow {
    const { clock, deadlines, dryRun } = this.#shared;
    const isWrite = mayWrite(policy, head);
    const text = shadowForward(head, context, this.#spanId());
    const { responseMs, connectMs } = route.timeouts;
    const limitMs = Math.min(policy.timeoutMs, responseMs === 0 ? Infinity : responseMs);
    const order: ShadowOrder = {
      text: isWrite ? `${text.slice(0, -2)}${dryRun.line()}\r\n` : text,
      method: head.method,
      isChunked: head.body === "chunked",
      backend: to.backend,
      bodyBytesMax: policy.bodyBytesMax,
      answerBytesMax: Math.max(ANSWER_BYTES_MAX, compare?.policy.bodyBytesMax ?? 0),
      connectMs: Math.min(connectMs, limitMs),
      deadlineMs: clock.nowMs() + limitMs,
      client,
      capture: to.capture,
      dryRun: isWrite ? dryRun : null,
    };
    const shadow = new Shadow(order, {
      pool: this.pool,
      room: this.#room,
      onOver: (one, result) => {
        this.#live.delete(one);
        deadlines.remove(one);
        to.onOver(result);
      },
    });
    this.#live.add(shadow);
    deadlines.add(shadow);
    shadow.start(head.body === "none", Math.max(0, head.contentLength));
    return shadow;
  }

  /** Bound: one for each route that ever had a mirror. */
  #cellOf(route: string): ShadowCell {
    let cell = this.#cells.get(route);
    if (cell === undefined) {
      cell = new ShadowCell(route);
      this.#cells.set(route, cell);
    }
    return cell;
  }

  /** 16 hex digits, not all of them 0. */
  #spanId(): string {
    const { random } = this.#shared;
    const half = (from: number): string =>
      (from + random.draw(DRAW_MAX - from)).toString(16).padStart(8, "0");
    return half(1) + half(0);
  }
}

/** Whether a request may change something at whoever gets it. */
function mayWrite({ writes }: MirrorPolicy, { method }: RequestHead): boolean {
  return writes.some((one) => one === method);
}
