/** The difference between two tables, line by line as operators read it. */
import { describe, expect, it } from "vitest";
import { DIFFERENCE_LINES_MAX, differenceOf, tellsOf } from "../../../src/domain/difference.ts";
import { decodeDocument } from "../../../src/domain/document.ts";
import type { RolloutState } from "../../../src/domain/rollout_words.ts";
import type { Document } from "../../../src/domain/route.ts";
import { Story } from "../../support/rollout_story.ts";
import { BACKENDS, SHOP, tableWith, valueOf } from "../../support/table.ts";

function documentOf(input: unknown): Document {
  return valueOf(decodeDocument(input));
}

/** The lines between the shop as it is by default and the shop with these keys. */
function shopDifference(keys: Readonly<Record<string, unknown>>): string[] {
  return differenceOf(documentOf(tableWith(SHOP)), documentOf(tableWith({ ...SHOP, ...keys })));
}

function split(legacy: number): Readonly<Record<string, unknown>> {
  return { split: { legacy, new: 100 - legacy } };
}

describe("differenceOf", () => {
  it("a first table is all that is in it", () => {
    expect(differenceOf(null, documentOf(tableWith({ ...SHOP, ...split(95) })))).toEqual([
      "backend legacy: added, at http://127.0.0.1:9001",
      "backend new: added, at http://127.0.0.1:9002, http://127.0.0.1:9003",
      "backend other: added, at http://127.0.0.1:9004",
      "route shop: added, legacy 95 %, new 5 %",
    ]);
  });

  it("a first table without anything is a difference too", () => {
    const empty = documentOf({ backends: {}, routes: [] });
    expect(differenceOf(null, empty)).toEqual(["the first table, without backends and routes"]);
    expect(differenceOf(empty, empty)).toEqual([]);
  });

  it("a shift names the candidate and both weights", () => {
    const before = documentOf(tableWith({ ...SHOP, ...split(95) }));
    const after = documentOf(tableWith({ ...SHOP, ...split(74.875) }));
    expect(differenceOf(before, after)).toEqual(["route shop: new 5 % -> 25.125 %"]);
  });

  it("a shift to another candidate names both", () => {
    const moved = { cutover: { legacy: "legacy", candidate: "other" }, split: { legacy: 90, other: 10 } };
    expect(shopDifference(moved)).toEqual([
      "route shop: new 0 % -> other 10 %",
      "route shop: cutover.candidate new -> other",
      "route shop: sticky.salt legacy/new -> legacy/other",
    ]);
  });

  it("backends that came, went and changed are named with their endpoints", () => {
    const { legacy, new: candidate } = BACKENDS;
    const before = documentOf({ backends: { legacy, new: candidate }, routes: [] });
    const endpoints = ["http://127.0.0.1:9002", "http://127.0.0.1:9009"];
    const after = documentOf({ backends: { new: { endpoints }, other: BACKENDS.other }, routes: [] });
    expect(differenceOf(before, after)).toEqual([
      "backend new: endpoints gains http://127.0.0.1:9009",
      "backend new: endpoints loses http://127.0.0.1:9003",
      "backend other: added, at http://127.0.0.1:9004",
      "backend legacy: removed",
    ]);
  });

  it("a PROXY header that is asked for is named", () => {
    const one = { endpoints: ["http://127.0.0.1:9001"] };
    const before = documentOf({ backends: { one }, routes: [] });
    const after = documentOf({ backends: { one: { ...one, proxy_protocol: "v2" } }, routes: [] });
    expect(differenceOf(before, after)).toEqual(["backend one: proxy_protocol off -> v2"]);
    expect(differenceOf(null, after)).toEqual([
      "backend one: added, at http://127.0.0.1:9001, proxy_protocol v2",
    ]);
  });

  it("endpoints in another order are a difference", () => {
    const [first, second] = ["http://a:1", "http://b:2"];
    const before = documentOf({ backends: { new: { endpoints: [first, second] } }, routes: [] });
    const after = documentOf({ backends: { new: { endpoints: [second, first] } }, routes: [] });
    expect(differenceOf(before, after)).toEqual([
      "backend new: endpoints http://a:1, http://b:2 -> http://b:2, http://a:1",
    ]);
  });

  it("backends in another order mean the same", () => {
    const backends = { other: BACKENDS.other, new: BACKENDS.new, legacy: BACKENDS.legacy };
    expect(differenceOf(documentOf(tableWith(SHOP)), documentOf({ backends, routes: [SHOP] }))).toEqual([]);
  });

  it.each<[string, Record<string, unknown>, string[]]>([
    ["hosts", { match: { hosts: ["a.example.com"] } }, ["match.hosts gains a.example.com"]],
    ["an exact path", { match: { exact: "/x" } }, ["match.path prefix / -> exact /x"]],
    [
      "methods",
      { match: { methods: ["GET", "HEAD"] } },
      ["match.methods gains GET", "match.methods gains HEAD"],
    ],
    [
      "a header with a value",
      { match: { headers: { "X-Beta": "on" } } },
      ['match.headers gains x-beta="on"'],
    ],
    ["a query parameter", { match: { query: { beta: true } } }, ["match.query gains beta"]],
    ["a cookie", { match: { cookies: { beta: "" } } }, ['match.cookies gains beta=""']],
    ["another salt", { sticky: { salt: "s" } }, ["sticky.salt legacy/new -> s"]],
    [
      "other sticky keys",
      { sticky: { keys: ["cookie:uid"] } },
      ["sticky.keys gains cookie:uid", "sticky.keys loses issue"],
    ],
    ["a pin", { pins: [{ header: "X-Pin", to: "new" }] }, ["pins gains header x-pin to new"]],
    ["connecting", { timeouts: { connect: "250ms" } }, ["timeouts.connect 3 s -> 250 ms"]],
    ["response", { timeouts: { response: "30s" } }, ["timeouts.response 60 s -> 30 s"]],
    ["idling", { timeouts: { idle: "1h" } }, ["timeouts.idle 60 s -> 3600 s"]],
    ["attempts", { retries: { attempts: 0 } }, ["retries.attempts 1 -> 0"]],
    ["held bodies", { retries: { body: 0 } }, ["retries.body 64 KiB -> 0 bytes"]],
    ["exposure", { expose: true }, ["expose false -> true"]],
    ["no rollback", { rollback: "off" }, ["rollback on -> off"]],
    [
      "another rollback",
      {
        rollback: {
          on: ["errors", "latency"],
          tolerance: 2,
          false_alarm: 0.000001,
          statuses: ["5xx", 429],
        },
      },
      [
        "rollback.on gains latency",
        "rollback.tolerance 1.5 -> 2",
        "rollback.false_alarm 0.001 -> 0.000001",
        "rollback.statuses gains 429",
      ],
    ],
  ])("a changed field is told with its name and values: %s", (_, keys, lines) => {
    expect(shopDifference(keys)).toEqual(lines.map((line) => `route shop: ${line}`));
  });

  it("a rollback that is switched on is told with what it has besides the defaults", () => {
    const off = documentOf(tableWith({ ...SHOP, rollback: "off" }));
    const on = documentOf(tableWith({ ...SHOP, rollback: { tolerance: 2 } }));
    expect(differenceOf(off, on)).toEqual([
      "route shop: rollback off -> on",
      "route shop: rollback.tolerance 1.5 -> 2",
    ]);
    expect(differenceOf(on, off)).toEqual(["route shop: rollback on -> off"]);
    const added = differenceOf(documentOf(tableWith()), off);
    expect(added).toEqual(["route shop: added, legacy 100 %, new 0 %, rollback off"]);
  });

  it("routes that came, went and changed places are told after the backends", () => {
    const [a, b, c, d] = ["a", "b", "c", "d"].map((id) => ({ ...SHOP, id, match: { exact: `/${id}` } }));
    expect(differenceOf(documentOf(tableWith(a, b, c)), documentOf(tableWith(c, d, a)))).toEqual([
      "route d: added, legacy 100 %, new 0 %",
      "route b: removed",
      "routes: order a, c -> c, a",
    ]);
  });

  it("values of a thousand characters are cut in the middle", () => {
    const [line] = shopDifference({ match: { exact: `/${"x".repeat(900)}/end` } });
    expect(line?.length).toBeLessThan(250);
    expect(line).toContain("/end");
  });

  it("more lines than fit are counted in the last one", () => {
    const routes = Array.from({ length: 300 }, (_, index) => ({
      ...SHOP,
      id: `r${index}`,
      match: { exact: `/${index}` },
    }));
    const lines = differenceOf(documentOf(tableWith()), documentOf(tableWith(...routes)));
    expect(lines).toHaveLength(DIFFERENCE_LINES_MAX);
    expect(lines.at(-2)).toBe("route r198: added, legacy 100 %, new 0 %");
    expect(lines.at(-1)).toBe("and 101 more differences");
  });
});

