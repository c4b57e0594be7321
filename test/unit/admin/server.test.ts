/** Who may come in, how refusals look, and how the listener opens and closes. */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { Fault } from "../../../src/base/fault.ts";
import type { Access, Role } from "../../../src/admin/access.ts";
import { listenAdmin, type AdminListener } from "../../../src/admin/server.ts";
import { adminStage, SHOP_TABLE, type AdminStage } from "../../support/admin_stage.ts";
import { until } from "../../support/wait.ts";

/** `status` answers whoever is allowed, 200 unless told. */
type Row = [method: string, path: string, access: Access, body: unknown, status?: number];

const ENDPOINTS: Row[] = [
  ["GET", "/v1/table", "viewer", undefined],
  ["PUT", "/v1/table", "admin", SHOP_TABLE],
  ["GET", "/v1/routes", "viewer", undefined],
  ["GET", "/v1/routes/shop", "viewer", undefined],
  ["PUT", "/v1/routes/shop", "operator", SHOP_TABLE.routes[0]],
  ["DELETE", "/v1/routes/shop", "admin", undefined],
  ["PUT", "/v1/routes/shop/split", "operator", { old: 50, fresh: 50 }],
  ["POST", "/v1/routes/shop/rollback", "operator", undefined],
  ["GET", "/v1/routes/shop/health", "viewer", undefined],
  ["GET", "/v1/routes/shop/differences", "viewer", undefined],
  ["GET", "/v1/routes/shop/rollout", "viewer", undefined, 404],
  ["PUT", "/v1/routes/shop/rollout", "operator", { steps: [5, 50] }],
  ["DELETE", "/v1/routes/shop/rollout", "operator", undefined, 404],
  ["POST", "/v1/routes/shop/rollout/start", "operator", undefined, 404],
  ["POST", "/v1/routes/shop/rollout/pause", "operator", undefined, 404],
  ["POST", "/v1/routes/shop/rollout/resume", "operator", undefined, 404],
  ["POST", "/v1/routes/shop/rollout/promote", "operator", undefined, 404],
  ["POST", "/v1/routes/shop/rollout/abort", "operator", undefined, 404],
  ["POST", "/v1/routes/shop/rollout/decommission", "operator", undefined, 404],
  ["GET", "/v1/history", "viewer", undefined],
  ["GET", "/v1/audit", "viewer", undefined],
  ["GET", "/v1/history/1", "viewer", undefined],
  ["POST", "/v1/history/1/restore", "operator", undefined],
  ["GET", "/v1/export", "viewer", undefined],
  ["POST", "/v1/import", "admin", {}, 422],
  ["POST", "/v1/explain", "viewer", { method: "GET", url: "http://shop.example.com/" }],
  ["GET", "/v1/fleet", "viewer", undefined],
  ["POST", "/v1/fleet/recycle", "operator", undefined],
  ["POST", "/v1/upgrade", "admin", undefined],
  ["GET", "/v1/store", "viewer", undefined],
  ["POST", "/v1/store/reseed", "admin", { from: "served" }, 409],
  ["GET", "/v1/events", "viewer", undefined],
  ["GET", "/openapi.json", "viewer", undefined],
  ["GET", "/livez", "anyone", undefined],
  ["GET", "/readyz", "anyone", undefined],
  ["GET", "/metrics", "anyone", undefined],
];

const ROLES: readonly Role[] = ["viewer", "operator", "admin"];

