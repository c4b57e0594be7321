/** The admin API from outside: calls with an address and a token, problems as typed failures, and the event stream. */
import type { Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { Agent, request, type Dispatcher } from "undici";
import type { Problem } from "./base/fault.ts";

/** Where the admin API is and who asks. `timeoutMs` bounds one call: connecting, waiting and reading. */
export interface ClientOptions {
  /** Such as `http://127.0.0.1:9900`; a path in front of `/v1` is kept. */
  readonly url: string;
  readonly token?: string;
  readonly timeoutMs: number;
}

/** One call. Query parameters and headers without a value are left out. */
export interface Call {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  /** Absolute, its parts already escaped: `/v1/routes/shop`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Statuses that are answers although they are not 2xx, such as 503 of `/readyz`. */
  readonly accept?: readonly number[];
}

/** What a call gave. `body` is parsed JSON, or text when the answer says it is something else. */
export interface Answer<Body> {
  readonly status: number;
  readonly body: Body;
}

/** One server-sent event. `id` is empty when the stream gave none. */
export interface ServerEvent {
  readonly id: string;
  readonly type: string;
  /** Parsed JSON, or the text itself when it is no JSON. */
  readonly data: unknown;
}

/** How an event stream is followed. */
export interface FollowOptions {
  /** Start after this event; without it, with what happens from now on. */
  readonly after?: string;
  /** Ends the stream. */
  readonly signal?: AbortSignal;
  /** Told of each lost connection and how long it waits before the next attempt. */
  readonly onLost?: (reason: string, waitMs: number) => void;
}

/** What outlives one connection to the event stream. */
interface Seen {
  id: string;
  retryMs: number;
  hasOpened: boolean;
}

/** The longest answer that is read: 64 MiB, above any table with its history page. */
const ANSWER_BYTES_MAX = 64 << 20;
/** The longest line of an event stream: 1 MiB of UTF-16. */
const LINE_LENGTH_MAX = 1 << 20;
/** The first wait before a lost stream is asked for again, unless the server names one; it doubles up to the second. */
const RECONNECT_MS = 1_000;
const RECONNECT_MS_MAX = 15_000;
/** A stream that says nothing for three heartbeats (15 s each) is dead. */
const SILENCE_MS = 45_000;

/**
 * A call that gave no answer.
 *
 * `unavailable`: nobody answered in time. `refused`: the API said no; `status`, `code`, and all `problems` with their
 * JSON pointers come from its problem document (RFC 9457). `unreadable`: something else than the API answered.
 */
export class ApiFailure extends Error {
  readonly kind: "unavailable" | "refused" | "unreadable";
  readonly status: number;
  readonly code: string;
  readonly problems: readonly Problem[];
  /** The problem document as it came, or null. */
  readonly document: Readonly<Record<string, unknown>> | null;

  constructor(
    kind: ApiFailure["kind"],
    message: string,
    more: { status?: number; document?: Readonly<Record<string, unknown>>; cause?: unknown } = {},
  ) {
    super(message, { cause: more.cause });
    this.name = "ApiFailure";
    this.kind = kind;
    this.status = more.status ?? 0;
    this.document = more.document ?? null;
    this.code = typeof this.document?.["code"] === "string" ? this.document["code"] : "";
    this.problems = problemsOf(this.document);
  }
}

/** Speaks to one admin API. Holds connections until it is closed. */
export class AdminClient {
  readonly #base: URL;
  readonly #headers: Record<string, string>;
  readonly #timeoutMs: number;
  readonly #agent: Agent;

  /** Throws TypeError when the address is no http or https URL. */
  constructor(options: ClientOptions) {
    this.#base = new URL(options.url);
    if (this.#base.protocol !== "http:" && this.#base.protocol !== "https:") {
      throw new TypeError(`${options.url} is no http or https address`);
    }
    this.#headers = options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };
    this.#timeoutMs = options.timeoutMs;
    this.#agent = new Agent({ connect: { timeout: options.timeoutMs }, headersTimeout: 0, bodyTimeout: 0 });
  }

  /** The address that is called, without a slash at its end. */
  get url(): string {
    return this.#base.href.replace(/\/$/, "");
  }

  /** Makes one call. Throws ApiFailure. `extraMs` is added to the timeout: for answers that wait on purpose. */
  async call<Body = unknown>(call: Call, extraMs = 0): Promise<Answer<Body>> {
    const signal = AbortSignal.timeout(this.#timeoutMs + extraMs);
    const headers = { ...this.#headers, accept: "application/json", ...present(call.headers) };
    let response: Dispatcher.ResponseData;
    let text: string;
    try {
      response = await request(this.#target(call.path, call.query), {
        method: call.method,
        dispatcher: this.#agent,
        signal,
        headers: call.body === undefined ? headers : { ...headers, "content-type": "application/json" },
        body: call.body === undefined ? null : JSON.stringify(call.body),
      });
      text = await readAll(response.body);
    } catch (error) {
      throw this.#unavailable(
        error,
        signal.aborted ? `no answer within ${(this.#timeoutMs + extraMs) / 1000} s` : causeOf(error),
      );
    }
    const isAnswer = response.statusCode < 300 || (call.accept ?? []).includes(response.statusCode);
    return { status: response.statusCode, body: understand(this.url, response, text, isAnswer) as Body };
  }

  /**
   * Follows the event stream, and takes it up again after a lost connection from the last event it saw.
   *
   * Throws ApiFailure when the very first connection fails or when the API refuses; ends when the signal says so.
   * Source: HTML living standard, section 9.2 (server-sent events).
   */
  async *events(options: FollowOptions = {}): AsyncGenerator<ServerEvent, void, void> {
    const seen: Seen = { id: options.after ?? "", retryMs: RECONNECT_MS, hasOpened: false };
    let waitMs = seen.retryMs;
    while (!isAborted(options.signal)) {
      try {
        for await (const event of this.#connection(seen, options.signal)) {
          waitMs = seen.retryMs;
          yield event;
        }
        if (isAborted(options.signal)) return;
        options.onLost?.("the stream ended", waitMs);
      } catch (error) {
        if (isAborted(options.signal)) return;
        if (!seen.hasOpened || (error instanceof ApiFailure && error.kind !== "unavailable")) throw error;
        options.onLost?.(error instanceof Error ? error.message : String(error), waitMs);
      }
      await pause(waitMs, undefined, options.signal === undefined ? {} : { signal: options.signal }).catch(
        (error: unknown) => {
          if (!isAborted(options.signal)) throw error;
        },
      );
      waitMs = Math.min(waitMs * 2, RECONNECT_MS_MAX);
    }
  }

  /** Closes every connection at once. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** One connection to the stream, until it ends. Keeps `seen` up to date, which outlives it. */
  async *#connection(seen: Seen, signal: AbortSignal | undefined): AsyncGenerator<ServerEvent, void, void> {
    let response: Dispatcher.ResponseData;
    try {
      response = await request(this.#target("/v1/events", {}), {
        method: "GET",
        dispatcher: this.#agent,
        bodyTimeout: SILENCE_MS,
        headersTimeout: this.#timeoutMs,
        headers: {
          ...this.#headers,
          accept: "text/event-stream",
          ...(seen.id === "" ? {} : { "last-event-id": seen.id }),
        },
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      throw this.#unavailable(error, causeOf(error));
    }
    if (response.statusCode !== 200) {
      understand(this.url, response, await readAll(response.body), false);
    }
    seen.hasOpened = true;
    response.body.setEncoding("utf8");
    yield* parseEvents(response.body as AsyncIterable<string>, seen);
  }

  #target(path: string, query: Call["query"]): string {
    const target = new URL(this.url + path);
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined) target.searchParams.set(name, String(value));
    }
    return target.href;
  }

  #unavailable(error: unknown, reason: string): ApiFailure {
    if (error instanceof ApiFailure) return error;
    return new ApiFailure("unavailable", `cannot reach the admin API at ${this.url}: ${reason}`, {
      cause: error,
    });
  }
}

