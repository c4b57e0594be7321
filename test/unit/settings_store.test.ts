/** The store in the settings: how a Redis is reached, what contradicts itself, and that no message tells a secret. */
import { describe, expect, test } from "vitest";
import { assert } from "../../src/base/fault.ts";
import { readSettings, restartNeeded, type Settings } from "../../src/settings.ts";
import { problemLine } from "../../src/settings_file.ts";
import type { RedisSettings } from "../../src/store/redis_settings.ts";

const LISTEN = "listen: [{ address: 127.0.0.1:8080 }]\n";
const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";
const KEY = "-----BEGIN PRIVATE KEY-----\nMII=\n-----END PRIVATE KEY-----\n";
const FILES: Readonly<Record<string, string>> = {
  "/ca.pem": CERTIFICATE,
  "/own.pem": CERTIFICATE,
  "/own.key": KEY,
  "/locked.key": KEY.replaceAll("PRIVATE", "ENCRYPTED PRIVATE"),
  "/password": "hunter2\n",
  "/lines": "hunter2\nhunter3\n",
  "/empty": "\n",
};

function read(fileText: string, env: Readonly<Record<string, string>> = {}) {
  return readSettings({
    fileName: "c.yaml",
    fileText: LISTEN + fileText,
    env,
    flags: {},
    readText(path) {
      const text = FILES[path];
      if (text === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`);
      return text;
    },
  });
}

function settingsOf(fileText: string, env?: Readonly<Record<string, string>>): Settings {
  const result = read(fileText, env);
  assert(result.ok, JSON.stringify(result));
  return result.settings;
}

/** The Redis of what is written below `store.redis`. */
function redisOf(written: string, env?: Readonly<Record<string, string>>): RedisSettings {
  const { store } = settingsOf(`store: { redis: ${written} }`, env);
  assert(store.kind === "redis", "it is a Redis");
  return store.redis;
}

/** What is wrong with a file, a line for each. */
function linesOf(fileText: string, env?: Readonly<Record<string, string>>): string[] {
  const result = read(fileText, env);
  return result.ok ? [] : result.problems.map(problemLine);
}

/** What is wrong with what is written below `store.redis`, without the places. */
function faultsOf(written: string, env?: Readonly<Record<string, string>>): string[] {
  return linesOf(`store: { redis: ${written} }`, env).map((line) => line.replace(/^c\.yaml:\d+:\d+: /, ""));
}

describe("a Redis", () => {
  test("that is only named gets the documented defaults for the rest", () => {
    expect(redisOf("{ url: redis://Redis.Example }")).toEqual({
      place: { kind: "single", node: { host: "redis.example", port: 6379 } },
      database: 0,
      tls: null,
      prefix: "cf",
      timeoutMs: 2000,
      replicas: 0,
    });
    expect(settingsOf("store: { redis: { url: redis://h } }").runDir).toBe("data/run");
  });

  test("is taken at its word in everything", () => {
    const redis = redisOf(`{
      sentinels: { name: main.1, nodes: ["10.0.0.1:26379", "[::1]:26380"], username: s, password: sp },
      username: u, password_file: /password, database: 3, prefix: shop, timeout: 100ms, replicas: 2,
      tls: { ca: /ca.pem, certificate: /own.pem, key: /own.key, server_name: redis.test } }`);
    expect(redis).toEqual({
      place: {
        kind: "sentinels",
        name: "main.1",
        nodes: [
          { host: "10.0.0.1", port: 26_379 },
          { host: "::1", port: 26_380 },
        ],
        username: "s",
        password: "sp",
      },
      database: 3,
      username: "u",
      password: "hunter2",
      tls: { ca: CERTIFICATE, certificate: CERTIFICATE, key: KEY, serverName: "redis.test" },
      prefix: "shop",
      timeoutMs: 100,
      replicas: 2,
    });
  });

  test.each<[string, Partial<RedisSettings>]>([
    ["redis://h:1/", { place: { kind: "single", node: { host: "h", port: 1 } }, database: 0 }],
    ["REDISS://h/15", { tls: {}, database: 15 }],
    ["redis://[::1]:7000", { place: { kind: "single", node: { host: "::1", port: 7000 } } }],
    ["redis://u:p%40%3A%2f@h", { username: "u", password: "p@:/" }],
    ["redis://:a:b@h", { password: "a:b" }],
    ["redis://@h", { database: 0 }],
    ["unix:/run/redis.sock", { place: { kind: "unix", path: "/run/redis.sock" } }],
    ["redis+unix://:p@/run/a b", { place: { kind: "unix", path: "/run/a b" }, password: "p" }],
    ["redis+unix:///x", { place: { kind: "unix", path: "/x" }, database: 0 }],
  ])("is read from %s", (url, expected) => {
    expect(redisOf(`{ url: "${url}" }`)).toMatchObject(expected);
  });

  test("may be a cluster, with TLS by the certificates of the system", () => {
    expect(redisOf('{ cluster: ["a:1", "b:2"], tls: true, database: 0, replicas: 0 }')).toMatchObject({
      place: {
        kind: "cluster",
        nodes: [
          { host: "a", port: 1 },
          { host: "b", port: 2 },
        ],
      },
      tls: {},
    });
  });

  test("needs a restart when anything about it changes, a password in a file included", () => {
    const before = settingsOf("store: { redis: { url: redis://h, password: a } }\ninstance: i\n");
    const after = settingsOf("store: { redis: { url: redis://h, password_file: /password } }\ninstance: i\n");
    expect(restartNeeded(before, after)).toEqual(["store"]);
    const again = settingsOf("store: { redis: { url: redis://h, password: hunter2 } }\ninstance: j\n");
    expect(restartNeeded(after, again)).toEqual(["instance"]);
  });
});

describe("the environment", () => {
  test("says where the Redis is instead of anything that the file says about that", () => {
    const env = { CROSSFADE_REDIS_URL: "redis://:e@env:1/2" };
    const place = { kind: "single", node: { host: "env", port: 1 } };
    for (const written of ["{}", "{ sqlite: x.db }", "{ redis: { url: redis://h } }"]) {
      const { store } = settingsOf(`store: ${written}`, env);
      expect(store).toMatchObject({ kind: "redis", redis: { place, password: "e", database: 2 } });
    }
    expect(redisOf('{ cluster: ["a:1"], prefix: p }', env)).toMatchObject({ place, prefix: "p" });
  });

  test("gives the password instead of the file", () => {
    const env = { CROSSFADE_REDIS_PASSWORD: "e" };
    expect(redisOf("{ url: redis://u@h }", env)).toMatchObject({ username: "u", password: "e" });
    expect(redisOf("{ url: redis://h, password_file: /nowhere }", env).password).toBe("e");
    expect(settingsOf("", env).store.kind).toBe("sqlite");
  });

  test("is blamed by the names of its variables", () => {
    expect(linesOf("", { CROSSFADE_REDIS_URL: "http://:hunter2@h" })).toEqual([
      expect.stringMatching(/^CROSSFADE_REDIS_URL: \/store\/redis\/url: write redis:\/\/host:port/),
    ]);
    expect(faultsOf("{ url: redis://:a@h }", { CROSSFADE_REDIS_PASSWORD: "b" })).toEqual([
      "CROSSFADE_REDIS_PASSWORD: /store/redis/password: the password stands in the url too; write it once",
    ]);
  });
});

describe("faults", () => {
  test("are all reported at once, each at its line and column", () => {
    const text = `store:
  sqlite: a.db
  redis:
    url: redis://:hunter2@h/1
    cluster: ["a:1", "a:1", "b:0"]
    sentinels:
      nodes: []
    password: hunter3
    database: 1
    tls:
      key: /own.key
      ca: /nowhere
      chiper: x
    prefix: "{cf}"
    timeout: 50ms
    replicas: 6
    usernam: u
`;
    expect(linesOf(text)).toEqual([
      "c.yaml:4:3: /store/redis: there is one store: write either sqlite or redis",
      "c.yaml:6:29: /store/redis/cluster/2: a port is 1 to 65535",
      'c.yaml:7:5: /store/redis/sentinels/name: "name" is missing',
      "c.yaml:8:14: /store/redis/sentinels/nodes: write 1 to 64 entries",
      "c.yaml:9:15: /store/redis/password: the password stands in the url too; write it once",
      "c.yaml:10:15: /store/redis/database: the database stands in the url too; write it once",
      "c.yaml:12:7: /store/redis/tls: the url begins with redis://, write rediss://",
      "c.yaml:12:12: /store/redis/tls/key: a key needs its certificate: add certificate",
      "c.yaml:13:11: /store/redis/tls/ca: cannot be read: ENOENT: no such file or directory, open '/nowhere'",
      'c.yaml:14:7: /store/redis/tls/chiper: unknown key "chiper"; allowed here: ca, certificate, key, server_name',
      'c.yaml:15:13: /store/redis/prefix: use 1 to 32 letters, digits, ".", "_" or "-"',
      'c.yaml:16:14: /store/redis/timeout: write a duration from 100ms to 30s with its unit, such as "250ms" or "2s"',
      "c.yaml:17:15: /store/redis/replicas: write a whole number from 0 to 5",
      'c.yaml:18:5: /store/redis/usernam: unknown key "usernam"; did you mean "username"?',
    ]);
  });

  test.each([
    ["{}", "/store/redis: say where it is: write one of url, sentinels, cluster"],
    ["", "/store/redis: write a map here, not nothing"],
    [
      "{ url: redis://h, password:secret }",
      "/store/redis: a key in this map lacks the space after its colon",
    ],
    [
      '{ url: redis://h, cluster: ["a:1"] }',
      "/store/redis: write one of url, sentinels, cluster, not url and cluster",
    ],
    ['{ cluster: ["a:1", "A:1"] }', "/store/redis/cluster/1: the same as entry 0 of this list"],
    [
      '{ cluster: ["a:1"], database: 1 }',
      "/store/redis/database: a cluster has database 0 only; leave this out",
    ],
    [
      '{ cluster: ["a:1"], replicas: 1 }',
      "/store/redis/replicas: replicas cannot be waited for in a cluster; leave this out",
    ],
    [
      "{ url: rediss://h, tls: false }",
      "/store/redis/tls: the url begins with rediss://, which is TLS; write redis:// there or leave this out",
    ],
    ["{ url: redis://h, tls: true }", "/store/redis/tls: the url begins with redis://, write rediss://"],
    ["{ url: 'unix:/x', tls: true }", "/store/redis/tls: there is no TLS over a Unix socket"],
    [
      "{ url: rediss://h, tls: on }",
      "/store/redis/tls: write true, false or a map of ca, certificate, key and server_name",
    ],
    [
      "{ url: rediss://h, tls: { certificate: /own.pem } }",
      "/store/redis/tls/certificate: a certificate needs its key: add key",
    ],
    [
      "{ url: rediss://h, tls: { ca: /own.key } }",
      "/store/redis/tls/ca: there is no certificate in PEM in this file",
    ],
    [
      "{ url: rediss://h, tls: { certificate: /own.pem, key: /ca.pem } }",
      "/store/redis/tls/key: there is no private key in PEM in this file",
    ],
    [
      "{ url: rediss://h, tls: { certificate: /own.pem, key: /locked.key } }",
      "/store/redis/tls/key: this key needs a passphrase, which nobody can give here; store it without",
    ],
    [
      "{ url: redis://u@h }",
      "/store/redis/url: a user needs a password: add password or password_file, or set CROSSFADE_REDIS_PASSWORD",
    ],
    ["{ url: redis://h, username: u, password: 5 }", "/store/redis/password: write text here, not a number"],
    [
      "{ url: redis://u:p@h, username: u }",
      "/store/redis/username: the user stands in the url too; write it once",
    ],
    [
      "{ url: redis://:p@h, password_file: /password }",
      "/store/redis/password_file: the password stands in the url too; write it once",
    ],
    [
      "{ url: redis://h, password: p, password_file: /password }",
      "/store/redis/password_file: the password stands in password too; write it once",
    ],
    [
      "{ url: redis://h, password_file: /empty }",
      "/store/redis/password_file: the file is empty; it holds the password and nothing else",
    ],
    [
      "{ url: redis://h, password_file: /lines }",
      "/store/redis/password_file: the file holds one line of at most 4096 characters, the password",
    ],
    [
      '{ sentinels: { name: m, nodes: ["a:1"], username: u } }',
      "/store/redis/sentinels/username: a user needs a password: add it",
    ],
  ])("in %s are refused", (written, fault) => {
    expect(faultsOf(written)).toEqual([fault]);
  });

  test.each([
    ["redis://", "there is no host before the port"],
    ["redis://:6379", "there is no host before the port"],
    ["redis://h:0", "a port is 1 to 65535"],
    ["redis://h:65536", "a port is 1 to 65535"],
    ["redis://h/65536", "a database is 0 to 65535"],
    ["redis://a..b", "the host is neither a name nor an address"],
    ["redis://u:100%@h", "the user or the password is not percent-encoded"],
    ["redis://u:%ff@h", "the user or the password is not percent-encoded"],
    ["http://h", "write redis://host:port/database"],
    ["redis://h/0?tls=1", "write redis://host:port/database"],
    ["redis://u:p@ss@h", "write redis://host:port/database"],
    ["unix:run/redis", "write redis://host:port/database"],
    [`unix:/${"x".repeat(103)}`, "the path of a socket has at most 103 bytes"],
  ])("of the URL %s are found", (url, fault) => {
    const [line, ...others] = faultsOf(`{ url: "${url}" }`);
    expect(line).toContain(`/store/redis/url: ${fault}`);
    expect(others).toEqual([]);
  });

  test("never tell a password, wherever it was put by mistake", () => {
    const secret = "hunter2";
    const written = [
      `{ url: "redis://u:${secret}@" }`,
      `{ url: "redis://u:${secret}@h:99999999" }`,
      `{ url: "redis://u:${secret}%@h" }`,
      `{ url: "${secret}" }`,
      `{ url: redis://h, password: !${secret} }`,
      `{ url: redis://h, password: *${secret} }`,
      `{ url: redis://h, password: "\\q${secret}" }`,
      `{ url: redis://h, password: "a"${secret} }`,
      `{ url: redis://h, password: [${secret}] }`,
      `{ url: redis://:${secret}@h, password: ${secret} }`,
      `{ url: redis://h, password_file: /lines }`,
      `{ cluster: ["u:${secret}@h:1", "redis://:${secret}@h"] }`,
      `{ sentinels: { name: "${secret}@", nodes: ["${secret}:0"], username: "${secret} ", password: "" } }`,
      `{ url: rediss://h, tls: "${secret}", username: "${secret} ", prefix: "${secret}!", timeout: "${secret}" }`,
      `{ url: redis://h, password:${secret} }`,
      `{ sentinels: { name: m, nodes: ["a:1"], password:${secret} } }`,
      `\n    url: redis://h\n    password:${secret}\n`,
      `\n    url: redis://h\n    password: |${secret}\n      x\n`,
      `\n    url: redis://h\n    password: "${secret}\n`,
    ];
    const told: unknown[] = [];
    for (const text of written) {
      const isBlock = text.startsWith("\n");
      const lines = linesOf(isBlock ? `store:\n  redis:${text}` : `store: { redis: ${text} }`);
      told.push({ text, isRefused: lines.length > 0, isTold: lines.join("\n").includes(secret) });
    }
    expect(told).toEqual(written.map((text) => ({ text, isRefused: true, isTold: false })));
    expect(linesOf("", { CROSSFADE_REDIS_URL: `redis://:${secret}@` }).join("\n")).not.toContain(secret);
  });
});

describe("an instance", () => {
  test("has a name of its own in every run directory, the same at every start", () => {
    const [one, other] = [settingsOf("run_dir: /run/a"), settingsOf("run_dir: /run/b")];
    expect(one.instance).toMatch(/^[\w.-]{1,57}-[0-9a-f]{6}$/);
    expect(other.instance).not.toBe(one.instance);
    expect(settingsOf("run_dir: /run/a").instance).toBe(one.instance);
    expect(settingsOf("instance: web-1\n").instance).toBe("web-1");
  });
});