describe("with tokens", () => {
  test.each(ENDPOINTS)("%s %s needs %s", async (method, path, access, body, status = 200) => {
    for (const role of ROLES) {
      const { call } = await adminStage({ hasTokens: true });
      const reply = await call(method, path, { as: role, body });
      const isAllowed = access === "anyone" || ROLES.indexOf(role) >= ROLES.indexOf(access);
      expect([role, reply.status]).toEqual([role, isAllowed ? status : 403]);
    }
    const { call } = await adminStage({ hasTokens: true });
    expect((await call(method, path, { body })).status).toBe(access === "anyone" ? 200 : 401);
    const stranger = { headers: { authorization: "Bearer wrong" }, body };
    expect((await call(method, path, stranger)).status).toBe(access === "anyone" ? 200 : 401);
  });

  test("this matrix has every endpoint", async () => {
    const { call } = await adminStage();
    const { paths } = (await call("GET", "/openapi.json")).json as { paths: Record<string, object> };
    const described = Object.values(paths).reduce((sum, path) => sum + Object.keys(path).length, 0);
    expect(ENDPOINTS).toHaveLength(described);
  });

  test("the audit log has the token's name", async () => {
    const { call } = await adminStage({ hasTokens: true });
    await call("POST", "/v1/routes/shop/rollback", { as: "operator" });
    const reply = await call("GET", "/v1/audit?limit=1", { as: "viewer" });
    expect(reply.json["entries"]).toMatchObject([{ actor: "the-operator" }]);
  });

  test("401 names the scheme, and the token is nowhere in the answer or the log", async () => {
    const { call, log } = await adminStage({ hasTokens: true });
    const reply = await call("GET", "/v1/table", { headers: { authorization: "Bearer se-cret" } });
    expect(reply.headers.get("www-authenticate")).toBe('Bearer realm="crossfade"');
    expect(reply.text + JSON.stringify(log)).not.toContain("se-cret");
  });

  test("who has no token does not learn which paths there are", async () => {
    const { call } = await adminStage({ hasTokens: true });
    expect((await call("GET", "/v1/nothing")).status).toBe(401);
  });

  test("any Host is served, because the token proves who asks", async () => {
    const { call } = await adminStage({ hasTokens: true });
    const headers = { host: "admin.example.com", origin: "https://dash.example.com" };
    expect((await call("POST", "/v1/routes/shop/rollback", { as: "operator", headers })).status).toBe(200);
  });
});

describe("without tokens", () => {
  test.each(ENDPOINTS)("%s %s is refused under a foreign name", async (method, path, _access, body) => {
    const { call } = await adminStage();
    const reply = await call(method, path, { body, headers: { host: "evil.example:9900" } });
    expect([reply.status, reply.json["code"]]).toEqual([403, "FORBIDDEN"]);
  });

  test("a page of another origin changes nothing", async () => {
    const { call } = await adminStage();
    for (const [method, path, , body] of ENDPOINTS.filter((row) => row[0] !== "GET")) {
      const reply = await call(method, path, { body, headers: { origin: "https://evil.example" } });
      expect([path, reply.status]).toEqual([path, 403]);
    }
    expect((await call("GET", "/v1/table")).json["revision"]).toBe(1);
  });
});

describe("refusals", () => {
  test("are problem documents with a type, title, status, detail, code and errors", async () => {
    const { call } = await adminStage();
    const reply = await call("PUT", "/v1/routes/shop/split?weit=1&raeson=x", { body: { old: 1, fresh: 99 } });
    expect(reply.headers.get("content-type")).toBe("application/problem+json");
    expect(reply.json).toEqual({
      type: "urn:crossfade:fault:INVALID",
      title: "The input has problems; nothing was changed",
      status: 422,
      detail: "The input has 2 problems",
      code: "INVALID",
      errors: [
        { path: "?weit", message: 'unknown key "weit"; did you mean "wait"?' },
        { path: "?raeson", message: 'unknown key "raeson"; did you mean "reason"?' },
      ],
    });
  });

  test.each(["/", "/v1", "/v1/tables", "/v1/table/", "//v1/table", "/v1/routes/shop/splitt", "/v1/routes/"])(
    "%s is not there",
    async (path) => {
      const { call } = await adminStage();
      const reply = await call("GET", path);
      expect([reply.status, reply.json["code"]]).toEqual([404, "NOT_FOUND"]);
      expect(reply.headers.get("cache-control")).toBe("no-store");
    },
  );

  test("another method on a known path is 405 with those that are allowed", async () => {
    const { app } = await adminStage();
    for (const [method, path, allow] of [
      ["POST", "/v1/table", "GET, HEAD, PUT"],
      ["OPTIONS", "/v1/routes/shop", "GET, HEAD, PUT, DELETE"],
      ["GET", "/v1/routes/shop/rollback", "POST"],
      ["PATCH", "/livez", "GET, HEAD"],
    ] as const) {
      const response = await app.request(`http://127.0.0.1${path}`, { method });
      expect([path, response.status, response.headers.get("allow")]).toEqual([path, 405, allow]);
      expect(await response.json()).toMatchObject({ code: "METHOD_REFUSED" });
    }
  });

  test("a store that is away is 503 with what to do", async () => {
    const { call, parts } = await adminStage();
    parts.commands.current = () => Promise.reject(new Fault("STORE_UNAVAILABLE", "the file is locked"));
    const reply = await call("GET", "/v1/table");
    expect([reply.status, reply.json["code"], reply.json["detail"]]).toEqual([
      503,
      "STORE_UNAVAILABLE",
      "the file is locked",
    ]);
    expect(reply.headers.get("retry-after")).toBe("1");
  });

  test("a bug is 500: the answer says nothing of it, the log everything", async () => {
    const { call, parts, log } = await adminStage();
    const bug = new TypeError("x is not a function at /secret/path");
    parts.commands.current = () => Promise.reject(bug);
    const reply = await call("GET", "/v1/table");
    expect([reply.status, reply.json["code"]]).toEqual([500, "INTERNAL"]);
    expect(reply.text).not.toContain("secret");
    expect(log).toEqual([{ level: "error", fields: { err: bug }, message: "admin request failed" }]);
  });

  test("a parameter that no query takes is refused everywhere", async () => {
    for (const [method, path, , body] of ENDPOINTS) {
      const { call } = await adminStage();
      const reply = await call(method, `${path}?nonsense_parameter=1`, { body });
      expect([path, reply.status]).toEqual([path, 422]);
    }
  });
});