describe("a mirror in a difference", () => {
  const LEAST = { to: "new", percent: 10 };

  it("is told by its backend and its percent when it comes and goes", () => {
    const [without, having] = [{}, { mirror: LEAST }].map((keys) =>
      documentOf(tableWith({ ...SHOP, ...keys })),
    );
    if (without === undefined || having === undefined) throw new Error("there are two");
    expect(differenceOf(without, having)).toEqual(["route shop: mirror none -> 10 % to new"]);
    expect(differenceOf(having, without)).toEqual(["route shop: mirror 10 % to new -> none"]);
    expect(differenceOf(null, having).at(-1)).toBe(
      "route shop: added, legacy 100 %, new 0 %, mirror 10 % to new",
    );
  });

  it("is told part by part when it changes", () => {
    const match = { path: "/a", headers: { "x-a": "1" } };
    const bounds = { max_body: "1MiB", timeout: "1s", concurrency: 9 };
    const changed = { to: "other", percent: 0.5, by: "random", methods: ["GET"], match, ...bounds };
    const [was, is] = [LEAST, changed].map((mirror) => documentOf(tableWith({ ...SHOP, mirror })));
    if (was === undefined || is === undefined) throw new Error("there are two");
    expect(differenceOf(was, is)).toEqual([
      "route shop: mirror.to new -> other",
      "route shop: mirror.percent 10 % -> 0.5 %",
      "route shop: mirror.by bucket -> random",
      "route shop: mirror.methods loses HEAD",
      "route shop: mirror.methods loses OPTIONS",
      "route shop: mirror.match.path prefix / -> prefix /a",
      'route shop: mirror.match.headers gains x-a="1"',
      "route shop: mirror.max_body 64 KiB -> 1 MiB",
      "route shop: mirror.timeout 10 s -> 1 s",
      "route shop: mirror.concurrency 256 -> 9",
    ]);
  });
});

