/** Damaged messages from both sides of a real plane: nobody ever sees a byte that was meant for somebody else. */
import { afterEach, describe, expect, test } from "vitest";
import { systemRandom, type Random } from "../../src/base/random.ts";
import { isInterim, readCanonicalRequests, readCanonicalResponses, valuesOf } from "../support/canonical.ts";
import { requestVectors, responseVectors, textOf } from "../support/corpus.ts";
import { inTurns, isBalanced } from "../support/corpus_stage.ts";
import { readResponse } from "../support/message_reader.ts";
import { chosen, cutAnywhere, mutated } from "../support/mutation.ts";
import { PlaneStage, type TestPlane } from "../support/plane.ts";
import { seededRandom } from "../support/random.ts";
import { until } from "../support/wait.ts";
import type { RawClient, RawExchange } from "../support/wire.ts";

/** Planes at the same time, and cases on each of them, in each direction. */
const LANES = 8;
const CASES = 250;
/** Longer vectors are about limits, which damage only blurs. */
const SEED_BYTES_MAX = 2000;

const SEEDS = 0x1_0000_0000;
const seed = Number(process.env["CROSSFADE_SEED"] ?? systemRandom().draw(SEEDS));

let stage = new PlaneStage();
afterEach(async () => {
  await stage.close();
  stage = new PlaneStage();
});

/** What a damaged request may be answered with: its own answer or a refusal, but no fault of the backend's. */
const REFUSALS = new Set([400, 404, 405, 413, 414, 417, 426, 431, 501, 505, 508]);

/** One plane between a backend that keeps a record, a client that behaves and others that do not. */
class Lane {
  readonly random: Random;
  started!: TestPlane;
  /** What went wrong so far. */
  readonly wrong: string[] = [];
  /** Request lines in the order in which they reached the backend, without those of the client that behaves. */
  arrived: string[] = [];
  /** What the backend says next to a client that does not behave. */
  #answer: { readonly pieces: readonly string[]; readonly ends: boolean } | null = null;
  #answeredOn: RawExchange | null = null;
  #isAnswered = false;
  readonly #unread = new Map<RawExchange, string>();
  #victim: RawClient | null = null;
  #turn = 0;

  constructor(number: number) {
    this.random = seededRandom(seed + number);
  }

