/** Answers to mirrored requests, compared through a real data plane and its real thread. */
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, test } from "vitest";
import { DEFAULT_COMPARE } from "../../src/domain/compare_policy.ts";
import type { ComparePolicy } from "../../src/domain/compare_words.ts";
import type { ComparisonCounts } from "../../src/domain/comparison_counts.ts";
import type { BackendId, MirrorPolicy, Route } from "../../src/domain/route.ts";
import { GET, OK } from "../support/plane.ts";
import {
  ShadowStage,
  allOf,
  compared,
  counted,
  inFlight,
  settled,
  type Mirrored,
} from "../support/shadow_stage.ts";
import { until } from "../support/wait.ts";
import { answering, type RawBackend } from "../support/wire.ts";

let stage = new ShadowStage();
afterEach(async () => {
  await stage.close();
  stage = new ShadowStage();
});

const QUIET: ComparePolicy = { ...DEFAULT_COMPARE, noisePercent: 0 };

function answer(body: string | Buffer, fields: readonly string[] = [], status = "200 OK"): string {
  const bytes = Buffer.from(body);
  const lines = [`HTTP/1.1 ${status}`, ...fields, `Content-Length: ${bytes.length}`, "", ""];
  return lines.join("\r\n") + bytes.toString("latin1");
}

function json(value: unknown): string {
  return answer(JSON.stringify(value), ["Content-Type: application/json"]);
}

/** Legacy answers with one text, the shadow with another. */
async function comparing(
  left: string,
  right: string | RawBackend["script"],
  policy: Partial<ComparePolicy> = {},
  mirror: Partial<MirrorPolicy> = {},
  route: Partial<Route> = {},
): Promise<Mirrored> {
  const script = typeof right === "string" ? answering(right) : right;
  const mirrored = await stage.mirrored(script, { compare: { ...QUIET, ...policy }, ...mirror }, route);
  mirrored.legacy.script = answering(left);
  return mirrored;
}

