/** The admin API on a stage of its own: real commands on a store in memory, a fleet and a publisher that do as told. */
import { createHash } from "node:crypto";
import { shapes, type ShapeName } from "../../src/admin/shapes.ts";
import { buildAdmin } from "../../src/admin/server.ts";
import type { AdminToken, Role } from "../../src/admin/access.ts";
import type { AdminApp } from "../../src/admin/endpoint.ts";
import type { AdminParts } from "../../src/admin/parts.ts";
import type { Logger } from "../../src/base/logger.ts";
import { Commands } from "../../src/control/commands.ts";
import { Journal } from "../../src/control/journal.ts";
import { Members } from "../../src/control/members.ts";
import { ownInstance, type OwnInstanceParts } from "../../src/control/own_instance.ts";
import type { RouteComparison } from "../../src/control/comparisons.ts";
import type { RouteVerdict } from "../../src/control/judges.ts";
import { Sampler } from "../../src/control/sampler.ts";
import type { WorkerStatus } from "../../src/control/fleet.ts";
import type { UpgradeOutcome } from "../../src/control/upgrade.ts";
import { ManualClock } from "./clock.ts";
import { MemoryCircle, MemoryInstances } from "./memory_instances.ts";
import { MemoryStore } from "./memory_store.ts";

/** A table with one route, `shop`, from `old` to `fresh`. */
export const SHOP_TABLE = {
  backends: {
    old: { endpoints: ["http://127.0.0.1:9001"] },
    fresh: { endpoints: ["http://127.0.0.1:9002", "http://127.0.0.1:9003"] },
  },
  routes: [
    {
      id: "shop",
      match: { hosts: ["shop.example.com"] },
      cutover: { legacy: "old", candidate: "fresh" },
      split: { old: 95, fresh: 5 },
      sticky: { keys: ["cookie:uid"] },
    },
  ],
};

/** What a call says besides its method and path. */
export interface CallOptions {
  /** Sent as JSON, unless it is text: that is sent as it is. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** The role whose token is sent, when the stage has tokens. */
  readonly as?: Role;
}