describe("a rollout in a difference", () => {
  const PLAN = { steps: [5, 50, 100] };
  const gate = { at: "pre-flight", url: "https://g.example/", timeout: "10s" };

  it("is a plan that came or went, told in short", () => {
    const [none, planned] = [documentOf(tableWith(SHOP)), documentOf(tableWith({ ...SHOP, rollout: PLAN }))];
    expect(differenceOf(none, planned)).toEqual(["route shop: rollout none -> rollout in 3 steps to 100 %"]);
    expect(differenceOf(planned, none)).toEqual(["route shop: rollout planned -> none"]);
    expect(differenceOf(documentOf(tableWith()), planned)).toEqual([
      "route shop: added, legacy 100 %, new 0 %, rollout in 3 steps to 100 %",
    ]);
  });

  it.each<[string, Record<string, unknown>, string[]]>([
    ["weights", { steps: [5, 75, 100] }, ["steps gains 75 % 5m", "steps loses 50 % 5m"]],
    [
      "bakes",
      { steps: [5, { weight: 50, bake: "1h", until: "proven" }, 100] },
      ["steps gains 50 % 1h proven", "steps loses 50 % 5m"],
    ],
    ["requests", { min_requests: 7 }, ["min_requests 50 -> 7"]],
    ["the margin", { margin: 0.5 }, ["margin 1 % -> 0.5 %"]],
    ["the longest duration", { max_duration: "3d" }, ["max_duration none -> 3d"]],
    [
      "a freeze",
      { freeze: [{ from: "22:00", to: "06:00" }] },
      ['freeze gains {"from":"22:00","to":"06:00"}'],
    ],
    ["a gate", { gates: [gate] }, [`gates gains ${JSON.stringify(gate)}`]],
  ])("is a plan with other values: %s", (_, keys, lines) => {
    const before = documentOf(tableWith({ ...SHOP, rollout: PLAN }));
    const after = documentOf(tableWith({ ...SHOP, rollout: { ...PLAN, ...keys } }));
    expect(differenceOf(before, after)).toEqual(lines.map((line) => `route shop: rollout.${line}`));
  });

  /** What is told when the rollout of the shop goes from one state to another. */
  function moveLines(from: RolloutState, to: RolloutState): string[] {
    const table = documentOf(tableWith({ ...SHOP, rollout: PLAN }));
    const at = (state: RolloutState): Document => ({
      ...table,
      rollouts: table.rollouts.map((one) => ({ ...one, state })),
    });
    const lines = differenceOf(at(from), at(to));
    return lines.map((line) => line.replace(/^route shop: /, ""));
  }

  it("tells where it is, and why", () => {
    const pending = new Story(PLAN).state;
    const started = new Story(PLAN).person("start").state;
    const story = new Story(PLAN).at(1);
    const baking = story.state;
    expect(moveLines(pending, started)).toEqual([
      "rollout progressing, before step 1 of 3",
      "rollout because started by a person",
    ]);
    expect(moveLines(started, baking)).toEqual([
      "rollout progressing, step 2 of 3 at 50 %",
      "rollout because step 2 of 3: the candidate gets 50 %",
    ]);
    expect(moveLines(baking, story.tick(1, { storeOk: false }).state)).toEqual([
      "rollout held, step 2 of 3 at 50 %",
      "rollout because the evidence cannot be read completely",
    ]);
    expect(moveLines(baking, story.person("rolledBack", "it is slow").state)).toEqual([
      "rollout rolled back",
      "rollout because rolled back at 50 %: by a person: it is slow",
    ]);
  });

  it("tells of gates and their calls", () => {
    const baking = new Story(PLAN).at(1).state;
    const gates = { passed: 1, point: "after-step", tries: 2, call: 7, sinceMs: 0 } as const;
    expect(moveLines({ ...baking, calls: 7 }, { ...baking, calls: 7, gates })).toEqual([
      "rollout gate after-step is asked, call 7: 1 passed, tries 2",
    ]);
    expect(moveLines({ ...baking, gates }, { ...baking, gates: { ...gates, call: null } })).toEqual([
      "rollout gate after-step waits: 1 passed, tries 2",
    ]);
  });

  it("is told even when nothing that people read has changed", () => {
    const { state } = new Story(PLAN).at(1);
    const line = "rollout counts its times or its calls anew";
    expect(moveLines(state, { ...state, bakeSinceMs: state.bakeSinceMs + 1 })).toEqual([line]);
    expect(moveLines(state, { ...state, calls: 8 })).toEqual([line]);
    expect(moveLines(state, { ...state })).toEqual([]);
  });
});

describe("tellsOf", () => {
  it("finds lines about a route, and about no other whose name begins alike", () => {
    const lines = ["backend shop: removed", "route shop.eu: new 5 % -> 0 %"];
    expect(tellsOf(lines, "shop.eu")).toBe(true);
    expect(tellsOf(lines, "shop")).toBe(false);
  });
});