async function ask({ started }: Mirrored, text = GET): Promise<void> {
  const one = stage.client(started.port);
  one.send(text.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
  await one.seesEnd();
}

/** One request through such a plane, and what came of comparing it. */
async function once(...args: Parameters<typeof comparing>): Promise<ComparisonCounts> {
  const mirrored = await comparing(...args);
  await ask(mirrored);
  return compared(mirrored.started, 1);
}

function reasons({ pairs }: ComparisonCounts): Record<string, number> {
  return Object.fromEntries(Object.entries(pairs.notCompared).filter(([, count]) => count > 0));
}

describe("two answers", () => {
  test("that are the same to the last byte match", async () => {
    expect((await once(OK, OK)).pairs).toMatchObject({ matched: 1, mismatched: 0 });
  });

  test("that say the same in other words match", async () => {
    const right = answer('{"b":2.0,\n"a":[1,2]}', ["Content-Type: application/json; charset=utf-8"]);
    const left = answer('{"a":[1,2],"b":2}', ["Content-type: Application/JSON;charset=utf-8"]);
    expect((await once(left, right)).pairs).toMatchObject({ matched: 1 });
  });

  test("that differ are told apart by field, with samples that hide secrets", async () => {
    const { pairs, fields } = await once(
      json({ price: 1.99, token: "t1", tags: ["a"] }),
      json({ price: 1.98, token: "t2" }),
    );
    expect(pairs).toMatchObject({ matched: 0, mismatched: 1, failures: 0 });
    expect(fields.map(([name, { samples }]) => [name, samples[0]?.left, samples[0]?.right])).toEqual([
      ["body /price", "1.99", "1.98"],
      ["body /tags", "a list of 1", null],
      ["body /token", "(masked)", "(masked)"],
    ]);
  });

  test("in other codings are compared without them", async () => {
    const text = JSON.stringify({ list: Array.from({ length: 500 }, (_, i) => i) });
    const fields = ["Content-Type: application/json"];
    const zipped = answer(gzipSync(text), [...fields, "Content-Encoding: gzip"]);
    expect((await once(answer(text, fields), zipped)).pairs).toMatchObject({ matched: 1 });
  });

  test("of which the shadow's says gzip and is none, differ", async () => {
    const { fields } = await once(OK, answer("ok", ["Content-Encoding: gzip"]));
    expect(fields.map(([name, { samples }]) => [name, samples[0]?.right])).toEqual([["body", "broken gzip"]]);
  });

  test("of different status differ, whatever their bodies", async () => {
    const { fields } = await once(OK, answer("ok", [], "404 Not Found"));
    expect(fields.map(([name, { samples }]) => [name, samples[0]?.right])).toEqual([["status", "404"]]);
  });

  test("in several pieces and chunks are put together", async () => {
    const body = JSON.stringify({ long: "x".repeat(40_000) });
    const chunks = [body.slice(0, 10), body.slice(10, 9000), body.slice(9000)];
    const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    const script: RawBackend["script"] = ({ socket }) => {
      socket.write(head);
      for (const chunk of chunks) {
        setImmediate(() => socket.write(`${chunk.length.toString(16)}\r\n${chunk}\r\n`));
      }
      setImmediate(() => socket.write("0\r\n\r\n"));
    };
    expect((await once(answer(body, ["Content-Type: application/json"]), script)).pairs.matched).toBe(1);
  });

  test("are not compared when legacy fails", async () => {
    const counts = await once(answer("no", [], "503 Service Unavailable"), OK);
    expect(reasons(counts)).toEqual({ "legacy failed": 1 });
  });

  test.each([
    ["announced", answer("x".repeat(1001))],
    ["that comes", `HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${"x".repeat(1001)}`],
  ])("are not compared when a body %s is over the bound", async (_, long) => {
    const script: RawBackend["script"] = ({ socket }) => void socket.end(long);
    expect(reasons(await once(OK, script, { bodyBytesMax: 1000 }))).toEqual({ "body cut": 1 });
  });

  test("are not compared when the client leaves before it has its own", async () => {
    const mirrored = await comparing(OK, OK);
    const { started, legacy } = mirrored;
    legacy.script = ({ socket }) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegin");
    const one = stage.client(started.port);
    one.send(GET);
    await one.sees(/begin$/);
    await until("the copy has its answer", () => inFlight(started) === 0);
    one.reset();
    expect(reasons(await compared(started, 1))).toEqual({ "cut off": 1 });
  });

  test("are those of legacy and the candidate when copies go back to legacy", async () => {
    const { fields } = await once(
      json({ who: "legacy" }),
      json({ who: "new" }),
      {},
      { to: "legacy" as BackendId },
      { candidateShares: 100_000 },
    );
    expect(fields.map(([name, { samples }]) => [name, samples[0]?.left, samples[0]?.right])).toEqual([
      ["body /who", '"legacy"', '"new"'],
    ]);
  });
});

describe("a shadow that fails where legacy answers", () => {
  test.each<[string, RawBackend["script"], string]>([
    ["resets", ({ socket }) => void socket.resetAndDestroy(), "UPSTREAM_RESET"],
    ["sends rubbish", ({ socket }) => void socket.end("rubbish\r\n\r\n"), "BAD_RESPONSE"],
    ["stops in the middle", ({ socket }) => void socket.end(OK.slice(0, -1)), "RESPONSE_TRUNCATED"],
  ])("and %s is the worst mismatch", async (_, script, fault) => {
    const { pairs, fields } = await once(OK, script);
    expect(pairs).toMatchObject({ mismatched: 1, failures: 1 });
    expect(fields.map(([name, { samples }]) => [name, samples[0]?.right])).toEqual([["fault", fault]]);
  });

  test("and refuses connections is one too", async () => {
    const mirrored = await comparing(OK, OK);
    await mirrored.shadow.close();
    await ask(mirrored);
    expect((await compared(mirrored.started, 1)).pairs).toMatchObject({ mismatched: 1, failures: 1 });
  });

  test("and hangs is one when its time is over", async () => {
    const mirrored = await comparing(OK, () => {});
    await ask(mirrored);
    await until("the copy has arrived", () => mirrored.shadow.received !== "");
    mirrored.started.pass(10_000);
    const { fields } = await compared(mirrored.started, 1);
    expect(fields.map(([name, { samples }]) => [name, samples[0]?.right])).toEqual([
      ["fault", "RESPONSE_TIMEOUT"],
    ]);
  });

  test("and is not asked for a bound of ours is none", async () => {
    const mirrored = await comparing(OK, OK);
    mirrored.started.plane.feel({ lagMs: 1000, utilization: 1, heap: 0, files: 0 });
    await ask(mirrored);
    expect(await settled(mirrored.started)).toEqual({ sampled: 1, overload: 1 });
    expect(mirrored.started.plane.shadows.comparer.report(true)).toEqual([]);
  });
});

describe("the noise of legacy", () => {
  test("is learnt from a second request, which is marked and never answers anybody", async () => {
    const mirrored = await comparing(OK, json({ id: 0, name: "a" }), { noisePercent: 100 });
    const { legacy, started } = mirrored;
    let id = 0;
    legacy.script = ({ socket, received }) => {
      if (received.endsWith("\r\n\r\n")) socket.write(json({ id: ++id, name: "a" }));
    };
    for (let i = 0; i < 5; i++) await ask(mirrored);
    const { pairs, noise, fields } = await compared(started, 5);
    expect(id).toBe(10);
    expect(legacy.received.match(/Crossfade-Shadow: 1/g)).toHaveLength(5);
    expect([allOf(pairs), allOf(noise)]).toEqual([5, 5]);
    expect(fields.map(([name, counts]) => [name, counts.pairs, counts.noise])).toEqual([["body /id", 5, 5]]);
    expect(counted(started)).toEqual({ sampled: 5, answered: 5 });
  });

  test("is measured on the second backend's side too when copies go back to legacy", async () => {
    const mirrored = await comparing(
      OK,
      OK,
      { noisePercent: 100 },
      { to: "legacy" as BackendId },
      { candidateShares: 100_000 },
    );
    await ask(mirrored);
    const { pairs, noise } = await compared(mirrored.started, 1);
    expect([pairs.matched, noise.matched]).toEqual([1, 1]);
    expect(mirrored.legacy.received.match(/Crossfade-Shadow: 1/g)).toHaveLength(2);
  });
});

test("of many requests every copy that a backend answered or failed is counted once", async () => {
  const mirrored = await comparing(OK, OK, { noisePercent: 30 }, { inFlightMax: 20 });
  let turn = 0;
  mirrored.shadow.script = ({ socket, received }) => {
    if (!received.endsWith("\r\n\r\n")) return;
    const scripts = [OK, json({ a: 1 }), null, "rubbish\r\n\r\n", OK];
    const text = scripts[turn++ % scripts.length];
    if (typeof text === "string") socket.write(text);
    else socket.resetAndDestroy();
  };
  for (let round = 0; round < 10; round++) await Promise.all(Array.from({ length: 40 }, () => ask(mirrored)));
  const { sampled = 0, busy = 0, ...results } = await settled(mirrored.started);
  expect(sampled).toBe(400);
  const reached = Object.values(results).reduce((sum, count) => sum + count, 0);
  expect(reached + busy).toBe(400);
  const { pairs, noise } = await compared(mirrored.started, reached);
  expect(pairs.mismatched).toBeGreaterThan(0);
  expect(allOf(noise)).toBeGreaterThan(0);
});
