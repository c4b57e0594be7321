/** Flags, environment and file to Settings; everything wrong with them is reported at once. */
import { dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import type { WorkerLimits } from "./control/roster.ts";
import type { ListenAddress } from "./control/sockets.ts";
import { inspectDocument } from "./domain/document.ts";
import { closed, examineKeys, isMap } from "./domain/examine.ts";
import { Findings, findProtoKeys, refuseRepeats } from "./domain/problems.ts";
import { durationMs } from "./domain/quantity.ts";
import type { Document } from "./domain/route.ts";
import { duration, list, nameSchema, text, whole } from "./domain/schema_parts.ts";
import { sure } from "./domain/syntax.ts";
import {
  SOCKET_PATH_BYTES_MAX,
  faultOf,
  isLoopback,
  isSameAddress,
  readHostPort,
  readListenAddress,
  readProxyRange,
} from "./settings_address.ts";
import {
  parseFile,
  problemElsewhere,
  type FileProblem,
  type Notes,
  type ParsedFile,
} from "./settings_file.ts";
import {
  adminAddressSchema,
  logLevelSchema,
  readOverrides,
  type Override,
  type Overrides,
  type SettingsInput,
} from "./settings_overrides.ts";
import {
  SQLITE_DEFAULT,
  filePath,
  instanceOf,
  instanceSchema,
  readStore,
  storeSchema,
  type StoreSettings,
} from "./settings_store.ts";
import { readWorkers, workersSchema } from "./settings_workers.ts";
import { writeListening, type PlaneOptions } from "./shared/messages.ts";

/** A token of the admin API. Only the hash of its secret is known: SHA-256 in lower-case hexadecimal. */
interface AdminToken {
  readonly name: string;
  readonly role: "viewer" | "operator" | "admin";
  readonly sha256: string;
}

/** Everything that the program can be told, complete and checked. */
export interface Settings {
  readonly fileName: string;
  readonly listen: readonly ListenAddress[];
  readonly admin: { readonly host: string; readonly port: number; readonly tokens: readonly AdminToken[] };
  /** How many worker processes. */
  readonly workers: number;
  /** What makes one of them be replaced. */
  readonly workerLimits: WorkerLimits;
  /** Where the control socket and the files of the running program are. */
  readonly runDir: string;
  /** By what this instance is told from others at the same store. */
  readonly instance: string;
  readonly store: StoreSettings;
  readonly plane: PlaneOptions;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  /** What an empty store starts with. */
  readonly table: Document | null;
}

/** The name of the control socket in the run directory. */
export const CONTROL_SOCKET = "control.sock";

/** What the audit log calls Crossfade itself, and whoever comes without a token. */
const RESERVED_ACTORS: readonly string[] = ["crossfade", "loopback"];

const LISTEN_MAX = 16;
const TOKENS_MAX = 1000;
const PROXIES_MAX = 1000;
const sampleError = "write 0 to 100 percent";

/** The settings file. The table in it is read by domain/document.ts. */
export const settingsSchema = closed({
  listen: list(
    closed({ address: text(faultOf(readListenAddress)), proxy_protocol: z.boolean().default(false) }),
    1,
    LISTEN_MAX,
  ),
  admin: closed({
    address: adminAddressSchema.default("127.0.0.1:9900"),
    tokens: list(
      closed({
        name: nameSchema,
        role: z.enum(["viewer", "operator", "admin"]),
        sha256: text((value) =>
          /^[0-9a-fA-F]{64}$/.test(value) ? null : "write the SHA-256 of the token as 64 hexadecimal digits",
        ),
      }),
      0,
      TOKENS_MAX,
    ).default([]),
  }).prefault({}),
  workers: workersSchema.default("auto"),
  trusted_proxies: list(text(faultOf(readProxyRange)), 0, PROXIES_MAX).default([]),
  store: storeSchema.optional(),
  run_dir: filePath.optional(),
  instance: instanceSchema.optional(),
  access_log: closed({
    format: z.enum(["json", "combined", "off"]).default("json"),
    sample: z
      .number({ error: sampleError })
      .min(0, { error: sampleError })
      .max(100, { error: sampleError })
      .default(100),
    path: filePath.optional(),
  }).prefault({}),
  drain: closed({
    grace: duration(0).default("5s"),
    spread: duration(0).default("30s"),
    idle: duration(0).default("15s"),
    deadline: duration(0).default("120s"),
    tunnels: duration(0).default("1h"),
  }).prefault({}),
  limits: closed({
    connections: whole(1, 1_000_000).default(20_000),
    connections_per_address: whole(1, 1_000_000).default(2_000),
    heads_per_address: whole(1, 1_000_000).default(200),
  }).prefault({}),
  log: closed({ level: logLevelSchema.default("info") }).prefault({}),
  table: z.unknown().optional(),
});

/** The settings file with a store and workers that are still to be read. */
const settingsOutline = closed({
  ...settingsSchema.shape,
  store: z.unknown().optional(),
  workers: z.unknown().optional(),
});

type FileKeys = Partial<z.output<typeof settingsOutline>>;

/**
 * Gives complete settings, or every problem with the place it is at. Looks at nothing but its input, and for what is
 * left out at the machine's name, its processors and the working directory.
 */
export function readSettings(
  input: SettingsInput,
):
  | { readonly ok: true; readonly settings: Settings }
  | { readonly ok: false; readonly problems: readonly FileProblem[] } {
  const problems: FileProblem[] = [];
  const overrides = readOverrides(input, problems);
  const { parsed, problems: fileProblems } = parseFile(input.fileName, input.fileText);
  problems.push(...fileProblems);
  if (parsed === null) return { ok: false, problems: problems.toSorted(compareProblems) };
  const findings = new Findings();
  const settings = readKeys(parsed, input, overrides, { findings, problems });
  problems.push(...findings.list().map((finding) => parsed.locate(finding)));
  return settings !== null && problems.length === 0
    ? { ok: true, settings }
    : { ok: false, problems: problems.toSorted(compareProblems) };
}

/**
 * Finds the table in a file: a whole settings file with a `table`, or the table alone.
 *
 * Gives it unchecked, as plain values. Problems are those of the text itself.
 */
export function readTableFile(
  fileName: string,
  fileText: string,
):
  | { readonly ok: true; readonly document: unknown }
  | { readonly ok: false; readonly problems: readonly FileProblem[] } {
  const { parsed, problems } = parseFile(fileName, fileText);
  if (parsed === null || problems.length > 0) return { ok: false, problems };
  const { value } = parsed;
  if (isMap(value) && Object.hasOwn(value, "table")) return { ok: true, document: value["table"] };
  if (isMap(value) && (Object.hasOwn(value, "backends") || Object.hasOwn(value, "routes"))) {
    return { ok: true, document: value };
  }
  const message = 'there is no table in this file: write "backends" and "routes", alone or below "table"';
  return { ok: false, problems: [parsed.locate({ path: [], message, about: "value" })] };
}

/** The settings that differ but take effect only when the program starts, by their keys in the file. */
export function restartNeeded(before: Settings, after: Settings): string[] {
  const addresses = (settings: Settings) => settings.listen.map((address) => address.text).join(" ");
  const changed: [string, boolean][] = [
    ["listen", addresses(before) !== addresses(after)],
    ["admin.address", before.admin.host !== after.admin.host || before.admin.port !== after.admin.port],
    ["workers", before.workers !== after.workers],
    ["store", !isDeepStrictEqual(before.store, after.store)],
    ["run_dir", before.runDir !== after.runDir],
    ["instance", before.instance !== after.instance],
  ];
  return changed.filter(([, isChanged]) => isChanged).map(([key]) => key);
}

/** From the top of the file to its end; flags and the environment come first. */
function compareProblems(a: FileProblem, b: FileProblem): number {
  return a.line - b.line || a.column - b.column;
}

function readKeys(
  parsed: ParsedFile,
  input: SettingsInput,
  overrides: Overrides,
  notes: Notes,
): Settings | null {
  const { findings } = notes;
  findProtoKeys(parsed.value, findings);
  const keys = examineKeys(settingsOutline, parsed.value ?? {}, [], findings) ?? {};
  const table = keys.table === undefined ? null : inspectDocument(keys.table, ["table"], findings);
  const listen = readListen(keys, findings);
  const admin = readAdmin(keys.admin, overrides.adminAddress, listen, notes);
  const plane = readPlane(keys, overrides.dryRunSecret, findings);
  const store = readStore(keys.store, input, notes);
  const runDir = keys.run_dir ?? runDirBeside(store);
  if (Buffer.byteLength(join(runDir, CONTROL_SOCKET)) > SOCKET_PATH_BYTES_MAX) {
    const room = SOCKET_PATH_BYTES_MAX - CONTROL_SOCKET.length - 1;
    findings.add(
      ["run_dir"],
      `the path has at most ${room} bytes, because a socket is made there; set a shorter one`,
    );
  }
  const workers = readWorkers(keys.workers, overrides.workers?.value, findings);
  const logLevel = overrides.logLevel?.value ?? keys.log?.level;
  if (admin === null || plane === null || store === null) return null;
  if (workers === null || logLevel === undefined) return null;
  return {
    fileName: input.fileName,
    listen,
    admin,
    workers: workers.count,
    workerLimits: workers.limits,
    runDir,
    instance: keys.instance ?? instanceOf(runDir),
    store,
    plane,
    logLevel,
    table,
  };
}

/** Beside the database file; with Redis where it would be by default. */
function runDirBeside(store: StoreSettings | null): string {
  return join(dirname(store?.kind === "sqlite" ? store.sqlite : SQLITE_DEFAULT), "run");
}

function readListen(keys: FileKeys, findings: Findings): ListenAddress[] {
  const entries = keys.listen ?? [];
  for (const [index, entry] of entries.entries()) {
    if (!entry.proxy_protocol || keys.trusted_proxies === undefined || keys.trusted_proxies.length > 0)
      continue;
    const message = "proxy_protocol needs trusted_proxies: name the peers that may send the header";
    findings.add(["listen", index, "proxy_protocol"], message);
  }
  const listen = entries.map(({ address, proxy_protocol: takesProxyHeader }) => {
    const read = sure(readListenAddress(address));
    return { ...read, text: writeListening(read.text, takesProxyHeader) };
  });
  refuseSameListen(listen, findings);
  return listen;
}

function refuseSameListen(listen: readonly ListenAddress[], findings: Findings): void {
  for (const [index, address] of listen.entries()) {
    const first = listen.findIndex((other) => isSameAddress(other, address));
    if (first === -1 || first >= index) continue;
    findings.add(["listen", index, "address"], `entry ${first} of the list listens at the same address`);
  }
}

function readAdmin(
  keys: FileKeys["admin"],
  override: Override<string> | undefined,
  listen: readonly ListenAddress[],
  notes: Notes,
): Settings["admin"] | null {
  if (keys === undefined) return null;
  const address = override?.value ?? keys.address;
  const { host, port } = sure(readHostPort(address));
  const refuse = (key: "address" | "tokens", message: string) => {
    if (override === undefined) notes.findings.add(["admin", key], message);
    else notes.problems.push(problemElsewhere(override.source, "/admin/address", message));
  };
  if (keys.tokens.length === 0 && !isLoopback(host)) {
    refuse(
      "tokens",
      `without tokens the admin API may only listen on this machine, not at ${address}; add a token`,
    );
  }
  if (listen.some((other) => isSameAddress(other, { kind: "tcp", host, port, text: address }))) {
    refuse("address", `${address} is where requests are listened for; use another port`);
  }
  const path = ["admin", "tokens"];
  const tokens = keys.tokens.map((token) => ({ ...token, sha256: token.sha256.toLowerCase() }));
  for (const [index, token] of tokens.entries()) {
    if (RESERVED_ACTORS.includes(token.name)) {
      const message = `"${token.name}" is what the audit log calls somebody else; use another name`;
      notes.findings.add([...path, index, "name"], message);
    }
    for (const key of ["name", "sha256"] as const) {
      const first = tokens.findIndex((other) => other[key] === token[key]);
      if (first < index)
        notes.findings.add([...path, index, key], `entry ${first} of the list has the same ${key}`);
    }
  }
  return { host, port, tokens };
}

function readPlane(
  keys: FileKeys,
  dryRunSecret: string | undefined,
  findings: Findings,
): PlaneOptions | null {
  const { access_log: accessLog, drain, limits, trusted_proxies: proxies } = keys;
  if (drain !== undefined && durationMs(drain.deadline) < durationMs(drain.grace)) {
    findings.add(["drain", "deadline"], "the deadline cannot come before the end of the grace");
  }
  const trustedProxies = (proxies ?? []).map((range) => sure(readProxyRange(range)));
  refuseRepeats(trustedProxies, ["trusted_proxies"], findings);
  if (accessLog === undefined || drain === undefined || limits === undefined) return null;
  const { format, sample: samplePercent, path } = accessLog;
  return {
    accessLog: path === undefined ? { format, samplePercent } : { format, samplePercent, path },
    drain: {
      graceMs: durationMs(drain.grace),
      spreadMs: durationMs(drain.spread),
      idleMs: durationMs(drain.idle),
      deadlineMs: durationMs(drain.deadline),
      tunnelsMs: durationMs(drain.tunnels),
    },
    trustedProxies,
    connectionsMax: limits.connections,
    connectionsPerAddressMax: limits.connections_per_address,
    headsPerAddressMax: limits.heads_per_address,
    ...(dryRunSecret === undefined ? {} : { dryRunSecret }),
  };
}
