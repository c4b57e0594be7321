/** Vectors through a real plane: what a client or a backend says goes over sockets, and every side is looked at. */
import {
  piecesOf,
  textOf,
  type Accepted,
  type Raw,
  type RequestVector,
  type ResponseVector,
} from "./corpus.ts";
import { isInterim, readCanonicalRequests, readCanonicalResponses, valuesOf } from "./canonical.ts";
import type { CanonicalMessage, CanonicalText } from "./canonical.ts";
import { PlaneStage, cellOf, type TestPlane } from "./plane.ts";
import { until } from "./wait.ts";
import type { RawBackend, RawExchange } from "./wire.ts";

/** How a message is sent: at once, or byte by byte. */
export type Cut = "whole" | "bytes";

/** Vectors that are tried at the same time. */
const TOGETHER = 12;
/** For what is not there if it is not there soon: a failing vector shall not take the whole test's time. */
const WAIT_MS = 20_000;
/** For vectors that are known to fail. */
const PENDING_WAIT_MS = 1_000;

/** Tries all vectors and gives what is wrong, a line each, beginning with the vector's name. */
export async function tryAll<Vector extends { readonly name: string; readonly pending?: string }>(
  vectors: readonly Vector[],
  attempt: (vector: Vector, cut: Cut) => Promise<string[]>,
): Promise<string[]> {
  const wrong: string[] = [];
  const waiting = [...vectors];
  const work = async (): Promise<void> => {
    for (let vector = waiting.shift(); vector !== undefined; vector = waiting.shift()) {
      const found: string[] = [];
      for (const cut of ["whole", "bytes"] as const) {
        const problems = await attempt(vector, cut).catch((error: unknown) => [String(error)]);
        found.push(...problems.map((problem) => `${vector.name} (${cut}): ${problem}`));
      }
      if (vector.pending === undefined) wrong.push(...found);
      else if (found.length === 0) wrong.push(`${vector.name}: it holds now; take its "pending" away`);
    }
  };
  await Promise.all(Array.from({ length: TOGETHER }, work));
  return wrong;
}

function waitOf({ pending }: { readonly pending?: string }): number {
  return pending === undefined ? WAIT_MS : PENDING_WAIT_MS;
}

/** Sends pieces so that they arrive as such: each in a turn of its own. */
export async function inTurns(pieces: readonly string[], send: (piece: string) => void): Promise<void> {
  for (const piece of pieces) {
    send(piece);
    await new Promise(setImmediate);
  }
}

/** A backend that answers every complete request, and wants every body that is announced. */
function answeringAll(): RawBackend["script"] {
  const answered = new Map<RawExchange, number>();
  const invited = new Set<RawExchange>();
  return (exchange) => {
    const { messages, rest } = readCanonicalRequests(exchange.received);
    if (/\r\nexpect: 100-continue\r\n/i.test(rest) && rest.includes("\r\n\r\n") && !invited.has(exchange)) {
      invited.add(exchange);
      exchange.socket.write("HTTP/1.1 100 Continue\r\n\r\n");
    }
    for (const { line } of messages.slice(answered.get(exchange) ?? 0)) {
      exchange.socket.write(
        `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${line.startsWith("HEAD ") ? "" : "ok"}`,
      );
    }
    answered.set(exchange, messages.length);
  };
}

/** Sends a request vector through a plane. Gives what is not as the vector demands. */
export async function tryRequest(vector: RequestVector, cut: Cut): Promise<string[]> {
  const stage = new PlaneStage();
  try {
    const backend = await stage.backend(answeringAll());
    const started = await stage.plane({ legacy: [backend.port] });
    const client = stage.client(started.port);
    await inTurns(piecesOf(textOf(vector.raw), cut), (piece) => client.send(piece));
    const accepted = vector.expect.filter((one) => "method" in one);
    const last = vector.expect.at(-1);
    const isWaiting = last !== undefined && "waits" in last;
    if (isWaiting) client.halfClose();
    const methods = accepted.map(({ method }) => method);
    const answers = (): CanonicalMessage[] =>
      readCanonicalResponses(client.received, methods, false).messages.filter((one) => !isInterim(one));
    const isLast = isWaiting || (last !== undefined && ("status" in last || last.keepAlive === false));
    const waitMs = waitOf(vector);
    await until(
      () => `${vector.expect.length} answers, there is ${JSON.stringify(client.received.slice(0, 300))}`,
      () => answers().length >= vector.expect.length - (isWaiting ? 1 : 0) && (!isLast || client.isEnded),
      waitMs,
    );
    const problems = [...checkAnswers(vector, answers(), isLast), ...checkArrivals(vector, backend)];
    client.close();
    await until("every exchange is over", () => isBalanced(started), WAIT_MS);
    return problems;
  } finally {
    await stage.close();
  }
}

