/** The demo's accounts find what they are there for: lost answers, wrong sides, and clients that come back. */
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { bucketOf } from "../../src/domain/split.ts";
import { Crowd, quantileOf, shareOfNew, sharesOf, type Side } from "../../src/demo_clients.ts";
import { until } from "../support/wait.ts";

const CLIENTS = 20;
const SALT = "test";

let server: Server;
let crowd: Crowd;
/** Which side answers a client, or what else happens. */
let answer: (uid: string) => Side | 500 | "cut";

beforeEach(async () => {
  const listener: RequestListener = (request, response) => {
    const uid = /uid=([\w-]+)/.exec(request.headers.cookie ?? "")?.[1] ?? "";
    const what = answer(uid);
    if (what === "cut") {
      request.socket.destroy();
      return;
    }
    response.writeHead(what === 500 ? 500 : 200, { "x-served-by": what === 500 ? "new" : what });
    response.end("{}");
  };
  server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  crowd = new Crowd({ port, clients: CLIENTS, salt: SALT, clock: systemClock });
});

afterEach(async () => {
  await crowd.stop();
  await new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
});

function fairly(percent: number): (uid: string) => Side {
  return (uid) => (bucketOf(SALT, uid) < sharesOf(percent) ? "new" : "legacy");
}

async function everybody(): Promise<void> {
  await until("every client was answered", () => crowd.reach().seen === CLIENTS);
  crowd.confirm(Infinity);
}

describe("a crowd", () => {
  it("finds nothing wrong with a fair proxy, and counts each side", async () => {
    answer = fairly(50);
    crowd.expect(sharesOf(50), true);
    crowd.send(2_000);
    await everybody();
    const { meant, onNew } = crowd.reach();
    expect(meant).toBeGreaterThan(0);
    expect(onNew).toBe(meant);
    const tally = crowd.collect();
    expect(tally.sides.legacy.latenciesMs).toHaveLength(tally.sides.legacy.answers);
    expect(shareOfNew(tally)).toBeGreaterThan(0);
    expect(crowd.account).toMatchObject({
      misplaced: 0,
      jumpedBack: 0,
      lost: 0,
      failures: { legacy: 0, new: 0 },
    });
    expect(crowd.account.compared).toBeGreaterThanOrEqual(CLIENTS);
  });

  it("finds a proxy that does not keep to the weight", async () => {
    answer = fairly(60);
    crowd.expect(sharesOf(10), true);
    crowd.send(2_000);
    await everybody();
    expect(crowd.account.misplaced).toBeGreaterThan(0);
  });

  it("finds clients that come back while the weight grows, but not after a rollback", async () => {
    answer = () => "new";
    crowd.expect(sharesOf(100), true);
    crowd.send(2_000);
    await everybody();
    answer = () => "legacy";
    crowd.unsettle();
    await crowd.settled();
    crowd.expect(0, false);
    await everybody();
    expect(crowd.account).toMatchObject({ jumpedBack: 0, misplaced: 0 });
    answer = () => "new";
    crowd.expect(sharesOf(100), true);
    // An answer that was under way when the weight changed counts for nothing: wait for those that came after.
    await until("everybody has moved", () => {
      crowd.confirm(Infinity);
      return crowd.reach().onNew === CLIENTS;
    });
    answer = () => "legacy";
    await until("somebody came back", () => {
      crowd.confirm(Infinity);
      return crowd.account.jumpedBack > 0;
    });
    expect(crowd.account.misplaced).toBeGreaterThan(0);
  });

  it("holds nothing against a proxy whose weight had changed before anybody knew", async () => {
    answer = () => "new";
    crowd.expect(0, true);
    crowd.send(2_000);
    await until("every client was answered", () => crowd.reach().seen === CLIENTS);
    // Confirmed is the time before the answers came, and then the news arrives.
    crowd.confirm(0);
    crowd.unsettle();
    crowd.confirm(Infinity);
    expect(crowd.account).toMatchObject({ compared: 0, misplaced: 0 });
    crowd.expect(sharesOf(100), true);
    // Answers to requests that were under way then are seen and not compared: wait for those that are.
    await until("as many as there are clients were compared", () => {
      crowd.confirm(Infinity);
      return crowd.account.compared >= CLIENTS;
    });
    expect(crowd.account.compared).toBeGreaterThanOrEqual(CLIENTS);
    expect(crowd.account.misplaced).toBe(0);
  });

  it("counts failures on their side, and requests that nobody answered", async () => {
    answer = () => 500;
    crowd.expect(sharesOf(100), true);
    crowd.send(2_000);
    await until("failures were counted", () => crowd.account.failures.new > 0);
    answer = () => "cut";
    await until("lost requests were counted", () => crowd.account.lost > 0);
    expect(crowd.account.failures.legacy).toBe(0);
    expect(crowd.collect().lost).toBeGreaterThan(0);
  });
});

describe("quantileOf", () => {
  it("is the nearest rank", () => {
    const values = Array.from({ length: 100 }, (_, at) => 100 - at);
    expect([0, 0.5, 0.99, 1].map((ratio) => quantileOf(values, ratio))).toEqual([1, 50, 99, 100]);
    expect(quantileOf([], 0.5)).toBeNull();
  });
});
