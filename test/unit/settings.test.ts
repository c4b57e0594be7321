/** Settings: what a file means, where its faults are, and that config/ says the same as the schema. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { assert } from "../../src/base/fault.ts";
import { readSettings, readTableFile, restartNeeded, type Settings } from "../../src/settings.ts";
import { problemLine } from "../../src/settings_file.ts";

const LISTEN = "listen: [{ address: 127.0.0.1:8080 }]\n";

const NOT_ALONE = "without tokens the admin API may only listen on this machine";

interface Outside {
  readonly env?: Record<string, string>;
  readonly flags?: Record<string, string>;
}

/** The settings of a file that must be good; what every file needs is added. */
function settingsOf(fileText: string, { env = {}, flags = {} }: Outside = {}): Settings {
  const result = readSettings({ fileName: "c.yaml", fileText: LISTEN + fileText, env, flags });
  assert(result.ok, JSON.stringify(result));
  return result.settings;
}

/** What is wrong with a file, a line for each. */
function linesOf(fileText: string, { env = {}, flags = {} }: Outside = {}): string[] {
  const result = readSettings({ fileName: "c.yaml", fileText, env, flags });
  return result.ok ? [] : result.problems.map(problemLine);
}

/** What is wrong with a file that listens somewhere; its own text starts at line 2. */
function faultsOf(fileText: string, outside: Outside = {}): string[] {
  return linesOf(LISTEN + fileText, outside);
}

describe("a file that only listens", () => {
  test("gets the documented defaults for the rest", () => {
    const { workers, instance, ...settings } = settingsOf("");
    expect(settings).toEqual({
      fileName: "c.yaml",
      listen: [{ kind: "tcp", host: "127.0.0.1", port: 8080, text: "127.0.0.1:8080" }],
      admin: { host: "127.0.0.1", port: 9900, tokens: [] },
      runDir: "data/run",
      store: { kind: "sqlite", sqlite: "./data/crossfade.db" },
      plane: {
        accessLog: { format: "json", samplePercent: 100 },
        drain: { graceMs: 5000, spreadMs: 30_000, idleMs: 15_000, deadlineMs: 120_000, tunnelsMs: 3_600_000 },
        trustedProxies: [],
        connectionsMax: 20_000,
        connectionsPerAddressMax: 2000,
        headsPerAddressMax: 200,
      },
      workerLimits: { memoryBytesMax: null, ageMsMax: null, heartbeatMs: 10_000 },
      logLevel: "info",
      table: null,
    });
    expect(workers).toBeGreaterThan(0);
    expect(instance).toMatch(/^[\w.-]+-[0-9a-f]{6}$/);
  });

  test("may be JSON", () => {
    const text =
      '{\n\t"listen": [{"address": "[::1]:0"}, {"address": "unix:/run/x.sock"}],\n\t"workers": 3\n}';
    const result = readSettings({ fileName: "c.json", fileText: text, env: {}, flags: {} });
    assert(result.ok, JSON.stringify(result));
    expect(result.settings.workers).toBe(3);
    expect(result.settings.listen).toEqual([
      { kind: "tcp", host: "::1", port: 0, text: "[::1]:0" },
      { kind: "unix", path: "/run/x.sock", text: "unix:/run/x.sock" },
    ]);
  });
});