function checkAnswers(
  vector: RequestVector,
  answers: readonly CanonicalMessage[],
  isLast: boolean,
): string[] {
  const problems: string[] = [];
  const wanted = vector.expect.filter((one) => !("waits" in one));
  if (answers.length !== wanted.length)
    problems.push(`${answers.length} answers instead of ${wanted.length}`);
  wanted.forEach((one, place) => {
    const answer = answers[place];
    const seen = `${answer?.line.split(" ")[1]} ${faultOf(answer)}`;
    const due = "status" in one ? `${one.status} ${one.fault ?? faultOf(answer)}` : "200 ";
    if (seen !== due) problems.push(`answer ${place + 1} is ${seen} instead of ${due}`);
  });
  const closes = valuesOf(answers.at(-1)?.lines ?? [], "connection")
    .join()
    .includes("close");
  const isOld = textOf(vector.raw).includes(" HTTP/1.0\r\n");
  if (wanted.length > 0 && closes !== isLast && !(isOld && isLast)) {
    problems.push(closes ? "the answer closes the connection" : "the answer does not close the connection");
  }
  return problems;
}

function faultOf(answer: CanonicalMessage | undefined): string {
  return /details="(\w+)"/.exec(answer?.lines.join("\n") ?? "")?.[1] ?? "";
}

/** What reached the backend: exactly the accepted requests, and of refused ones nothing, or at least no whole one. */
function checkArrivals(vector: RequestVector, backend: RawBackend): string[] {
  const texts = backend.connections.map(({ received }) => readCanonicalRequests(received));
  const arrived = texts.flatMap(({ messages }) => messages);
  const accepted = vector.expect.filter((one) => "method" in one);
  const problems =
    arrived.length === accepted.length ? [] : [`${arrived.length} requests reached the backend`];
  accepted.forEach((one, place) => problems.push(...checkArrival(one, arrived[place])));
  const last = vector.expect.at(-1);
  // The beginning of a body may be on its way before its chunks turn out to be malformed or endless.
  const mayBegin = last !== undefined && ("waits" in last || ("fault" in last && last.fault === "BAD_CHUNK"));
  if (!mayBegin && texts.some(({ rest }) => rest !== ""))
    problems.push("part of a request reached the backend");
  return problems;
}

function checkArrival(wanted: Accepted, message: CanonicalMessage | undefined): string[] {
  if (message === undefined) return [];
  const target = textOf(wanted.target);
  const problems: string[] = [];
  const compare = (what: string, seen: string, due: string): void => {
    if (seen !== due) problems.push(`${what} is ${JSON.stringify(seen)} instead of ${JSON.stringify(due)}`);
  };
  compare("the request line", message.line, `${wanted.method} ${target} HTTP/1.1`);
  compare("the framing", message.framing, wanted.framing ?? "none");
  compare("the body", message.body, textOf(wanted.body ?? ""));
  return [...problems, ...checkLines(wanted, message.lines)];
}

interface FieldDemands {
  readonly forwards?: readonly Raw[];
  readonly drops?: readonly string[];
}

function checkLines({ forwards = [], drops = [] }: FieldDemands, lines: readonly string[]): string[] {
  const problems: string[] = [];
  let at = 0;
  for (const due of forwards.map(textOf)) {
    const place = lines.indexOf(due, at);
    if (place === -1) problems.push(`${JSON.stringify(due.slice(0, 100))} is not passed on in its place`);
    else at = place + 1;
  }
  for (const name of drops) {
    const beginning = name.includes(":") ? name : `${name}:`;
    if (lines.some((line) => line.toLowerCase().startsWith(beginning))) problems.push(`${name} is passed on`);
  }
  return problems;
}

/** Whether nothing is in flight. */
export function isBalanced({ plane }: TestPlane): boolean {
  return plane.counters.report(true).every((cell) => cell.started === cell.finished + cell.aborted);
}