/** What a call gave. `json` is the parsed body, or null when it is not JSON. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly json: Readonly<Record<string, unknown>>;
}

/** A line that the admin API logged. */
export interface LogLine {
  readonly level: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

type Publisher = AdminParts["publisher"] & OwnInstanceParts["publisher"];

/** What the loop of rollouts says of the stage's routes; a test may change it. */
export interface Told {
  readonly verdicts: Map<string, RouteVerdict>;
  readonly braked: Set<string>;
  readonly warnings: string[];
  readonly rollbacks: { route: string; cause: string; count: number }[];
  readonly comparisons: Map<string, RouteComparison>;
  /** Why workers, and the control process, were to be replaced. */
  readonly causes: string[];
  /** The worker of the stage, if it is another one. */
  worker?: WorkerStatus;
  /** What comes of an upgrade. */
  upgrade: UpgradeOutcome;
}

/** The stage. `publisher` and `workers` may be changed at any time. */
export interface AdminStage {
  readonly app: AdminApp;
  readonly parts: AdminParts;
  readonly store: MemoryStore;
  readonly clock: ManualClock;
  readonly log: LogLine[];
  /** The stage's instance, `here`, and the list on which a test may put others. */
  readonly members: Members;
  readonly circle: MemoryCircle;
  readonly publisher: { -readonly [Key in keyof Publisher]: Publisher[Key] };
  readonly told: Told;
  /** Makes a call and checks that its answer is one that the description promises. */
  readonly call: (method: string, path: string, options?: CallOptions) => Promise<Reply>;
}

/** The text of the token of a role. */
export function tokenOf(role: Role): string {
  return `${role}-token-text`;
}

/** Builds a stage whose store holds SHOP_TABLE as revision 1, or nothing; `isShared`: with other instances. */
export async function adminStage(
  options: { readonly isEmpty?: boolean; readonly hasTokens?: boolean; readonly isShared?: boolean } = {},
): Promise<AdminStage> {
  const clock = new ManualClock();
  const store = new MemoryStore(clock);
  const commands = new Commands(store, { clock });
  const log: LogLine[] = [];
  const publisher: AdminStage["publisher"] = {
    waitApplied: () => {
      clock.advance(12.5);
      return Promise.resolve({ applied: true, appliedMs: 12.5 });
    },
    appliedRevision: () => 1,
    readiness: () => ({ ready: true, reason: "", warnings: [] }),
    served: () => ({ revision: 1, from: "store", fault: null }),
  };
  const facts = { clock, version: "0.0.0-test", log: loggerTo(log) };
  const traffic = { journal: new Journal(clock), sampler: new Sampler(clock) };
  const told: Told = { ...nothingTold(), upgrade: UPGRADED };
  const { fleet, upgrade } = replaceable(told);
  const circle = new MemoryCircle(clock);
  const registry = options.isShared === true ? new MemoryInstances(circle) : null;
  const own = ownInstance({ fleet, publisher });
  const members = new Members({ registry, own, id: "here", run: "run-1", pid: 4000, ...facts, ...traffic });
  const parts: AdminParts = {
    commands,
    store,
    ...traffic,
    fleet,
    upgrade,
    pid: 4000,
    members,
    rollouts: {
      verdict: (route) => told.verdicts.get(route) ?? null,
      rollbacks: () => told.rollbacks,
      warnings: () => told.warnings,
    },
    comparisons: {
      of: ({ id }) => told.comparisons.get(id) ?? null,
      own: () => [],
      isProvenBelow: () => false,
      warnings: () => [],
    },
    brakes: told.braked,
    publisher: { readiness: () => publisher.readiness(), served: () => publisher.served() },
    storeInfo: () => ({
      kind: "sqlite",
      where: "the stage's memory",
      status: { condition: "ok", detail: "", sinceMs: 0, storeRevision: 1 },
      warnings: [],
    }),
    tokens: () => (options.hasTokens === true ? TOKENS : []),
    ...facts,
  };
  const app = buildAdmin(parts);
  const call: AdminStage["call"] = async (method, path, more = {}) => {
    const reply = await send(app, method, path, more);
    await checkPromise(app, method, path, reply);
    return reply;
  };
  if (options.isEmpty !== true) {
    const outcome = await commands.replaceTable(SHOP_TABLE, { actor: "stage", reason: "the first table" });
    if (!outcome.ok) throw new Error(`the stage's table is refused: ${outcome.detail}`);
  }
  return { app, parts, store, clock, log, members, circle, publisher, told, call };
}

function nothingTold(): Omit<Told, "upgrade"> {
  return {
    verdicts: new Map(),
    braked: new Set(),
    warnings: [],
    rollbacks: [],
    causes: [],
    comparisons: new Map(),
  };
}

/** What can be told to replace workers, or everything, and only remembers why. */
function replaceable(told: Told) {
  const recycle = (cause: string) => {
    told.causes.push(cause);
    return [{ worker: 0, pid: 4242 }];
  };
  const begin = (cause: string) => {
    told.causes.push(cause);
    return Promise.resolve(told.upgrade);
  };
  const addresses = () => ["127.0.0.1:8080"];
  const fleet = { status: () => [told.worker ?? WORKER], addresses, watch: () => () => undefined, recycle };
  return { fleet, upgrade: { begin } };
}

const UPGRADED: UpgradeOutcome = { ok: true, pid: 4000, version: "0.0.1-test", afterMs: 1200 };

const WORKER: ReturnType<AdminParts["fleet"]["status"]>[number] = {
  worker: 0,
  pid: 4242,
  version: "0.0.0-test",
  state: "serving",
  adopted: false,
  appliedRevision: 1,
  connectionsOpen: 3,
  restarts: 0,
  rssBytes: 50_000_000,
  loopUtilization: 0.25,
};

const TOKENS: readonly AdminToken[] = (["viewer", "operator", "admin"] as const).map((role) => ({
  name: `the-${role}`,
  role,
  sha256: createHash("sha256").update(tokenOf(role)).digest("hex"),
}));

async function send(app: AdminApp, method: string, path: string, options: CallOptions): Promise<Reply> {
  const headers = new Headers({ host: "127.0.0.1:9900", ...options.headers });
  const { body } = options;
  if (body !== undefined && !headers.has("content-type")) headers.set("content-type", "application/json");
  if (options.as !== undefined) headers.set("authorization", `Bearer ${tokenOf(options.as)}`);
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const init = { method, headers, ...(body === undefined ? {} : { body: text }) };
  const response = await app.request(new Request(`http://127.0.0.1:9900${path}`, init));
  const isStream = response.headers.get("content-type") === "text/event-stream";
  const received = isStream ? "" : await response.text();
  if (isStream) await response.body?.cancel();
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  const json = (isJson && received !== "" ? JSON.parse(received) : {}) as Reply["json"];
  return { status: response.status, headers: response.headers, text: received, json };
}

/** Fails unless the description has this status for this call, and the body is of the shape it names. */
async function checkPromise(app: AdminApp, method: string, path: string, reply: Reply): Promise<void> {
  const operation = await operationOf(app, method === "HEAD" ? "GET" : method, path);
  if (operation === null) return;
  const response = operation.responses[String(reply.status)];
  if (response === undefined)
    throw new Error(`${method} ${path} answered ${reply.status}, which is not described`);
  const type = reply.headers.get("content-type") ?? "";
  const content = response.content[type];
  if (content === undefined)
    throw new Error(`${method} ${path} answered with the type ${type}, which is not described`);
  const name = content.schema.$ref?.replace("#/components/schemas/", "");
  if (name !== undefined && reply.text !== "") shapes[name as ShapeName].parse(reply.json);
}

interface Operation {
  readonly responses: Readonly<
    Record<
      string,
      { readonly content: Readonly<Record<string, { readonly schema: { readonly $ref?: string } }>> }
    >
  >;
}

/** The described operation of a call, or null when there is none. */
async function operationOf(app: AdminApp, method: string, path: string): Promise<Operation | null> {
  const headers = { host: "127.0.0.1:9900", authorization: `Bearer ${tokenOf("viewer")}` };
  const response = await app.request("http://127.0.0.1:9900/openapi.json", { headers });
  const { paths } = (await response.json()) as { paths: Record<string, Record<string, Operation>> };
  const plain = path.replace(/\?.*/s, "");
  const found = Object.entries(paths).find(([template]) =>
    new RegExp(`^${template.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(plain),
  );
  return found?.[1][method.toLowerCase()] ?? null;
}

function loggerTo(lines: LogLine[]): Logger {
  const write = (level: string) => (fields: Readonly<Record<string, unknown>>, message: string) => {
    lines.push({ level, fields, message });
  };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}
