/** Recorded requests replayed against two real backends, by the program, from the table of a Crossfade that runs. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, type RequestListener, type Server } from "node:http";
import { createServer, type AddressInfo, type Server as SocketServer, type Socket } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { startCrossfade, type Crossfade } from "../support/crossfade.ts";
import { runProgram, startProgram, type Ended } from "../support/program.ts";
import { until } from "../support/wait.ts";

/** A backend in this process that can be told how to answer. */
interface Stand {
  readonly url: string;
  answer: RequestListener;
  readonly seen: { readonly url: string; readonly fields: Readonly<Record<string, unknown>> }[];
  close(): Promise<void>;
}

const open = new Set<SocketServer>();
let legacy: Stand;
let candidate: Stand;
let crossfade: Crossfade;
let directory: string;

beforeAll(async () => {
  legacy = await stand();
  candidate = await stand();
  const dead = await silent((socket) => socket.destroy());
  dead.server.close();
  const hung = await silent(() => undefined);
  const garbled = await silent((socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nx"));
  const mirror = { to: "new", percent: 1, compare: { ignore: ["/at"], noise: 0 } };
  const route = (id: string, more: object): object => ({
    id,
    match: { path: `/${id}` },
    cutover: { legacy: "legacy", candidate: "new" },
    ...more,
  });
  crossfade = await startCrossfade(
    { legacy: legacy.url, new: candidate.url },
    {
      settings: { workers: 1 },
      table: {
        backends: {
          legacy: { endpoints: [legacy.url] },
          new: { endpoints: [candidate.url] },
          dead: { endpoints: [dead.url] },
          hung: { endpoints: [hung.url] },
          garbled: { endpoints: [garbled.url] },
        },
        routes: [
          route("shop", { mirror }),
          route("plain", {}),
          ...["dead", "hung", "garbled"].map((id) =>
            route(id, { cutover: { legacy: "legacy", candidate: id } }),
          ),
        ],
      },
    },
  );
});

afterAll(async () => {
  await crossfade.stop();
  await legacy.close();
  await candidate.close();
  for (const server of open) server.close();
});

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "crossfade-verify-"));
  for (const side of [legacy, candidate]) {
    side.seen.length = 0;
    side.answer = (request, response) => sendJson(response, { path: request.url, price: 12.99 });
  }
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

