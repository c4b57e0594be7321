/** The commands that replace workers and the control process, with a real admin API whose fleet only remembers. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { serveStage, type ServedStage } from "../support/shell.ts";

let stage: ServedStage;
const servers: Server[] = [];

beforeEach(async () => {
  stage = await serveStage();
});

afterEach(async () => {
  await stage.close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

/** A server whose first answers are 200; from `failsFrom` on it cuts connections. */
async function serve(failsFrom = Infinity): Promise<string> {
  let count = 0;
  const server = createServer((request, response) => {
    if (++count >= failsFrom) request.socket.destroy();
    else response.end("ok");
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/probe`;
}

describe("fleet recycle", () => {
  it("waits until none of the workers serves that were to go", async () => {
    const [worker] = stage.parts.fleet.status();
    if (worker !== undefined) stage.told.worker = { ...worker, state: "draining" };
    const ran = await stage.run(["fleet", "recycle", "--reason", "new libc"]);
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toContain("1 workers replaced");
    expect(stage.told.causes).toEqual(["loopback: new libc"]);
  });

  it("says who still serves when the time is over", async () => {
    const ran = await stage.run(["fleet", "recycle", "--within", "1ms"]);
    expect(ran).toMatchObject({ code: 1, out: "" });
    expect(ran.err).toContain("worker 0 (pid 4242) waits for its turn");
  });

  it("need not wait", async () => {
    const ran = await stage.run(["fleet", "recycle", "--no-wait", "--json"]);
    expect(JSON.parse(ran.out)).toEqual({ workers: [{ worker: 0, pid: 4242 }] });
  });
});

describe("upgrade", () => {
  it("tells who took over from whom", async () => {
    const ran = await stage.run(["upgrade", "--reason", "1.2"]);
    expect(ran).toMatchObject({ code: 0, err: "" });
    expect(ran.out).toContain("version 0.0.1-test (pid 4000) took over from 0.0.0-test (pid 4000)");
    expect(stage.told.causes).toEqual(["loopback: 1.2"]);
  });

  it("fails with the reason, and says that nothing has changed", async () => {
    stage.told.upgrade = { ok: false, code: "UPGRADE_FAILED", detail: "the settings have problems" };
    const ran = await stage.run(["upgrade"]);
    expect(ran.code).toBe(1);
    expect(ran.err).toContain("the control process before and its workers carry on");
    expect(ran.err).toContain("the settings have problems");
  });

  it("with --verify counts every probe", async () => {
    const url = await serve();
    const ran = await stage.run(["upgrade", "--verify", url, "--json"]);
    const said = JSON.parse(ran.out) as {
      verify: { url: string; sent: number; answered: number; lost: number };
    };
    expect(ran.code).toBe(0);
    expect(said.verify).toMatchObject({ url, lost: 0 });
    expect(said.verify.sent).toBeGreaterThan(8);
    expect(said.verify.answered).toBe(said.verify.sent);
  });

  it("with --verify fails when a probe is lost, however the upgrade went", async () => {
    const url = await serve(50);
    const ran = await stage.run(["upgrade", "--verify", url]);
    expect(ran.code).toBe(1);
    expect(ran.out).toMatch(/ sent, 49 answered \(200: 49\), [\d,]+ lost: /);
  });

  it("with --verify changes nothing when nobody answers in the first place", async () => {
    const ran = await stage.run(["upgrade", "--verify", await serve(1)]);
    expect(ran.code).toBe(1);
    expect(ran.err).toContain("nothing was changed");
    expect(stage.told.causes).toEqual([]);
  });

  it("refuses an address that is none", async () => {
    expect((await stage.run(["upgrade", "--verify", "here"])).code).toBe(2);
  });
});
