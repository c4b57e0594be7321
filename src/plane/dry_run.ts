/** Proof that a backend only pretends to write: asked of a connection before a copy that might change something. */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import { assert, type FaultCode } from "../base/fault.ts";
import type { Logger } from "../base/logger.ts";
import type { Random } from "../base/random.ts";
import { fieldValues, type ResponseHead } from "../http/head.ts";
import type { UpstreamConnection, UpstreamHandler } from "./upstream.ts";

/** Where a backend is asked. Source for the prefix: RFC 8615. */
const PATH = "/.well-known/crossfade/dry-run";
/** What is signed with the secret begins with one of these, so that neither can stand for the other. */
const [ASK, PROOF] = ["crossfade dry-run ask v1", "crossfade dry-run proof v1"];

/** How long what we signed is worth something to whoever reads it. */
const SIGNED_SECONDS = 60;
/** How long a connection counts as proved. */
const PROVED_MS = 30_000;
/** A backend that did not prove it is not asked again for so long. */
const REFUSED_MS = 5_000;
/** A log line about it no more often than this, for each backend. */
const SAID_MS = 60_000;
const OK_FIRST = 200;
const OK_LAST = 299;

const NO_TIMES = { responseMs: 0, idleMs: 0 };

/** What was signed, and until when it holds. */
interface Signed {
  readonly nonce: string;
  /** Unix seconds. */
  readonly expires: number;
}

/**
 * Knows which connections lead to a backend that has proved to be in dry-run mode.
 *
 * The proof is asked for on the very connection that the copy then goes on: `OPTIONS` at PATH with
 * `Crossfade-Dry-Run: v1 NONCE EXPIRES SIGNATURE`. A backend that pretends answers 2xx with
 * `Crossfade-Dry-Run: v1 PROOF`. Both are HMAC-SHA256 with the shared secret, in hexadecimal, over a word of its own,
 * NONCE and EXPIRES, one a line. Without a secret nothing is ever proved.
 */
export class DryRun {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Logger;
  readonly #provedUntilMs = new WeakMap<UpstreamConnection, number>();
  /** Bound: one for each backend that ever had to prove it. */
  readonly #refusedUntilMs = new Map<string, number>();
  readonly #saidMs = new Map<string, number>();
  #secret: string | null = null;

  constructor(clock: Clock, random: Random, log: Logger) {
    this.#clock = clock;
    this.#random = random;
    this.#log = log;
  }

  /** Takes another secret; null for none. What was proved by another one still holds for its time. */
  configure(secret: string | null): void {
    this.#secret = secret;
  }

  /** Whether it makes no sense to ask this backend now. */
  isRefused(backend: string): boolean {
    if (this.#secret === null) {
      this.#say(backend, "no secret is set: CROSSFADE_DRY_RUN_SECRET");
      return true;
    }
    return this.#clock.nowMs() < (this.#refusedUntilMs.get(backend) ?? -Infinity);
  }

  isProved(connection: UpstreamConnection): boolean {
    return this.#clock.nowMs() < (this.#provedUntilMs.get(connection) ?? -Infinity);
  }

  /** The line with which every copy that might write says that it must not. */
  line(): string {
    return this.#line(this.#sign());
  }

  /** Asks for the proof on a connection. `onDone` is called once, unless the connection is destroyed before. */
  prove(connection: UpstreamConnection, backend: string, onDone: (isProved: boolean) => void): void {
    const signed = this.#sign();
    const host = "host" in connection.endpoint ? connection.endpoint.host : "localhost";
    const authority = host.includes(":") ? `[${host}]` : host;
    const text = `OPTIONS ${PATH} HTTP/1.1\r\nHost: ${authority}\r\nCrossfade-Shadow: 1\r\n${this.#line(signed)}\r\n`;
    const question = new Question((head) => {
      const trouble = this.#troubleWith(head, signed);
      if (trouble === null) this.#provedUntilMs.set(connection, this.#clock.nowMs() + PROVED_MS);
      else this.#refuse(backend, trouble);
      onDone(trouble === null);
    });
    connection.send({ text, method: "OPTIONS", isUpgrade: false }, question, NO_TIMES);
    connection.endRequest();
  }

  #line({ nonce, expires }: Signed): string {
    return `Crossfade-Dry-Run: v1 ${nonce} ${expires} ${this.#hash(ASK, { nonce, expires })}\r\n`;
  }

  #sign(): Signed {
    const nonce = this.#random.id();
    return { nonce, expires: Math.floor(this.#clock.wallMs() / 1000) + SIGNED_SECONDS };
  }

  #hash(word: string, { nonce, expires }: Signed): string {
    assert(this.#secret !== null, "nothing is signed without a secret");
    return createHmac("sha256", this.#secret).update(`${word}\n${nonce}\n${expires}`).digest("hex");
  }

  /** Why an answer proves nothing, or null. */
  #troubleWith(head: ResponseHead | FaultCode, signed: Signed): string | null {
    if (typeof head === "string") return `it did not answer: ${head}`;
    if (head.status < OK_FIRST || head.status > OK_LAST) return `it answered ${head.status}`;
    const [value, ...others] = fieldValues(head, "crossfade-dry-run");
    if (value === undefined || others.length > 0)
      return "its answer has no Crossfade-Dry-Run field, or several";
    const due = `v1 ${this.#hash(PROOF, signed)}`;
    const isSame = value.length === due.length && timingSafeEqual(Buffer.from(value), Buffer.from(due));
    if (!isSame) return "its proof is wrong: is it the same secret?";
    return Math.floor(this.#clock.wallMs() / 1000) <= signed.expires ? null : "its proof came too late";
  }

  #refuse(backend: string, why: string): void {
    this.#refusedUntilMs.set(backend, this.#clock.nowMs() + REFUSED_MS);
    this.#say(backend, why);
  }

  #say(backend: string, why: string): void {
    const nowMs = this.#clock.nowMs();
    if (nowMs < (this.#saidMs.get(backend) ?? -Infinity) + SAID_MS) return;
    this.#saidMs.set(backend, nowMs);
    this.#log.warn(
      { backend, why },
      "no copies of requests that write: no proof that they are only pretended",
    );
  }
}

/** Gets the answer to one question: its head, or why there is none. */
class Question implements UpstreamHandler {
  readonly #onDone: (head: ResponseHead | FaultCode) => void;
  #head: ResponseHead | null = null;

  constructor(onDone: (head: ResponseHead | FaultCode) => void) {
    this.#onDone = onDone;
  }

  onInterim(): void {}

  onUpgrade(): void {
    assert(false, "no question asks for an upgrade");
  }

  onHead(head: ResponseHead): void {
    this.#head = head;
  }

  onData(): void {}

  onEnd(): void {
    this.#onDone(this.#head ?? "BAD_RESPONSE");
  }

  onFault(code: FaultCode): void {
    this.#onDone(code);
  }

  onFlush(): void {}

  onDrain(): void {}
}
