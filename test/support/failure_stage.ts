/** Takes one exchange to one point, makes something fail there, and reports what everybody saw. */
import type { CellSnapshot } from "../../src/shared/counters.ts";
import { cellOf, type PlaneStage, type TestPlane } from "./plane.ts";
import { StepBackend, answerTo, readMessage, type Message, type StepConnection } from "./stepwise.ts";
import { RawClient } from "./wire.ts";

/** How far an exchange has come, in order. Those with `response` say how the response is framed. */
export const POINTS = [
  "accepted",
  "part of the request head",
  "request head",
  "part of the request body",
  "request",
  "interim 103",
  "interim 100",
  "part of the response head",
  "response head, length",
  "response head, chunks",
  "response head, close",
  "part of the response, length",
  "part of the response, chunks",
  "part of the response, close",
  "response",
] as const;
/** One of POINTS. */
export type Point = (typeof POINTS)[number];

/** Who fails how. `abort` is the client's; the others are the backend's. */
export const KINDS = ["close", "reset", "malformed", "silence", "abort"] as const;
/** One of KINDS. */
export type Kind = (typeof KINDS)[number];

/** What the request's body is like. `large` is longer than may be held for another attempt. */
export const BODIES = ["none", "length", "chunked", "large"] as const;
/** One of BODIES. */
export type Body = (typeof BODIES)[number];

/** One case of the model. */
export interface Failure {
  readonly method: string;
  readonly body: Body;
  readonly isReused: boolean;
  readonly point: Point;
  readonly kind: Kind;
}

/** What can be seen of a case from outside. */
export interface Observation {
  /** The status of one complete answer; `cut`: part of one; `nothing`: not even a part. */
  readonly client: number | "cut" | "nothing";
  /** Requests of which the backend read at least a part. */
  readonly sent: number;
  readonly failures: number;
  readonly retries: number;
  readonly finished: number;
  readonly aborted: number;
  readonly excess: number;
  /** The status it was counted and logged with. */
  readonly logged: number | undefined;
}

/** A body is held for another attempt up to here. */
const HELD_MAX = 64;
/** Longer than any timeout of a backend or of a client's body. */
const SILENCE_MS = 61_000;
/** Turns of the event loop until bytes that were written on loopback have been dealt with. */
const TURNS = 4;
const TURNS_MAX = 20_000;

const PIECE: Readonly<Record<Body, string>> = {
  none: "",
  length: "hello",
  chunked: "hello",
  large: "x".repeat(100),
};
const RESPONSES: Readonly<Record<string, readonly [head: string, part: string]>> = {
  length: ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "hello"],
  chunks: ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n"],
  close: ["HTTP/1.1 200 OK\r\n\r\n", "hello"],
};
const GARBAGE = "\u0000zz\n";

/** The bodies are two equal pieces; between them the client can be made to wait. */
export function bodyOf(body: Body): string {
  return PIECE[body].repeat(2);
}

function pieceOf(body: Body): string {
  const text = PIECE[body];
  return body === "chunked" ? `${text.length.toString(16)}\r\n${text}\r\n` : text;
}

function headOf({ method, body, point }: Pick<Failure, "method" | "body" | "point">): string {
  const framing = { none: "", chunked: "Transfer-Encoding: chunked\r\n" }[body as "none"];
  const length = framing ?? `Content-Length: ${bodyOf(body).length}\r\n`;
  const expect = point === "interim 100" ? "Expect: 100-continue\r\n" : "";
  return `${method} /case HTTP/1.1\r\nHost: h\r\n${length}${expect}\r\n`;
}

/** Waits for something that happens in this process within some turns of the event loop. */
export async function turnUntil(what: string, isDone: () => boolean): Promise<void> {
  for (let turn = 0; !isDone(); turn++) {
    if (turn > TURNS_MAX) throw new Error(`waited in vain until ${what}`);
    await new Promise(setImmediate);
  }
}

/** A whole request. */
export function requestOf(failure: Pick<Failure, "method" | "body" | "point">): string {
  const piece = pieceOf(failure.body);
  return headOf(failure) + piece + piece + (failure.body === "chunked" ? "0\r\n\r\n" : "");
}

/** Lets what was written on loopback be dealt with. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn++) await new Promise(setImmediate);
}

/** One case while it runs. */
class FailureRun {
  readonly #failure: Failure;
  readonly #backend: StepBackend;
  readonly #plane: TestPlane;
  readonly #client: RawClient;
  /** What the client has not sent yet. */
  #unsent: string;
  #target: StepConnection | undefined;
  #sentBefore = 0;

