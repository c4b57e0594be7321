/** The commands that look, against a real admin API: what they print for people and for scripts. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeStatus } from "../../src/control/member_word.ts";
import { localTime } from "../../src/render.ts";
import { serveStage, type ServedStage } from "../support/shell.ts";

let stage: ServedStage;

beforeEach(async () => {
  stage = await serveStage();
});

afterEach(async () => {
  await stage.close();
});

describe("routes and table", () => {
  it("shows a route on a line, with what it matches", async () => {
    const ran = await stage.run(["routes"]);
    expect(ran).toEqual({
      code: 0,
      out: "ROUTE  LEGACY  CANDIDATE  WEIGHT  MATCHES\nshop   old     fresh         5 %  shop.example.com /\n",
      err: "",
    });
  });

  it("says so when there are none", async () => {
    const empty = await serveStage({ isEmpty: true });
    expect((await empty.run(["routes"])).out).toBe("no routes\n");
    expect((await empty.run(["history"])).out).toBe("nothing yet\n");
    expect((await empty.run(["audit"])).out).toBe("nothing yet\n");
    await empty.close();
  });

  it("prints a table that apply takes back unchanged", async () => {
    const { out } = await stage.run(["table"]);
    const again = await stage.run(["apply", "-"], { files: { "-": out } });
    expect(again.out).toContain("nothing to change");
  });
});

describe("history and audit", () => {
  beforeEach(async () => {
    for (const percent of [10, 20, 30]) {
      await stage.run(["shift", "shop", String(percent), "--reason", `step ${percent}`]);
    }
  });

  it("show the newest first, with the time in this machine's zone", async () => {
    const ran = await stage.run(["history", "--limit", "2"]);
    const at = localTime("2026-01-01T00:00:00Z");
    expect(ran.out.split("\n").map((line) => line.split(/ {2,}/).map((cell) => cell.trim()))).toEqual([
      ["REVISION", "AT", "BY", "DID", "REASON"],
      ["", "4", at, "loopback", "shift", "step 30"],
      ["", "3", at, "loopback", "shift", "step 20"],
      [""],
    ]);
    expect(ran.err).toBe("older ones: --before 3\n");
  });

  it("go on below a revision", async () => {
    const ran = await stage.run(["history", "--limit", "2", "--before", "3", "--json"]);
    const page = JSON.parse(ran.out) as { entries: { revision: number }[]; next_before: number | null };
    expect(page.entries.map(({ revision }) => revision)).toEqual([2, 1]);
  });

  it("name every difference in the audit", async () => {
    const ran = await stage.run(["audit", "--limit", "1"]);
    expect(ran.out).toBe(
      `4 from 3  ${localTime("2026-01-01T00:00:00Z")}  loopback shift: step 30\n  route shop: fresh 20 % -> 30 %\n`,
    );
  });

  it("print a past table that apply takes back", async () => {
    const shown = await stage.run(["history", "show", "2"]);
    const ran = await stage.run(["apply", "-"], { files: { "-": shown.out } });
    expect(ran.out).toContain("route shop: fresh 30 % -> 10 %");
    expect(await stage.run(["history", "show", "99"])).toMatchObject({ code: 1, out: "" });
  });
});

describe("explain", () => {
  it("names route, backend, bucket and steps", async () => {
    const ran = await stage.run(["explain", "GET", "http://shop.example.com/a", "-H", "Cookie: uid=7"]);
    expect(ran.code).toBe(0);
    expect(ran.out).toMatch(/^route +shop\nbackend +(?:old|fresh)\nendpoints +http:/);
    expect(ran.out).toMatch(/\nkey +cookie:uid\nbucket +[\d,]+ of 100,000\nweight +5 %\nrevision +1\n/);
    expect(ran.out).toContain("  - the bucket of cookie:uid is ");
  });

  it("sends repeated fields and the client's address along", async () => {
    const request = "explain GET / -H Host:shop.example.com -H X-A:1 -H X-A:2 --client 192.0.2.7 --json";
    const ran = await stage.run(request.split(" "));
    expect(JSON.parse(ran.out)).toMatchObject({ route: "shop", key: "address" });
  });

  it("exits with 3 when no route matches, and says why", async () => {
    const ran = await stage.run(["explain", "GET", "http://other.example.com/"]);
    expect(ran.code).toBe(3);
    expect(ran.out).toContain("no route: ");
    const json = await stage.run(["explain", "GET", "http://other.example.com/", "--json"]);
    expect(json.code).toBe(3);
    expect(JSON.parse(json.out)).toMatchObject({ route: null });
  });
});

describe("fleet", () => {
  it("shows each worker on a line", async () => {
    const { out } = await stage.run(["fleet"]);
    const [, worker] = out.trimEnd().split("\n");
    const shown = "0|4242|serving|0.0.0-test|1|0|3|0|48 MiB|25 %";
    expect(worker?.trim().split(/ {2,}/).join("|")).toBe(shown);
    expect(JSON.parse((await stage.run(["fleet", "--json"])).out)).toMatchObject({
      workers: [{ pid: 4242 }],
    });
  });

  it("shows the workers of every instance, says who is behind, and repeats their warnings", async () => {
    const shared = await serveStage({ isShared: true });
    const facts = { word: 1, startedMs: 0, pid: 1, store: null, servingFrom: "store" } as const;
    const worker = { ...shared.parts.fleet.status()[0]!, appliedRevision: 3 };
    const open = { idle: 1, requests: 0, tunnels: 1_200, streams: 3 };
    const until = { requestsUntilMs: 61_000, tunnelsUntilMs: 3_600_000 };
    const leaving = { ...worker, state: "draining", pressure: "mirrors", drain: { open, ...until } } as const;
    const busy = {
      ...facts,
      run: "b",
      version: "8.0.0",
      state: "serving",
      workers: [worker, leaving],
    } as const;
    const idle = { ...facts, run: "c", version: "7.0.0", state: "not ready", workers: [] } as const;
    const put = (id: string, appliedRevision: number, status: string): void => {
      shared.circle.records.set(id, { word: { appliedRevision, status, totals: "" }, atMs: 0 });
    };
    put("busy", 3, encodeStatus({ ...busy, warnings: ["the disk\u001b[2J is full"] }));
    put("idle", 0, encodeStatus({ ...idle, servingFrom: "disk", store: "no answer", warnings: [] }));
    await shared.members.start();
    await shared.store.close();
    const { out } = await shared.run(["fleet"]);
    const shown = out.trimEnd().split("\n");
    expect(shown.map((line) => line.trim().split(/ {2,}/).join("|"))).toEqual([
      "INSTANCE|WORKER|PID|STATE|VERSION|REVISION|LAG|CONNECTIONS|RESTARTS|MEMORY|BUSY|NOTE",
      "busy|0|4242|serving|0.0.0-test|3|0|3|0|48 MiB|25 %",
      "busy|0|4242|draining|0.0.0-test|3|0|3|0|48 MiB|25 %|" +
        "pressed: gives up mirrors; " +
        "3 event streams, 1 idle until 00:01:01Z, 1,200 WebSockets until 01:00:00Z",
      "here|0|4242|serving|0.0.0-test|1|2|3|0|48 MiB|25 %|this one; 2 behind",
      "idle|-|-|not ready|7.0.0|0|3|-|-|-|-|not ready; 3 behind; serves the table on its disk; store: no answer",
      "warning: instance busy: the disk\\u{1b}[2J is full",
    ]);
    const json = JSON.parse((await shared.run(["fleet", "--json"])).out) as { instances: { id: string }[] };
    expect(json.instances.map(({ id }) => id)).toEqual(["busy", "here", "idle"]);
    await shared.members.stop();
    await shared.close();
  });
});

describe("events", () => {
  it("prints what happened after an event, a line each, and ends at the limit", async () => {
    stage.parts.journal.append("table.changed", { revision: 2, reason: "two words\u001b[2J" });
    stage.parts.journal.append("worker.ready", { worker: 1 });
    const ran = await stage.run(["events", "--after", "unknown.1", "--limit", "3"]);
    const lines = ran.out.trimEnd().split("\n");
    expect(lines[0]).toContain("gap");
    expect(lines[1]).toMatch(/^2026-01-01T.* table\.changed +revision=2 reason="two words\\u001b\[2J"$/);
    expect(lines[2]).toMatch(/ worker\.ready +worker=1$/);
  });

  it("prints an event per line of JSON, as it happens", async () => {
    const running = stage.run(["events", "--after", "unknown.1", "--limit", "2", "--json"], {
      // The first line says that events were missed: from then on the stream is open.
      onOut: (text) => {
        if (text.includes('"gap"')) stage.parts.journal.append("draining", { now: false });
      },
    });
    const lines = (await running).out.trimEnd().split("\n");
    expect(JSON.parse(lines[1] ?? "")).toMatchObject({ type: "draining", data: { now: false } });
  });
});