describe("a file that says everything", () => {
  const sha256 = "AB".repeat(32);
  const settings = settingsOf(`
admin:
  address: "0.0.0.0:9900"
  tokens: [{ name: alice, role: operator, sha256: ${sha256} }]
workers: 4
trusted_proxies: [10.0.0.0/8, 192.0.2.1, "2001:DB8::/32"]
store: { sqlite: /var/lib/crossfade/store.db }
access_log: { format: combined, sample: 12.5, path: access.log }
drain: { grace: 0s, idle: 250ms, deadline: 1h }
limits: { connections: 7 }
log: { level: debug }
table:
  backends: { a: { endpoints: ["http://h"] }, b: { endpoints: ["http://i"] } }
  routes: [{ id: r, cutover: { legacy: a, candidate: b } }]
`);

  test("is taken at its word", () => {
    expect(settings.admin).toEqual({
      host: "0.0.0.0",
      port: 9900,
      tokens: [{ name: "alice", role: "operator", sha256: sha256.toLowerCase() }],
    });
    expect(settings.workers).toBe(4);
    expect(settings.logLevel).toBe("debug");
    expect(settings.plane).toEqual({
      accessLog: { format: "combined", samplePercent: 12.5, path: "access.log" },
      drain: { graceMs: 0, spreadMs: 30_000, idleMs: 250, deadlineMs: 3_600_000, tunnelsMs: 3_600_000 },
      trustedProxies: ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"],
      connectionsMax: 7,
      connectionsPerAddressMax: 2000,
      headsPerAddressMax: 200,
    });
  });

  test("has its run directory beside the store unless it names one", () => {
    expect(settings.runDir).toBe("/var/lib/crossfade/run");
    expect(settingsOf("run_dir: /run/crossfade").runDir).toBe("/run/crossfade");
  });

  test("brings its table decoded", () => {
    expect(settings.table?.routes.map(({ id }) => id)).toEqual(["r"]);
  });
});