  async start(): Promise<void> {
    const backend = await stage.backend((exchange, piece) => this.#onPiece(exchange, piece));
    this.started = await stage.plane({ legacy: [backend.port] });
  }

  #onPiece(exchange: RawExchange, piece: string): void {
    const text = (this.#unread.get(exchange) ?? "") + piece;
    try {
      const { messages, rest } = readCanonicalRequests(text);
      this.#unread.set(exchange, rest);
      if (/\r\nexpect: 100-continue\r\n[^]*\r\n\r\n$/i.test(rest))
        exchange.socket.write("HTTP/1.1 100 Continue\r\n\r\n");
      for (const { line } of messages) this.#onRequest(exchange, line);
    } catch (error) {
      this.wrong.push(`the backend got ${JSON.stringify(text)}: ${String(error)}`);
      exchange.socket.destroy();
    }
  }

  #onRequest(exchange: RawExchange, line: string): void {
    const token = /^GET \/victim\/(\w+) HTTP/.exec(line)?.[1];
    if (token !== undefined) {
      exchange.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${token.length}\r\n\r\n${token}`);
      return;
    }
    this.arrived.push(line);
    if (this.#answer === null) {
      exchange.socket.write(`HTTP/1.1 200 OK\r\nX-Marker: ${line}\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    const { pieces, ends } = this.#answer;
    this.#answeredOn = exchange;
    void inTurns(pieces, (one) => void exchange.socket.write(one, "latin1")).then(() => {
      if (ends) exchange.socket.end();
      this.#isAnswered = true;
    });
  }

  /** A damaged request: whatever of it reaches the backend is well formed, and each answer is its own. */
  async tryRequest(text: string): Promise<void> {
    this.arrived = [];
    this.#answer = null;
    const client = stage.client(this.started.port);
    await inTurns(cutAnywhere(text, this.random), (piece) => client.send(piece));
    client.halfClose();
    await client.seesEnd();
    const methods = this.arrived.map((line) => line.split(" ")[0] as string);
    const { messages, rest } = readCanonicalResponses(client.received, methods, true);
    const finals = messages.filter((one) => !isInterim(one));
    const markers = finals.flatMap(({ lines }) => valuesOf(lines, "x-marker"));
    const refusals = finals.filter(({ lines }) => valuesOf(lines, "x-marker").length === 0);
    if (markers.join("\n") !== this.arrived.slice(0, markers.length).join("\n")) {
      this.wrong.push(`answers ${JSON.stringify(markers)} to requests ${JSON.stringify(this.arrived)}`);
    }
    for (const { line } of refusals) {
      if (!REFUSALS.has(Number(line.split(" ")[1]))) this.wrong.push(`answered with ${line}`);
    }
    // The answer to a refused HEAD says how long it would be.
    if (rest !== "" && !/^HTTP\/1\.1 \d\d\d .*\r\nProxy-Status: /s.test(rest))
      this.wrong.push(`answered with ${rest}`);
    client.close();
    await this.#tryVictim();
  }

  /** A damaged response: the client gets what it says, or sees that something is wrong. */
  async tryResponse(text: string): Promise<void> {
    const pieces = cutAnywhere(text, this.random);
    const verdict = readResponse([text], "GET", false);
    // What comes late on a connection that looks finished could only be told from an answer by closing it at once.
    const ends = pieces.length > 1 || "waits" in verdict || this.random.draw(2) === 0;
    this.#answer = { pieces, ends };
    this.#isAnswered = false;
    const client = stage.client(this.started.port);
    client.send("GET /damaged HTTP/1.1\r\nHost: h\r\n\r\n");
    const read = () => readCanonicalResponses(client.received, ["GET"], client.isEnded);
    await until(
      () => `an answer to ${JSON.stringify(text)}`,
      () => this.#isAnswered && (client.isEnded || read().messages.some((one) => !isInterim(one))),
    );
    if (ends) await until("the backend's connection ends", () => this.#answeredOn?.isEnded === true);
    const finals = read().messages.filter((one) => !isInterim(one));
    const due = readResponse([text], "GET", ends);
    const seen = finals.map(({ line, body }) => `${line.split(" ")[1]} ${body}`).join("\n");
    if ("status" in due ? seen !== `${due.status} ${due.body}` : !/^(?:|502 [^]*)$/.test(seen)) {
      this.wrong.push(`the client saw ${JSON.stringify(seen)} instead of ${JSON.stringify(due)}`);
    }
    client.close();
    await this.#tryVictim();
  }

  /** Whoever comes next, on whatever connection is left, gets its own answer and nothing else. */
  async #tryVictim(): Promise<void> {
    if (this.#victim === null || this.#victim.isEnded) this.#victim = stage.client(this.started.port);
    const victim = this.#victim;
    const token = `t${++this.#turn}x${this.random.draw(SEEDS)}`;
    victim.received = "";
    victim.send(`GET /victim/${token} HTTP/1.1\r\nHost: v\r\n\r\n`);
    await until(
      () => `the answer ${token}, there is ${JSON.stringify(victim.received)}`,
      () => readCanonicalResponses(victim.received, ["GET"], false).messages.length > 0 || victim.isEnded,
    );
    const { messages, rest } = readCanonicalResponses(victim.received, ["GET"], false);
    const seen = messages.map(({ line, body }) => `${line.split(" ")[1]} ${body}`).join("\n");
    if (seen !== `200 ${token}` || rest !== "") {
      this.wrong.push(`the other client saw ${JSON.stringify(victim.received)} instead of ${token}`);
    }
  }
}

/** Runs cases on all lanes. Gives what went wrong, first of all with what; each case depends on the seed alone. */
async function fuzz(
  seeds: readonly string[],
  attempt: (lane: Lane, text: string) => Promise<void>,
): Promise<string[]> {
  process.stdout.write(`CROSSFADE_SEED=${seed}\n`);
  const texts = seeds.filter((text) => text.length <= SEED_BYTES_MAX);
  const lanes = Array.from({ length: LANES }, (_, number) => new Lane(number));
  const wrong: string[] = [];
  const run = async (lane: Lane, number: number): Promise<void> => {
    await lane.start();
    for (let turn = 0; turn < CASES && wrong.length === 0; turn++) {
      const text = mutated(chosen(texts, lane.random), texts, lane.random);
      await attempt(lane, text).catch((error: unknown) => lane.wrong.push(String(error)));
      if (lane.wrong.length === 0) continue;
      wrong.push(
        `CROSSFADE_SEED=${seed}, lane ${number}, case ${turn}: ${JSON.stringify(text)}`,
        ...lane.wrong,
      );
    }
    await until("every exchange is over", () => isBalanced(lane.started));
  };
  await Promise.all(lanes.map(run));
  return wrong;
}

describe("no byte goes astray", () => {
  test("whatever a client sends", async () => {
    const seeds = requestVectors().map(({ raw }) => textOf(raw));
    expect(await fuzz(seeds, (lane, text) => lane.tryRequest(text))).toEqual([]);
  });

  test("whatever a backend sends", async () => {
    const seeds = responseVectors().map(({ raw }) => textOf(raw));
    expect(await fuzz(seeds, (lane, text) => lane.tryResponse(text))).toEqual([]);
  });
});