describe("the listener", () => {
  const open: AdminListener[] = [];

  afterEach(async () => {
    await Promise.all(open.splice(0).map((listener) => listener.close()));
  });

  async function listening(): Promise<{ stage: AdminStage; listener: AdminListener }> {
    const stage = await adminStage();
    const listener = await listenAdmin(stage.app, { host: "127.0.0.1", port: 0 });
    open.push(listener);
    return { stage, listener };
  }

  /** Asks over a real socket. */
  function ask(port: number, path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      httpRequest({ host: "127.0.0.1", port, path, headers, agent: false }, resolve)
        .on("error", reject)
        .end();
    });
  }

  /** Sends bytes and gives everything that comes back until the other side ends the connection. */
  function exchange(port: number, text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      let received = "";
      const socket = connect(port, "127.0.0.1", () => socket.write(text));
      socket.setEncoding("latin1").on("data", (piece: string) => (received += piece));
      socket.on("end", () => resolve(received)).on("error", reject);
    });
  }

  test("serves the app on the port it says", async () => {
    const { listener } = await listening();
    const response = await fetch(`http://127.0.0.1:${listener.port}/v1/table`);
    expect([response.status, response.headers.get("etag")]).toEqual([200, '"1"']);
    expect(await response.json()).toMatchObject({ revision: 1 });
  });

  test("takes bodies over the wire, and their bound holds for chunked ones too", async () => {
    const { listener } = await listening();
    const put = (body: string | ReadableStream<Uint8Array>): Promise<Response> =>
      fetch(`http://127.0.0.1:${listener.port}/v1/routes/shop/split`, {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body,
        duplex: "half",
      });
    expect((await put('{"old":90,"fresh":10}')).status).toBe(200);
    const chunk = new Uint8Array(65_536).fill(0x20);
    let left = 17;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (left-- > 0) controller.enqueue(chunk);
        else controller.close();
      },
    });
    expect((await put(endless)).status).toBe(413);
  });

  test("an address that is taken is an error with the system's code", async () => {
    const { stage, listener } = await listening();
    const again = listenAdmin(stage.app, { host: "127.0.0.1", port: listener.port });
    await expect(again).rejects.toMatchObject({ code: "EADDRINUSE" });
  });

  test("requests that are no HTTP or have a broken target are answered and end", async () => {
    const { listener } = await listening();
    for (const text of [
      "NONSENSE\r\n\r\n",
      "GET / HTTP/1.1\r\n\r\n",
      "GET /\\x HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n",
      "GET / HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n",
      "TRACE / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n",
    ]) {
      const answer = await exchange(listener.port, text);
      expect([text, answer.slice(0, 10)]).toEqual([
        text,
        expect.stringMatching(/^HTTP\/1\.1 4$|^HTTP\/1\.1 4/),
      ]);
    }
  });

  test("streams events as they happen, and resumes", async () => {
    const { stage, listener } = await listening();
    const response = await ask(listener.port, "/v1/events");
    expect(response.headers["content-type"]).toBe("text/event-stream");
    let received = "";
    response.setEncoding("utf8").on("data", (piece: string) => (received += piece));
    await until("the first bytes", () => received.startsWith("retry: 1000\n\n"));
    stage.parts.journal.append("table.changed", { revision: 2 });
    await until("the event", () => received.includes('event: table.changed\ndata: {"revision":2,'));
    const id = /^id: (.*)$/m.exec(received)?.[1] ?? "";
    response.destroy();
    stage.parts.journal.append("table.applied", { revision: 2 });
    const resumed = await ask(listener.port, "/v1/events", { "last-event-id": id });
    let rest = "";
    resumed.setEncoding("utf8").on("data", (piece: string) => (rest += piece));
    await until("what was missed", () => rest.includes("event: table.applied"));
    expect(rest).not.toContain("table.changed");
    expect(rest).not.toContain("gap");
    resumed.destroy();
  });

  test("cuts a subscriber that does not read, and forgets those who left", async () => {
    const { stage, listener } = await listening();
    const subscribe = async (): Promise<Socket> => {
      const socket = connect(listener.port, "127.0.0.1");
      socket.write("GET /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
      const head = await new Promise<string>((resolve) => {
        socket.once("data", (piece) => resolve(piece.toString("latin1")));
      });
      expect(head.slice(0, 15)).toBe("HTTP/1.1 200 OK");
      return socket;
    };
    const slow = await subscribe();
    slow.pause();
    // More than the queue and every buffer of the system between the two ends together.
    const large = { text: "x".repeat(100_000) };
    for (let n = 0; n < 200; n++) {
      stage.parts.journal.append("large", large);
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    slow.on("error", () => slow.destroy()).resume();
    await until("the slow one is cut", () => slow.destroyed);
    for (let n = 0; n < 110; n++) {
      const socket = await subscribe();
      socket.destroy();
      await until("it is gone", () => socket.closed);
    }
  });

  test("HEAD of the events opens no stream", async () => {
    const { stage } = await listening();
    for (let n = 0; n < 150; n++) expect((await stage.call("HEAD", "/v1/events")).status).toBe(200);
    expect((await stage.call("GET", "/v1/events")).status).toBe(200);
  });

  test("closing ends event streams and kept-alive connections, and may be asked twice", async () => {
    const { listener } = await listening();
    const events = await ask(listener.port, "/v1/events");
    const ended = new Promise<void>((resolve) => {
      events.resume().on("end", resolve);
    });
    const idle = connect(listener.port, "127.0.0.1");
    const closed = new Promise<void>((resolve) => {
      idle.resume().on("close", () => resolve());
    });
    idle.write("GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    await new Promise((resolve) => {
      idle.once("data", resolve);
    });
    await Promise.all([listener.close(), listener.close()]);
    await Promise.all([ended, closed]);
    await expect(fetch(`http://127.0.0.1:${listener.port}/livez`)).rejects.toThrow("fetch failed");
  });

  test("closing does not wait for an answer that never comes", async () => {
    const { stage, listener } = await listening();
    stage.publisher.waitApplied = () => new Promise(() => {});
    const body = JSON.stringify({ old: 50, fresh: 50 });
    const waiting = fetch(`http://127.0.0.1:${listener.port}/v1/routes/shop/split?wait=applied`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body,
    });
    await until(
      "the write is committed",
      async () => (await stage.call("GET", "/v1/table")).json["revision"] === 2,
    );
    const outcome = waiting.catch((error: unknown) => error);
    await listener.close();
    expect(await outcome).toBeInstanceOf(Error);
  });

  test("a client that sends half a request does not keep the listener open", async () => {
    const { listener } = await listening();
    const socket = connect(listener.port, "127.0.0.1");
    const closed = new Promise<void>((resolve) => {
      socket.on("error", () => resolve()).on("close", () => resolve());
    });
    await new Promise<void>((resolve) => {
      socket.write("PUT /v1/table HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 10\r\n\r\n{", () =>
        resolve(),
      );
    });
    await listener.close();
    await closed;
    expect(socket.destroyed).toBe(true);
  });
});