/**
 * Events from the text of a stream, in pieces of any size.
 *
 * Comments and unknown fields are skipped, as the standard asks. `seen` follows the last id and the server's retry
 * time. Throws ApiFailure when a line is longer than LINE_LENGTH_MAX.
 */
export async function* parseEvents(
  pieces: AsyncIterable<string>,
  seen: Pick<Seen, "id" | "retryMs">,
): AsyncGenerator<ServerEvent, void, void> {
  let rest = "";
  let type = "";
  let data: string[] = [];
  for await (const piece of pieces) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop() as string;
    if (rest.length > LINE_LENGTH_MAX || data.length > LINE_LENGTH_MAX) {
      throw new ApiFailure("unreadable", "the event stream sent a line without end");
    }
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (data.length > 0) yield { id: seen.id, type: type || "message", data: jsonOr(data.join("\n")) };
        type = "";
        data = [];
        continue;
      }
      const colon = line.indexOf(":");
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") type = value;
      else if (field === "data") data.push(value);
      else if (field === "id" && !value.includes("\0")) seen.id = value;
      else if (field === "retry" && /^\d{1,6}$/.test(value)) seen.retryMs = Number(value);
    }
  }
}

/** The body of an answer, or the ApiFailure that it stands for. */
function understand(
  url: string,
  response: Dispatcher.ResponseData,
  text: string,
  isAnswer: boolean,
): unknown {
  const type = String(response.headers["content-type"] ?? "");
  const status = response.statusCode;
  const isJson = /^application\/(?:[\w.+-]+\+)?json\b/i.test(type);
  let body: unknown = text;
  if (isJson) {
    try {
      body = JSON.parse(text);
    } catch (error) {
      throw new ApiFailure("unreadable", `${url} answered ${status} with broken JSON`, {
        status,
        cause: error,
      });
    }
  }
  if (isAnswer) return body;
  if (!isJson || typeof body !== "object" || body === null) {
    throw new ApiFailure(
      "unreadable",
      `${url} answered ${status}, which is no answer of Crossfade's admin API`,
      {
        status,
      },
    );
  }
  const document = body as Readonly<Record<string, unknown>>;
  const words = [document["detail"], document["title"]].find(
    (word) => typeof word === "string" && word !== "",
  );
  throw new ApiFailure("refused", (words as string | undefined) ?? `the API answered ${status}`, {
    status,
    document,
  });
}

/** The list of problems in a problem document. */
function problemsOf(document: Readonly<Record<string, unknown>> | null): Problem[] {
  const list = document?.["errors"];
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry: unknown) => {
    if (typeof entry !== "object" || entry === null) return [];
    const { path, message } = entry as Record<string, unknown>;
    return [{ path: textOf(path), message: textOf(message) }];
  });
}

async function readAll(body: Readable): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of body as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > ANSWER_BYTES_MAX) throw new ApiFailure("unreadable", "the answer is longer than 64 MiB");
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}

/** The innermost words about a failed connection. An AggregateError (two address families) has none of its own. */
function causeOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return causeOf(error.errors[0]);
  if (!(error instanceof Error)) return String(error);
  if (error.message === "" && error.cause !== undefined) return causeOf(error.cause);
  return error.message;
}

function present(values: Call["headers"]): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values ?? {}).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

// A function, because the signal changes while the compiler thinks it cannot.
function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}