  constructor(failure: Failure, plane: TestPlane, backend: StepBackend) {
    this.#failure = failure;
    this.#plane = plane;
    this.#backend = backend;
    this.#client = new RawClient(plane.port);
    this.#unsent = requestOf(failure);
  }

  close(): void {
    this.#client.reset();
  }

  /** Whether the connection to the backend is no longer open. */
  get #isTargetGone(): boolean {
    return this.#target?.isEnded !== false;
  }

  /** Requests of which the backend had read something when it failed, and those on other connections after that. */
  get sent(): number {
    const others = this.#backend.connections.filter((one) => one !== this.#target);
    return this.#sentBefore + others.filter(({ received }) => received.includes(" /case ")).length;
  }

  #send(length: number): void {
    if (length <= 0) return;
    this.#client.send(this.#unsent.slice(0, length));
    this.#unsent = this.#unsent.slice(length);
  }

  #isBusy(): boolean {
    return this.#plane.plane.pool.now().some(([, , busy]) => busy > 0);
  }

  /** Takes the exchange to its point. */
  async reach(): Promise<void> {
    const { point, body, isReused } = this.#failure;
    const head = headOf(this.#failure).length;
    const connections = this.#backend.connections.length;
    if (isReused) this.#backend.connections[0]?.takeInHand();
    else this.#backend.takesNext = true;
    if (point === "request head" || point === "interim 100") this.#send(head);
    else if (point === "part of the request body") this.#send(head + pieceOf(body).length);
    else this.#send(this.#unsent.length);
    await turnUntil(
      "the request is under way",
      () => this.#isBusy() && (isReused || this.#backend.connections.length > connections),
    );
    const target = this.#backend.connections.at(-1) as StepConnection;
    this.#target = target;
    await turns();
    if (point === "accepted") return;
    if (point === "part of the request head") {
      target.readPiece();
      await turnUntil("a piece was read", () => target.received.includes("/case"));
      return;
    }
    await this.#read(target);
    await this.#answer(target);
  }

  /** Lets the backend read all that was sent. */
  async #read(target: StepConnection): Promise<void> {
    const isComplete = this.#unsent === "";
    const { point, body } = this.#failure;
    await turnUntil("the backend has read the request", () => {
      target.readPiece();
      const text = target.received.slice(target.received.indexOf("/case"));
      if (isComplete) return readMessage(text, false) !== null && text.startsWith("/case");
      const part = point === "part of the request body" ? PIECE[body] : "";
      return text.startsWith("/case") && text.includes("\r\n\r\n") && text.includes(`\r\n${part}`);
    });
  }

  async #answer(target: StepConnection): Promise<void> {
    const { point } = this.#failure;
    if (point.startsWith("interim")) {
      const status = point.slice(-3);
      target.say(`HTTP/1.1 ${status} Later\r\n\r\n`);
      await this.#sees(`HTTP/1.1 ${status} `);
      return;
    }
    if (point === "part of the response head") {
      target.say("HTTP/1.1 200 O");
      await turns();
      return;
    }
    if (point === "response") {
      target.say(answerTo(headOf(this.#failure)) + (this.#failure.kind === "malformed" ? "X" : ""));
      await turnUntil("the client has its answer", () => this.#message() !== null);
      return;
    }
    const framing = point.split(", ")[1];
    if (framing === undefined) return;
    const [head, part] = RESPONSES[framing] as readonly [string, string];
    target.say(head);
    await this.#sees("\r\n\r\n");
    if (!point.startsWith("part")) return;
    target.say(part);
    await this.#sees("hello");
  }

  #sees(text: string): Promise<void> {
    return turnUntil(`the client sees ${text}`, () => this.#client.received.includes(text));
  }

  /** Makes it fail, and waits until everybody has noticed. */
  async fail(): Promise<void> {
    const { kind, point } = this.#failure;
    const target = this.#target as StepConnection;
    this.#sentBefore = this.#backend.count(" /case ");
    if (kind === "close") target.finish();
    else if (kind === "reset") target.reset();
    else if (kind === "silence") this.#plane.pass(SILENCE_MS);
    else if (kind === "abort") this.#client.reset();
    else if (point !== "response") target.say(GARBAGE);
    await turns();
    target.readOn();
    if (kind !== "abort" && kind !== "silence" && !this.#client.isEnded) this.#send(this.#unsent.length);
    if (kind !== "abort")
      await turnUntil(
        "the client has an answer or an end",
        () => this.#client.isEnded || this.#message() !== null,
      );
    await turnUntil("the exchange is over", () => {
      const { started, finished, aborted } = cellOf(this.#plane);
      target.readOn();
      return started === finished + aborted && this.#isTargetGone;
    });
  }

  /** The client's answer, once it is complete. */
  #message(): Message | null {
    let rest = this.#client.received;
    for (;;) {
      const isInterim = rest.startsWith("HTTP/1.1 1");
      const message = readMessage(rest, isInterim || this.#failure.method === "HEAD");
      if (message === null || !isInterim) return message;
      rest = message.rest;
    }
  }

  /** What the client can tell. Throws when it got more than one answer. */
  clientSaw(): Observation["client"] {
    const message = this.#message();
    if (message === null) return /HTTP\/1.1 [2-5]/.test(this.#client.received) ? "cut" : "nothing";
    if (message.rest !== "") throw new Error(`bytes follow the answer: ${JSON.stringify(message.rest)}`);
    return Number(message.head.slice(9, 12));
  }

  /** Sends another request, on the same connection if it may be used again. Throws when its answer is not its own. */
  async followUp(): Promise<void> {
    const isClosing = this.#client.isEnded || /^connection: close\r$/im.test(this.#client.received);
    const client =
      isClosing || this.#failure.kind === "abort" ? new RawClient(this.#plane.port) : this.#client;
    client.received = "";
    client.send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    const isAnswered = (): boolean => readMessage(client.received, false) !== null || client.isEnded;
    await turnUntil("the next request is answered", isAnswered);
    if (!/^HTTP\/1.1 200 OK\r\n.*\r\n\r\nok$/s.test(client.received))
      throw new Error(`the next answer is ${JSON.stringify(client.received)}`);
    client.reset();
    if (this.#target?.received.includes("/next") === true)
      throw new Error("a failed connection is used again");
  }
}

/** Runs one case on a plane of its own and says what was seen. Throws when something is wrong in any case. */
export async function runFailure(stage: PlaneStage, failure: Failure): Promise<Observation> {
  const backend = new StepBackend();
  const port = await backend.listen();
  const plane = await stage.plane({ legacy: [port] }, { retries: { attempts: 1, bodyBytesMax: HELD_MAX } });
  if (failure.isReused) await warmUp(plane);
  const before = cellOf(plane);
  const run = new FailureRun(failure, plane, backend);
  try {
    await run.reach();
    await run.fail();
    const after = cellOf(plane);
    const observation = {
      client: run.clientSaw(),
      sent: run.sent,
      excess: plane.plane.pool.excess,
      ...difference(before, after),
    };
    checkRepeat(backend, failure);
    await run.followUp();
    return observation;
  } finally {
    run.close();
    await stage.close();
    backend.close();
  }
}

/** What one exchange added to the counters of its route. */
function difference(
  before: CellSnapshot,
  after: CellSnapshot,
): Omit<Observation, "client" | "sent" | "excess"> {
  const earlier = new Map(before.codes);
  return {
    failures: after.failures - before.failures,
    retries: after.retries - before.retries,
    finished: after.finished - before.finished,
    aborted: after.aborted - before.aborted,
    logged: after.codes.find(([code, count]) => count > (earlier.get(code) ?? 0))?.[0],
  };
}

/** Has an answer on a connection to the backend, which is kept. */
async function warmUp(plane: TestPlane): Promise<void> {
  const client = new RawClient(plane.port);
  client.send("GET /warm HTTP/1.1\r\nHost: h\r\n\r\n");
  await turnUntil("the connection is warm", () => client.received.endsWith("ok"));
  client.reset();
  await turnUntil("the client has gone", () => plane.listener.open === 0);
}

/** A request that was sent again has all of its body. */
function checkRepeat(backend: StepBackend, { body }: Failure): void {
  const text = backend.connections.at(-1)?.received ?? "";
  if (backend.connections.length < 2 || !text.includes(" /case ")) return;
  const message = readMessage(text.slice(text.indexOf(" /case ")), false);
  if (message?.body !== bodyOf(body)) throw new Error(`the repeated request is ${JSON.stringify(text)}`);
}