async function stand(): Promise<Stand> {
  const server: Server = createHttpServer((request, response) => {
    self.seen.push({ url: request.url ?? "", fields: request.headers });
    self.answer(request, response);
  });
  const self: Stand = {
    url: "",
    answer: () => undefined,
    seen: [],
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return Object.assign(self, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

/** A backend that does something else with its connections than to speak HTTP. */
async function silent(onSocket: (socket: Socket) => void): Promise<{ url: string; server: SocketServer }> {
  const server = createServer((socket) => {
    socket.unref();
    // Whoever gave up on it may reset it.
    socket.on("error", () => socket.destroy());
    socket.once("data", () => onSocket(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  server.unref();
  open.add(server);
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

function sendJson(response: Parameters<RequestListener>[1], body: unknown): void {
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify(body));
}

function file(lines: readonly string[]): string {
  const path = join(directory, "urls.txt");
  writeFileSync(path, lines.join("\n"));
  return path;
}

function paths(route: string, count: number): string[] {
  return Array.from({ length: count }, (_, at) => `/${route}/${at}?q=${at}`);
}

function verify(route: string, from: string, ...more: readonly string[]): Promise<Ended> {
  const args = ["verify", route, "--from", from, "--rate", "1000", ...more];
  return runProgram(args, { env: { CROSSFADE_URL: crossfade.adminUrl } });
}

test("an equal pair is equal, by requests that both got alike and marked", async () => {
  const ended = await verify("shop", file(["# list", "", ...paths("shop", 60)]), "-H", "Cookie: uid=7");
  expect(ended).toMatchObject({ code: 0, err: "" });
  expect(ended.out.trimEnd().split("\n").at(-1)).toBe("equal: 60 compared, 0 differ");
  expect(ended.out).toContain("60 compared, mismatch rate below");
  const told = (side: Stand): string[] =>
    side.seen.map(({ url, fields }) =>
      [url, fields["host"], fields["cookie"], fields["crossfade-shadow"]].join(" "),
    );
  expect(told(legacy).toSorted()).toEqual(told(candidate).toSorted());
  const host = legacy.url.replace("http://", "");
  expect(told(candidate)).toContain(`/shop/7?q=7 ${host} uid=7 1`);
});

test("a seeded difference is not equal and names its field, in text and in JSON", async () => {
  candidate.answer = (request, response) =>
    sendJson(response, {
      path: request.url,
      price: request.url?.startsWith("/shop/7?") === true ? 12.98 : 12.99,
    });
  const from = file(paths("shop", 60));
  const ended = await verify("shop", from, "--noise", "100");
  expect(ended).toMatchObject({ code: 3, err: "" });
  expect(ended.out).toContain(
    "- body /price differs in 1 of 60, and in none of 60 between two answers of legacy",
  );
  expect(ended.out).toMatch(/legacy  12\.99\n +new     12\.98\n/);
  expect(ended.out.trimEnd().split("\n").at(-1)).toBe("not equal: 60 compared, 1 differs");
  const json = await verify("shop", from, "--json");
  expect(json.code).toBe(3);
  expect(JSON.parse(json.out)).toMatchObject({
    route: "shop",
    equal: false,
    reasons: ["body /price differs in 1 of 60, and legacy's own noise was not measured; --noise measures it"],
    replay: { lines: 60, sent: 60, ended_by: "input" },
    summary: { compared: 60, matched: 59, mismatched: 1 },
    fields: [{ field: "body /price", pairs: { differing: 1, compared: 60 } }],
  });
});

test("what the route ignores is ignored, and what legacy does to itself is noise", async () => {
  let count = 0;
  const noisy: RequestListener = (request, response) =>
    sendJson(response, { path: request.url, at: count++, id: count });
  legacy.answer = noisy;
  candidate.answer = noisy;
  const ended = await verify("shop", file(paths("shop", 60)), "--noise", "100");
  expect(ended).toMatchObject({ code: 0, err: "" });
  expect(ended.out).toContain("body /id: known noise");
  expect(ended.out).not.toContain("body /at");
  expect(ended.out.trimEnd().split("\n").at(-1)).toBe(
    "equal: 60 compared, 60 differ as legacy differs from itself",
  );
});

test.each([
  ["refuses connections", "dead", "CONNECT_FAILED"],
  ["never answers", "hung", "RESPONSE_TIMEOUT"],
  ["speaks broken HTTP", "garbled", "BAD_RESPONSE"],
])("a candidate that %s is not equal, and it is said why", async (_, route, code) => {
  const ended = await verify(route, file(paths(route, 3)), "--timeout", "4s");
  expect(ended).toMatchObject({ code: 3, err: "" });
  expect(ended.out).toContain(`- the candidate failed 3 times where legacy answered (${code})`);
});

test("access logs are replayed: what is another route's or changes something is left out and counted", async () => {
  const stamp = "- - [21/Aug/2026:14:03:11 +0200]";
  const json = { method: "GET", host: "shop.example", path: "/shop/json", route: "shop" };
  const from = file([
    `10.0.0.1 ${stamp} "GET /shop/a HTTP/1.1" 200 12 "-" "curl/8"`,
    `10.0.0.1 ${stamp} "POST /shop/a HTTP/1.1" 200 12 "-" "curl/8"`,
    `10.0.0.1 ${stamp} "GET /elsewhere HTTP/1.1" 404 12`,
    JSON.stringify(json),
    "what is this",
  ]);
  const ended = await verify("shop", from);
  expect(ended.code).toBe(0);
  expect(ended.out).toContain("left out: 1 line with other methods than GET and HEAD");
  expect(ended.out).toContain("left out: 1 line with requests that this route does not take");
  expect(ended.out).toContain("line 5 can't be used: it is no URL, no path and no line of an access log");
  expect(candidate.seen.map(({ url }) => url)).toEqual(["/shop/a", "/shop/json"]);
  expect(candidate.seen[1]?.fields["host"]).toBe("shop.example");
});

test("an interrupted replay still tells what was done, and is not equal", async () => {
  const args = ["verify", "plain", "--from", file(paths("plain", 5000)), "--rate", "50", "--json"];
  const running = startProgram(args, { env: { CROSSFADE_URL: crossfade.adminUrl } });
  await until("some were replayed", () => candidate.seen.length >= 10 || running.child.exitCode !== null);
  running.child.kill("SIGINT");
  const ended = await running.ended;
  expect(ended.code).toBe(3);
  const told = JSON.parse(ended.out) as { summary: { compared: number }; reasons: string[] };
  expect(told.summary.compared).toBeGreaterThan(0);
  expect(told.reasons[0]).toBe("it was interrupted, so not everything was replayed");
});

test("input that has no request, a file that is not there and options out of range are refused", async () => {
  const empty = await verify("shop", file(["# nothing", "<html>"]));
  expect(empty).toMatchObject({ code: 2, out: "" });
  expect(empty.err).toContain("has no request to replay\n  line 2 can't be used:");
  const missing = await verify("shop", join(directory, "missing.txt"));
  expect(missing).toMatchObject({ code: 78, out: "" });
  expect(missing.err).toContain("no such file or directory");
  const unknown = await verify("shpo", file(["/shop"]));
  expect(unknown).toMatchObject({ code: 1, out: "" });
  expect(unknown.err).toContain("there is no route shpo");
  expect(await verify("shop", file(["/shop"]), "--rate", "0")).toMatchObject({ code: 2, out: "" });
  expect(await verify("shop", file(["/shop"]), "-H", "Content-Length: 1")).toMatchObject({
    code: 2,
    out: "",
  });
});