describe("faults of a file", () => {
  test("are all reported at once, each at its line and column", () => {
    const text = `listen:
  - address: 127.0.0.1:8080
  - adress: 127.0.0.1:8081
acces_log: {}
store:
  sqlite: 5
drain: { grace: 5, deadline: 1s }
log: { level: warning }
log:
  level: info
table:
  backends:
    legacy: { endpoints: ["http://h:1"] }
    new:
      endpoints:
        - https://h
  routes:
    - id: shop
      spilt: {}
      cutover:
        legacy: legacy
    - id: till
      cutover: { legacy: legacy, candidate: nwe }
    - id: desk
      cutover: { legacy: legacy, candidate: new }
      split: { legacy: 90, nwe: 5 }
`;
    expect(linesOf(text)).toEqual([
      'c.yaml:3:5: /listen/1/address: "address" is missing',
      'c.yaml:3:5: /listen/1/adress: unknown key "adress"; did you mean "address"?',
      'c.yaml:4:1: /acces_log: unknown key "acces_log"; did you mean "access_log"?',
      "c.yaml:6:11: /store/sqlite: write text here, not a number",
      'c.yaml:7:17: /drain/grace: write a duration from 0ms to 24h with its unit, such as "250ms", "5s", "2m" or "1h"',
      "c.yaml:9:1: this key stands twice in its map",
      "c.yaml:16:11: /table/backends/new/endpoints/0: TLS to backends is not supported yet; use http://",
      'c.yaml:19:7: /table/routes/0/spilt: unknown key "spilt"; did you mean "split"?',
      'c.yaml:20:7: /table/routes/0/cutover/candidate: "candidate" is missing',
      'c.yaml:23:45: /table/routes/1/cutover/candidate: unknown backend "nwe"; did you mean "new"?',
      "c.yaml:26:14: /table/routes/2/split: the weights add up to 95 %; they must add up to 100 %",
      `c.yaml:26:28: /table/routes/2/split/nwe: "nwe" is not a backend of this route's cutover; did you mean "new"?`,
    ]);
  });

  test("are found behind anchors, at the alias that brings them in", () => {
    const text = `x: &d { grace: soon }\n${LISTEN}drain: *d\n`;
    const lines = linesOf(text);
    expect(lines[0]).toMatch(/^c\.yaml:1:1: \/x: unknown key "x"; allowed here: listen, admin, .*, table$/);
    expect(lines[1]).toContain("c.yaml:1:16: /drain/grace: ");
  });

  test.each([
    ["", 'c.yaml:1:1: /listen: "listen" is missing'],
    ["# nothing yet\n", 'c.yaml:1:1: /listen: "listen" is missing'],
    ["- listen\n", "c.yaml:1:1: write a map here, not a list"],
    ["listen: []\n", "c.yaml:1:9: /listen: write 1 to 16 entries"],
    [`${LISTEN}---\na: 1\n`, "c.yaml:2:1: the file goes on with a second document; keep one"],
    [
      "listen: !secret x\n",
      'c.yaml:1:9: what begins with "!" is a tag, and no tags are known here; put text in quotes',
    ],
  ])("of %j are found", (text, line) => {
    expect(linesOf(text)).toContain(line);
  });

  test("of YAML stand alone, because nothing else can be trusted", () => {
    const lines = linesOf("listen: [\n  a: b\n c\nspilt: 1\n");
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.every((line) => /^c\.yaml:\d+:\d+: [A-Z]/.test(line))).toBe(true);
  });

  test("include a bomb of aliases, which is not set off", () => {
    let text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (let i = 1; i < 9; i++)
      text += `a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`).join(", ")}]\n`;
    expect(linesOf(text)).toHaveLength(1);
  });

  test.each([
    ["listen: [{ address: 'fd:' }]", /^c\.yaml:1:21: .*name the socket as LISTEN_FDNAMES does/],
    ["listen: [{ address: fd:a }, { address: fd:a }]", /entry 0 of the list listens at the same address/],
    ["listen: [{ address: 8080 }]", /write text here, not a number/],
    ['listen: [{ address: ":8080" }]', /write host:port/],
    ["listen: [{ address: 0.0.0.0:65536 }]", /write host:port/],
    ["listen: [{ address: 0.0.0.256:80 }]", /write host:port/],
    ["listen: [{ address: '::1:80' }]", /write host:port/],
    ["listen: [{ address: 'unix:' }]", /name the socket/],
    [`listen: [{ address: unix:/${"x".repeat(103)} }]`, /at most 103 bytes/],
    [
      "listen: [{ address: 'h:1' }, { address: 'H:1' }]",
      /^c\.yaml:1:41: .*entry 0 of the list listens at the same address/,
    ],
    ["listen: [{ address: unix:a }, { address: unix:a }]", /listens at the same address/],
  ])("in addresses are refused: %s", (text, line) => {
    expect(linesOf(text)).toEqual([expect.stringMatching(line)]);
  });

  test.each([
    ["workers: 0", "c.yaml:2:10: /workers: write auto or a whole number from 1 to 256"],
    ["workers: many", "c.yaml:2:10: /workers: write auto or a whole number from 1 to 256"],
    ["trusted_proxies: [10.0.0.0/33]", /is not a range of addresses/],
    ["trusted_proxies: [10.0.1]", /is not a range of addresses/],
    ["trusted_proxies: ['::/129']", /is not a range of addresses/],
    ["trusted_proxies: [10.0.0.1, 10.0.0.1/32]", /the same as entry 0/],
    ["store: { redsi: {} }", 'c.yaml:2:10: /store/redsi: unknown key "redsi"; did you mean "redis"?'],
    ["store: 5", "c.yaml:2:8: /store: write a map here, not a number"],
    ["store:", "c.yaml:2:1: /store: write a map here, not nothing"],
    ["instance: a b", 'c.yaml:2:11: /instance: use 1 to 64 letters, digits, ".", "_" or "-"'],
    ["drain: { grace: 3m }", /\/drain\/deadline: the deadline cannot come before the end of the grace/],
    [
      "access_log: { format: jsn }",
      'c.yaml:2:23: /access_log/format: unknown choice "jsn"; did you mean "json"?',
    ],
    ["access_log: { sample: 101 }", "c.yaml:2:23: /access_log/sample: write 0 to 100 percent"],
    [
      "limits: { connections: 0 }",
      "c.yaml:2:24: /limits/connections: write a whole number from 1 to 1000000",
    ],
    [`run_dir: ${"d".repeat(91)}`, /^c\.yaml:2:10: \/run_dir: the path has at most 90 bytes/],
    [`store: { sqlite: ${"d".repeat(90)}/s.db }`, /^c\.yaml:1:1: \/run_dir: the path has at most 90 bytes/],
    ["table: {}", /\/table\/backends: "backends" is missing/],
    ["table:", /\/table: write a map here, not nothing/],
    ["__proto__: {}", /"__proto__" cannot be used as a name/],
  ])("in %s are refused", (text, line) => {
    expect(faultsOf(text)).toContainEqual(typeof line === "string" ? line : expect.stringMatching(line));
  });
});

describe("the admin address", () => {
  const token = `{ name: a, role: viewer, sha256: ${"c0".repeat(32)} }`;

  test.each(["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "example.com:1"])("%s needs tokens", (address) => {
    expect(faultsOf(`admin: { address: "${address}" }`)).toEqual([
      `c.yaml:2:1: /admin/tokens: ${NOT_ALONE}, not at ${address}; add a token`,
    ]);
    expect(settingsOf(`admin: { address: "${address}", tokens: [${token}] }`).admin.port).toBe(1);
  });

  test.each(["127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "localhost:1"])("%s does not", (address) => {
    expect(settingsOf(`admin: { address: "${address}" }`).admin.port).toBe(1);
  });

  test("is not one that requests come in at, unless the port is any free one", () => {
    const [line] = faultsOf("admin: { address: 127.0.0.1:8080 }");
    expect(line).toBe(
      "c.yaml:2:19: /admin/address: 127.0.0.1:8080 is where requests are listened for; use another port",
    );
    expect(
      linesOf(
        "listen: [{ address: 127.0.0.1:0 }, { address: 127.0.0.1:0 }]\nadmin: { address: 127.0.0.1:0 }",
      ),
    ).toEqual([]);
  });

  test("has tokens that can be told apart", () => {
    const lines = faultsOf(`admin: { tokens: [${token}, ${token}] }`);
    expect(lines.map((line) => line.replace(/^.*?: /, ""))).toEqual([
      "/admin/tokens/1/name: entry 0 of the list has the same name",
      "/admin/tokens/1/sha256: entry 0 of the list has the same sha256",
    ]);
    expect(faultsOf("admin: { tokens: [{ name: a, role: root, sha256: x }] }")).toHaveLength(2);
  });

  test.each(["crossfade", "loopback"])("has no token named %s: the audit log means others by it", (name) => {
    const sha256 = "a".repeat(64);
    const lines = faultsOf(`admin: { tokens: [{ name: ${name}, role: admin, sha256: ${sha256} }] }`);
    expect(lines).toEqual([expect.stringContaining(`/admin/tokens/0/name: "${name}" is what the audit log`)]);
  });
});

describe("flags and the environment", () => {
  const file = "admin: { address: 127.0.0.1:1 }\nworkers: 1\nlog: { level: error }\n";
  const env = { CROSSFADE_ADMIN_ADDRESS: "127.0.0.1:2", CROSSFADE_WORKERS: "2", CROSSFADE_LOG_LEVEL: "warn" };
  const flags = { adminAddress: "127.0.0.1:3", workers: "3", logLevel: "debug" };
  const told = ({ admin, workers, logLevel }: Settings) => [admin.port, workers, logLevel];

  test("win over the file, and flags over the environment", () => {
    expect(told(settingsOf(file))).toEqual([1, 1, "error"]);
    expect(told(settingsOf(file, { env }))).toEqual([2, 2, "warn"]);
    expect(told(settingsOf(file, { env, flags }))).toEqual([3, 3, "debug"]);
  });

  test("say nothing when they are empty", () => {
    expect(told(settingsOf(file, { env: { CROSSFADE_WORKERS: "" }, flags: { logLevel: "" } }))).toEqual([
      1,
      1,
      "error",
    ]);
  });

  test("are blamed by their own names", () => {
    const wrong = { CROSSFADE_WORKERS: "0", CROSSFADE_LOG_LEVEL: "loud" };
    expect(faultsOf("", { env: wrong, flags: { adminAddress: "x" } })).toEqual([
      '--admin-address: /admin/address: "x" is not an address: write host:port, such as "0.0.0.0:8080" or "[::]:8080"',
      "CROSSFADE_WORKERS: /workers: write auto or a whole number from 1 to 256",
      'CROSSFADE_LOG_LEVEL: /log/level: unknown choice "loud"; write one of debug, info, warn, error',
    ]);
  });

  test("alone hold the secret of dry runs, which must not be short", () => {
    const secret = "16 characters!!!";
    const dryRun = { CROSSFADE_DRY_RUN_SECRET: secret };
    expect(settingsOf("", { env: dryRun }).plane.dryRunSecret).toBe(secret);
    expect(settingsOf("", { env: { CROSSFADE_DRY_RUN_SECRET: "" } }).plane).not.toHaveProperty(
      "dryRunSecret",
    );
    const faults = faultsOf("", { env: { CROSSFADE_DRY_RUN_SECRET: secret.slice(1) } });
    expect(faults).toEqual([
      "CROSSFADE_DRY_RUN_SECRET: a secret of fewer than 16 characters can be guessed; use a longer one",
    ]);
  });

  test("cannot open the admin API to others without tokens", () => {
    expect(faultsOf("", { env: { CROSSFADE_ADMIN_ADDRESS: "0.0.0.0:9900" } })).toEqual([
      `CROSSFADE_ADMIN_ADDRESS: /admin/address: ${NOT_ALONE}, not at 0.0.0.0:9900; add a token`,
    ]);
  });
});

describe("a changed file", () => {
  test("needs a restart for what is bound or opened at the start", () => {
    const before = settingsOf("workers: 1\n");
    const after = settingsOf(
      "admin: { address: 127.0.0.1:1 }\nworkers: 2\nstore: { sqlite: other/store.db }\n",
    );
    const elsewhere = { ...before, listen: [], instance: "other" };
    const keys = ["admin.address", "workers", "store", "run_dir", "instance"];
    expect(restartNeeded(before, after)).toEqual(keys);
    expect(restartNeeded(before, elsewhere)).toEqual(["listen", "instance"]);
  });

  test("needs none for the rest", () => {
    const before = settingsOf("workers: 1\n");
    const after = settingsOf(
      "workers: 1\nlog: { level: warn }\ndrain: { grace: 1s }\naccess_log: { format: off }\n",
    );
    expect(restartNeeded(before, after)).toEqual([]);
    expect(restartNeeded(before, before)).toEqual([]);
  });
});

describe("a table file", () => {
  const table = "backends: {}\nroutes: []\n";

  test("is a whole settings file or the table alone", () => {
    const document = { backends: {}, routes: [] };
    expect(readTableFile("t.yaml", table)).toEqual({ ok: true, document });
    expect(readTableFile("t.yaml", `${LISTEN}table: { backends: {}, routes: [] }`)).toEqual({
      ok: true,
      document,
    });
    expect(readTableFile("t.json", '{"routes": []}')).toEqual({ ok: true, document: { routes: [] } });
  });

  test.each([
    ["", "there is no table in this file"],
    [LISTEN, "there is no table in this file"],
    ["- 1", "there is no table in this file"],
    [`${table}routes: []\n`, "this key stands twice in its map"],
    ["backends: {", "Flow map"],
  ])("that is %j is refused", (text, message) => {
    const result = readTableFile("t.yaml", text);
    assert(!result.ok, "it is refused");
    expect(result.problems[0]?.message).toContain(message);
    expect(result.problems[0]?.line).toBeGreaterThan(0);
  });
});

describe("the example", () => {
  test("is a good file and shifts nothing yet", () => {
    const fileText = readFileSync(new URL("../../config/crossfade.yaml", import.meta.url), "utf8");
    const result = readSettings({ fileName: "crossfade.yaml", fileText, env: {}, flags: {} });
    assert(result.ok, JSON.stringify(result));
    expect(result.settings.listen.map(({ text }) => text)).toEqual(["127.0.0.1:8080"]);
    expect(result.settings.admin).toMatchObject({ host: "127.0.0.1", port: 9900 });
    expect(result.settings.table?.routes.map(({ candidateShares }) => candidateShares)).toEqual([0]);
  });
});
