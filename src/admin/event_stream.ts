/** Server-sent events: a stream per subscriber, with what it missed, a heartbeat, and a bound on what is unread. */
import type { Journal, JournalEvent } from "../control/journal.ts";

/** How many may listen at once. */
export const SUBSCRIBERS_MAX = 100;
/** Events that a subscriber may leave unread before it is dropped, and their bytes. */
export const UNREAD_EVENTS_MAX = 1000;
export const UNREAD_BYTES_MAX = 1 << 20;

/** How often something is sent although nothing happens, so that both sides notice a dead connection. */
const HEARTBEAT_MS = 15_000;
/** How long clients wait before they connect again. */
const RETRY_MS = 1000;

/** One subscriber's wishes. */
export interface Subscription {
  /** The last event it saw; null to start with what happens from now on. */
  readonly lastEventId: string | null;
  /** Ends the stream properly. */
  readonly closing?: AbortSignal;
  /** Cuts the connection of a subscriber that does not read. */
  readonly cut?: () => void;
}

/** The live event streams of one admin API. */
export class EventStreams {
  readonly #journal: Journal;
  readonly #heartbeatMs: number;
  readonly #open = new Set<Stream>();

  constructor(journal: Journal, heartbeatMs = HEARTBEAT_MS) {
    this.#journal = journal;
    this.#heartbeatMs = heartbeatMs;
  }

  /** How many listen now. */
  get count(): number {
    return this.#open.size;
  }

  /** A new stream as the body of an answer, or null when SUBSCRIBERS_MAX listen already. */
  open(subscription: Subscription): ReadableStream<Uint8Array> | null {
    if (this.#open.size >= SUBSCRIBERS_MAX) return null;
    const stream = new Stream(subscription.cut, (ended) => this.#open.delete(ended));
    this.#open.add(stream);
    // Nothing can happen between looking back and listening: both are in this turn.
    stream.begin(this.#opening(subscription.lastEventId));
    const unsubscribe = this.#journal.subscribe((event) => stream.push(format(event)));
    const heartbeat = setInterval(() => stream.push(": heartbeat\n\n"), this.#heartbeatMs);
    heartbeat.unref();
    const { closing } = subscription;
    const close = (): void => stream.end();
    closing?.addEventListener("abort", close, { once: true });
    stream.onEnd(() => {
      unsubscribe();
      clearInterval(heartbeat);
      closing?.removeEventListener("abort", close);
    });
    if (closing?.aborted === true) stream.end();
    return stream.body;
  }

  #opening(lastEventId: string | null): string {
    const retry = `retry: ${RETRY_MS}\n\n`;
    if (lastEventId === null) return retry;
    const { events, gap } = this.#journal.after(lastEventId);
    const notice = gap ? `event: gap\ndata: ${JSON.stringify({ after: lastEventId })}\n\n` : "";
    return retry + notice + events.map(format).join("");
  }
}

/** An event in the format of the HTML living standard, section 9.2. */
function format(event: JournalEvent): string {
  const data = { ...event.data, at: new Date(event.atMs).toISOString() };
  return `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** A queue between the journal, which does not wait, and a reader that may be slow. */
class Stream {
  readonly body: ReadableStream<Uint8Array>;
  readonly #cut: (() => void) | undefined;
  readonly #encoder = new TextEncoder();
  #opening: Uint8Array | null = null;
  readonly #unread: Uint8Array[] = [];
  readonly #endings: (() => void)[] = [];
  #unreadBytes = 0;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  /** The reader asked for more than there was. */
  #isHungry = false;
  #hasEnded = false;

  constructor(cut: (() => void) | undefined, onEnd: (stream: Stream) => void) {
    this.#cut = cut;
    this.#endings.push(() => onEnd(this));
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#feed(),
        cancel: () => this.#finish(),
      },
      { highWaterMark: 0 },
    );
  }

  onEnd(listener: () => void): void {
    this.#endings.push(listener);
  }

  /** Puts the first piece in. It is bounded by what the journal remembers, so it does not count as unread. */
  begin(text: string): void {
    this.#opening = this.#encoder.encode(text);
  }

  /** Hands on a piece, or drops the subscriber when it left too much unread. */
  push(text: string): void {
    if (this.#hasEnded) return;
    const piece = this.#encoder.encode(text);
    if (this.#isHungry) {
      this.#isHungry = false;
      this.#controller?.enqueue(piece);
    } else if (
      this.#unread.length < UNREAD_EVENTS_MAX &&
      this.#unreadBytes + piece.length <= UNREAD_BYTES_MAX
    ) {
      this.#unread.push(piece);
      this.#unreadBytes += piece.length;
    } else {
      this.end();
      this.#cut?.();
    }
  }

  /** Ends the stream; what is unread is gone. */
  end(): void {
    if (this.#hasEnded) return;
    this.#finish();
    this.#controller?.close();
  }

  #feed(): void {
    const piece = this.#opening ?? this.#unread.shift();
    if (piece === undefined) {
      this.#isHungry = true;
      return;
    }
    if (this.#opening === null) this.#unreadBytes -= piece.length;
    this.#opening = null;
    this.#controller?.enqueue(piece);
  }

  #finish(): void {
    this.#hasEnded = true;
    this.#opening = null;
    this.#unread.length = 0;
    this.#unreadBytes = 0;
    for (const ending of this.#endings) ending();
  }
}