const NEXT = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext";

/** Sends a response vector through a plane. Gives what is not as the vector demands. */
export async function tryResponse(vector: ResponseVector, cut: Cut): Promise<string[]> {
  const stage = new PlaneStage();
  try {
    let isSent = false;
    let requests = 0;
    const backend = await stage.backend(({ socket, received }) => {
      if (!received.endsWith("\r\n\r\n")) return;
      requests++;
      if (requests > 1) {
        socket.write(NEXT);
        return;
      }
      void inTurns(piecesOf(textOf(vector.raw), cut), (piece) => void socket.write(piece, "latin1")).then(
        () => {
          isSent = true;
          if (vector.then === "end") socket.end();
          // Data that is not delivered yet would be lost with the reset.
          if (vector.then === "reset") setImmediate(() => socket.resetAndDestroy());
        },
      );
    });
    const started = await stage.plane({ legacy: [backend.port] });
    const client = stage.client(started.port);
    const { method = "GET", minor = 1, fields = "" } = vector.request ?? {};
    client.send(`${method} /1 HTTP/1.${minor}\r\nHost: h\r\n${fields}\r\n`);
    const read = (): CanonicalText => readCanonicalResponses(client.received, [method], client.isEnded);
    const isAnswered = (): boolean => read().messages.some((one) => !isInterim(one));
    const waitMs = waitOf(vector);
    await until(
      () => `an answer, there is ${JSON.stringify(client.received.slice(0, 300))}`,
      () => isAnswered() || client.isEnded,
      waitMs,
    );
    await until("the backend said everything", () => isSent, WAIT_MS);
    const problems = checkAnswer(vector, { ...read(), isReset: client.isReset }, started);
    return [...problems, ...(await checkReuse(vector, stage, backend, started))];
  } finally {
    await stage.close();
  }
}

function checkAnswer(
  { expect }: ResponseVector,
  seen: CanonicalText & { readonly isReset: boolean },
  started: TestPlane,
): string[] {
  const interims = seen.messages.filter(isInterim);
  const final = seen.messages.at(interims.length);
  const faults = cellOf(started)
    .faults.map(([code]) => code)
    .join();
  const status = Number(final?.line.split(" ")[1]);
  const problems: string[] = [];
  const compare = (what: string, is: unknown, due: unknown): void => {
    if (is !== due) problems.push(`${what} is ${String(is)} instead of ${String(due)}`);
  };
  compare("the fault", faults, "fault" in expect ? expect.fault : "");
  if (seen.messages.length > interims.length + 1) problems.push("there is a second answer");
  if ("cut" in expect) {
    // An answer up to the end of the connection looks whole unless the connection is reset.
    const isCut = final === undefined || (final.framing === "close" && seen.isReset);
    if (!isCut && status !== 502) problems.push(`the answer looks whole: ${JSON.stringify(final)}`);
    return problems;
  }
  compare("the status", status, expect.status);
  if ("fault" in expect || final === undefined) return problems;
  compare("the framing", final.framing, expect.framing);
  compare("the body", final.body, textOf(expect.body));
  compare("the trailer section", final.trailers, expect.trailers ?? "");
  compare(
    "what came before",
    interims.map(({ line }) => line.split(" ")[1]).join(),
    (expect.interims ?? []).join(),
  );
  return [
    ...problems,
    ...checkLines(
      expect,
      [...interims, final].flatMap(({ lines }) => lines),
    ),
  ];
}

/** After anything but a clean end the next request goes on another connection, and the old one is closed. */
async function checkReuse(
  { expect }: ResponseVector,
  stage: PlaneStage,
  backend: RawBackend,
  started: TestPlane,
): Promise<string[]> {
  const isReusable = "framing" in expect && (expect.reusable ?? true);
  if (!isReusable)
    await until("the old connection ends", () => backend.connections[0]?.isEnded === true, WAIT_MS);
  const next = stage.client(started.port);
  next.send("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
  await until(
    () => `the next answer, there is ${JSON.stringify(next.received)}`,
    () => /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nnext$/.test(next.received),
    WAIT_MS,
  );
  const connections = isReusable ? 1 : 2;
  if (backend.connections.length === connections) return [];
  return [`there are ${backend.connections.length} connections to the backend instead of ${connections}`];
}
