/** A replay: its pace, its bounds, its accounts and its early end. The backends are servers of the test. */
import { once } from "node:events";
import { createServer, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { DEFAULT_COMPARE } from "../../src/domain/compare_policy.ts";
import type { Backend, BackendId } from "../../src/domain/route.ts";
import { replay, type ReplayOptions, type ReplayResult } from "../../src/verify_replay.ts";
import type { VerifyPlan } from "../../src/verify_plan.ts";
import { until } from "../support/wait.ts";

const OPTIONS: ReplayOptions = {
  rate: 10_000,
  limit: 10_000,
  concurrency: 50,
  timeoutMs: 20_000,
  noisePercent: 0,
};

const closers: (() => void)[] = [];

afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function backend(id: string, answer: RequestListener): Promise<Backend> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const endpoint = { address: `http://127.0.0.1:${port}`, host: "127.0.0.1", port };
  return { id: id as BackendId, endpoints: [endpoint] };
}

async function planOf(legacy: RequestListener, candidate: RequestListener): Promise<VerifyPlan> {
  return {
    route: "shop",
    revision: 1,
    legacy: await backend("old", legacy),
    candidate: await backend("fresh", candidate),
    policy: DEFAULT_COMPARE,
    isPolicyOwn: false,
    basis: "b",
    toSend({ method, target }) {
      if (target.startsWith("/other")) return "another route";
      return target === "/odd" ? "ambiguous" : { method, target, fields: [["Host", "shop.example"]] };
    },
  };
}

const answered: RequestListener = (request, response) => response.end(request.url);

async function* input(lines: readonly string[]): AsyncGenerator<Buffer> {
  for (const line of lines) yield Buffer.from(`${line}\n`);
}

function paths(count: number): string[] {
  return Array.from({ length: count }, (_, at) => `/${at}`);
}

function run(
  plan: VerifyPlan,
  lines: AsyncIterable<Uint8Array>,
  options: Partial<ReplayOptions> = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<ReplayResult> {
  // Draws from the lower half and the upper one in turn.
  let turn = 0;
  const random = { draw: (below: number) => (turn++ % 2) * (below - 1), id: () => "" };
  const parts = { clock: systemClock, random, signal, onProgress: () => undefined };
  return replay(lines, plan, { ...OPTIONS, ...options }, parts);
}

test("every line is accounted for, and every request compared", async () => {
  const plan = await planOf(answered, answered);
  const long = "x".repeat(20_000);
  const lines = ["# list", "", "/a", "HEAD /b", "POST /c", "/other", "/odd", "what", long, "/d"];
  const { account, counts } = await run(plan, input(lines));
  expect(account).toEqual({
    lines: 10,
    otherMethods: 1,
    otherRoutes: 1,
    queriesLost: 0,
    unusable: 3,
    firstUnusable: [
      { number: 7, why: "its path is ambiguous, and refused by Crossfade" },
      { number: 8, why: "it is no URL, no path and no line of an access log" },
      { number: 9, why: "it is longer than 16 KiB" },
    ],
    sent: 3,
    givenUp: 0,
    end: "input",
  });
  expect(counts.pairs).toMatchObject({ matched: 3, mismatched: 0 });
});

test("what is drawn goes to legacy twice, and its two answers are noise", async () => {
  let count = 0;
  const counting: RequestListener = (_, response) => response.end(String(count++));
  const { judge, counts } = await run(await planOf(counting, counting), input(paths(40)), {
    noisePercent: 50,
  });
  expect(count).toBe(100);
  expect(counts.noise).toMatchObject({ matched: 0, mismatched: 20 });
  expect(judge.fields).toMatchObject([{ field: "body", pairs: { differing: 40 }, noise: { differing: 20 } }]);
});

test("no more requests are under way than may be", async () => {
  const held: ServerResponse[] = [];
  let most = 0;
  let answers = 0;
  const holding: RequestListener = (_, response) => {
    most = Math.max(most, held.push(response));
  };
  const done = run(await planOf(answered, holding), input(paths(12)), { concurrency: 4 });
  while (answers < 12) {
    await until(
      "as many as may be are under way, or the last",
      () => held.length === Math.min(4, 12 - answers),
    );
    answers++;
    held.shift()?.end(`/${answers - 1}`);
  }
  expect((await done).account).toMatchObject({ sent: 12, end: "input" });
  expect(most).toBe(4);
});

test("it is never faster than its rate", async () => {
  const begunMs = systemClock.nowMs();
  const { account } = await run(await planOf(answered, answered), input(paths(31)), { rate: 100 });
  expect(account.sent).toBe(31);
  // 30 pauses of 10 ms, of which late timers may make up for 100 ms.
  expect(systemClock.nowMs() - begunMs).toBeGreaterThanOrEqual(200);
});

test("it ends at the limit", async () => {
  const { account, counts } = await run(await planOf(answered, answered), input(paths(9)), { limit: 5 });
  expect([account.sent, account.lines, account.end]).toEqual([5, 5, "limit"]);
  expect(counts.pairs.matched).toBe(5);
});

test("interrupted, it tells what was done, and gives up the rest without counting it", async () => {
  const controller = new AbortController();
  let held = 0;
  const holding: RequestListener = (request, response) => {
    if (request.url === "/0") response.end("/0");
    else held++;
  };
  // More lines never come, and nobody waits for them.
  async function* endless(): AsyncGenerator<Buffer> {
    yield Buffer.from("/0\n/1\n/2\n");
    await once(controller.signal, "abort");
    throw new Error("the reading was interrupted");
  }
  const done = run(await planOf(answered, holding), endless(), {}, controller.signal);
  await until("two are under way", () => held === 2);
  controller.abort();
  const { account, counts } = await done;
  expect(account).toMatchObject({ sent: 3, givenUp: 2, end: "interrupted" });
  expect(counts.pairs).toMatchObject({ matched: 1, mismatched: 0 });
});

test("what reading the input throws is thrown", async () => {
  async function* broken(): AsyncGenerator<Buffer> {
    yield Buffer.from("/0\n");
    throw new Error("the disk is gone");
  }
  await expect(run(await planOf(answered, answered), broken())).rejects.toThrow("the disk is gone");
});
