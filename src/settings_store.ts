/** The store in the settings: a file of this machine, or a Redis that several share, each by a name of its own. */
import { hash } from "node:crypto";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { z } from "zod";
import { closed, examine, examineKeys, isMap } from "./domain/examine.ts";
import { Findings, refuseRepeats, type PathPart } from "./domain/problems.ts";
import { durationMs, readDuration } from "./domain/quantity.ts";
import { list, text, whole } from "./domain/schema_parts.ts";
import { sure } from "./domain/syntax.ts";
import { DATABASE_MAX, faultOf, readRedisNode, readRedisUrl, type RedisUrl } from "./settings_address.ts";
import { problemElsewhere, type Notes } from "./settings_file.ts";
import type { RedisNode, RedisPlace, RedisSettings, RedisTls } from "./store/redis_settings.ts";

/** Where the table and its history live. */
export type StoreSettings =
  | { readonly kind: "sqlite"; readonly sqlite: string }
  | { readonly kind: "redis"; readonly redis: RedisSettings };

/** What the store is read with besides the file. */
interface StoreInput {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readText?: (path: string) => string;
}

/** The database file of whoever names none. */
export const SQLITE_DEFAULT = "./data/crossfade.db";

/** The environment variables about the store. They win over the file. */
const ENV_URL = "CROSSFADE_REDIS_URL";
const ENV_PASSWORD = "CROSSFADE_REDIS_PASSWORD";

const FILE_PATH_CHARS_MAX = 1024;
const PASSWORD_CHARS_MAX = 4096;
const PEM_CHARS_MAX = 1_048_576;
const NODES_MAX = 64;
const REPLICAS_MAX = 5;
const TIMEOUT_MS_MIN = 100;
const TIMEOUT_MS_MAX = 30_000;

const INSTANCE_CHARS_MAX = 64;
/** Of the hash that tells instances on one machine apart. */
const INSTANCE_HASH_CHARS = 6;

const STORE = ["store"];
const REDIS = ["store", "redis"];
const TLS = [...REDIS, "tls"];
const PLACES = ["url", "sentinels", "cluster"] as const;

/** The path of a file. */
export const filePath = text((value) =>
  value !== "" && value.length <= FILE_PATH_CHARS_MAX && !value.includes("\0")
    ? null
    : "write the path of a file",
);

/** The name of an instance. */
export const instanceSchema = text((value) =>
  /^[\w.-]+$/.test(value) && value.length <= INSTANCE_CHARS_MAX
    ? null
    : `use 1 to ${INSTANCE_CHARS_MAX} letters, digits, ".", "_" or "-"`,
);

const urlSchema = text(faultOf(readRedisUrl));
const nodesSchema = list(text(faultOf(readRedisNode)), 1, NODES_MAX);
const usernameSchema = text((value) =>
  /^\S{1,256}$/.test(value) ? null : "write a user of 1 to 256 characters without spaces",
);
const passwordSchema = text((value) =>
  value !== "" && value.length <= PASSWORD_CHARS_MAX
    ? null
    : `a password has 1 to ${PASSWORD_CHARS_MAX} characters; leave it out when there is none`,
);
const timeoutError = 'write a duration from 100ms to 30s with its unit, such as "250ms" or "2s"';
const timeoutSchema = z.string({ error: timeoutError }).refine(
  (value) => {
    const ms = readDuration(value) ?? 0;
    return ms >= TIMEOUT_MS_MIN && ms <= TIMEOUT_MS_MAX;
  },
  { error: timeoutError },
);

const tlsSchema = closed({
  ca: filePath.optional(),
  certificate: filePath.optional(),
  key: filePath.optional(),
  server_name: text((value) =>
    /^[A-Za-z\d.-]{1,253}$/.test(value) ? null : "write the name that the server's certificate has",
  ).optional(),
});

const redisSchema = closed({
  url: urlSchema.optional(),
  sentinels: closed({
    name: text((value) =>
      /^[\w.-]{1,64}$/.test(value) ? null : "write what the sentinels call the primary, such as mymaster",
    ),
    nodes: nodesSchema,
    username: usernameSchema.optional(),
    password: passwordSchema.optional(),
  }).optional(),
  cluster: nodesSchema.optional(),
  username: usernameSchema.optional(),
  password: passwordSchema.optional(),
  password_file: filePath.optional(),
  database: whole(0, DATABASE_MAX).optional().meta({ default: 0 }),
  tls: z.union([z.boolean(), tlsSchema]).optional(),
  prefix: text((value) =>
    /^[\w.-]{1,32}$/.test(value) ? null : 'use 1 to 32 letters, digits, ".", "_" or "-"',
  ).default("cf"),
  timeout: timeoutSchema.default("2s"),
  replicas: whole(0, REPLICAS_MAX).default(0),
});

/** The store in the settings file: one of the two. */
export const storeSchema = closed({
  sqlite: filePath.optional().meta({ default: SQLITE_DEFAULT }),
  redis: redisSchema.optional(),
});

/** The same with parts that are still to be read, each by itself. */
const storeOutline = closed({ ...storeSchema.shape, redis: z.unknown().optional() });
const redisOutline = closed({ ...redisSchema.shape, tls: z.unknown().optional() });

type RedisKeys = Partial<z.output<typeof redisOutline>>;

/** The machine's name, and what tells this instance from others there: each has a run directory of its own. */
export function instanceOf(runDir: string): string {
  const digest = hash("sha256", resolve(runDir)).slice(0, INSTANCE_HASH_CHARS);
  const host = hostname().replaceAll(/[^\w.-]+/g, "-");
  return `${host.slice(0, INSTANCE_CHARS_MAX - INSTANCE_HASH_CHARS - 1)}-${digest}`;
}

/**
 * Gives the store as what is written below `store` and the environment have it, or null after noting what is wrong.
 *
 * Reads the files that are named there by `readText`, which throws when it cannot. No note repeats a password or a URL.
 */
export function readStore(written: unknown, input: StoreInput, notes: Notes): StoreSettings | null {
  const { findings } = notes;
  const keys = examineKeys(storeOutline, withoutGlued(written, STORE, findings), STORE, findings);
  const outerUrl = readOuter(ENV_URL, "/store/redis/url", urlSchema, input, notes);
  if (keys === undefined) return null;
  if (outerUrl === undefined && keys.redis === undefined) {
    return { kind: "sqlite", sqlite: keys.sqlite ?? SQLITE_DEFAULT };
  }
  if (outerUrl === undefined && keys.sqlite !== undefined) {
    findings.add(REDIS, "there is one store: write either sqlite or redis", "key");
  }
  const inFile = examineKeys(redisOutline, withoutGlued(keys.redis, REDIS, findings), REDIS, findings);
  if (inFile === undefined) return null;
  const { url: _url, sentinels: _sentinels, cluster: _cluster, ...rest } = inFile;
  const redis = readRedis(outerUrl === undefined ? inFile : { ...rest, url: outerUrl }, input, notes);
  return redis === null ? null : { kind: "redis", redis };
}

/**
 * A map without keys such as `password:secret`, which lack their space and would be repeated as unknown ones. What is
 * not there at all is an empty map.
 */
function withoutGlued(written: unknown, path: readonly PathPart[], findings: Findings): unknown {
  if (written === undefined) return {};
  if (!isMap(written)) return written;
  const entries = Object.entries(written).map(([key, value]): [string, unknown] => {
    const isSentinels = key === "sentinels" && value !== undefined;
    return [key, isSentinels ? withoutGlued(value, [...path, key], findings) : value];
  });
  const plain = entries.filter(([key]) => !key.includes(":"));
  if (plain.length < entries.length)
    findings.add(path, "a key in this map lacks the space after its colon", "key");
  return Object.fromEntries(plain);
}

/** An environment variable that stands for a key; undefined when it is not set, empty or wrong. */
function readOuter(
  source: string,
  path: string,
  schema: z.ZodType<string>,
  { env }: StoreInput,
  { problems }: Notes,
): string | undefined {
  const written = env[source];
  if (written === undefined || written === "") return undefined;
  const findings = new Findings();
  const value = examine(schema, written, [], findings);
  for (const { message } of findings.list()) problems.push(problemElsewhere(source, path, message));
  return value;
}

function readRedis(keys: RedisKeys, input: StoreInput, notes: Notes): RedisSettings | null {
  const { findings } = notes;
  const url = keys.url === undefined ? null : sure(readRedisUrl(keys.url));
  const place = readPlace(keys, url, notes);
  const tls = readTls(keys, url, input, findings);
  const login = readLogin(keys, url, input, notes);
  if (url?.database !== undefined && keys.database !== undefined) {
    findings.add([...REDIS, "database"], "the database stands in the url too; write it once");
  }
  const database = url?.database ?? keys.database ?? 0;
  if (keys.cluster !== undefined) {
    if (database > 0) findings.add([...REDIS, "database"], "a cluster has database 0 only; leave this out");
    if ((keys.replicas ?? 0) > 0) {
      findings.add([...REDIS, "replicas"], "replicas cannot be waited for in a cluster; leave this out");
    }
  }
  const { prefix, timeout, replicas } = keys;
  if (place === null || prefix === undefined || timeout === undefined || replicas === undefined) return null;
  return { place, database, ...login, tls, prefix, timeoutMs: durationMs(timeout), replicas };
}

function readPlace(keys: RedisKeys, url: RedisUrl | null, notes: Notes): RedisPlace | null {
  const { findings } = notes;
  const given = PLACES.filter((key) => keys[key] !== undefined);
  if (given.length > 1) {
    findings.add(REDIS, `write one of ${PLACES.join(", ")}, not ${given.join(" and ")}`, "key");
  } else if (given.length === 0 && !PLACES.some((key) => isNoted(key, notes))) {
    findings.add(REDIS, `say where it is: write one of ${PLACES.join(", ")}`, "key");
  }
  if (keys.sentinels !== undefined) {
    const { name, nodes, username, password } = keys.sentinels;
    if (username !== undefined && password === undefined) {
      findings.add([...REDIS, "sentinels", "username"], "a user needs a password: add it");
    }
    return {
      kind: "sentinels",
      name,
      nodes: readNodes(nodes, [...REDIS, "sentinels", "nodes"], findings),
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
    };
  }
  if (keys.cluster !== undefined) {
    return { kind: "cluster", nodes: readNodes(keys.cluster, [...REDIS, "cluster"], findings) };
  }
  return url?.place ?? null;
}

/** Whether a key below `store.redis` was found to be wrong, which must not look as if it were left out. */
function isNoted(key: string, { findings, problems }: Notes): boolean {
  const isBelow = findings.list().some(({ path }) => path[1] === "redis" && path[2] === key);
  return isBelow || problems.some(({ path }) => path === `/store/redis/${key}`);
}

function readNodes(written: readonly string[], path: readonly PathPart[], findings: Findings): RedisNode[] {
  const nodes = written.map((node) => sure(readRedisNode(node)));
  refuseRepeats(
    nodes.map(({ host, port }) => `${host} ${port}`),
    path,
    findings,
  );
  return nodes;
}

/** User and password for the server, from the one place that names each. */
function readLogin(
  keys: RedisKeys,
  url: RedisUrl | null,
  input: StoreInput,
  notes: Notes,
): Pick<RedisSettings, "username" | "password"> {
  const { findings, problems } = notes;
  const outer = readOuter(ENV_PASSWORD, "/store/redis/password", passwordSchema, input, notes);
  const refuse = (key: "username" | "password" | "password_file", message: string): void => {
    if (key === "password" && outer !== undefined) {
      problems.push(problemElsewhere(ENV_PASSWORD, "/store/redis/password", message));
    } else findings.add([...REDIS, key], message);
  };
  if (url?.username !== undefined && keys.username !== undefined) {
    refuse("username", "the user stands in the url too; write it once");
  }
  let password = outer ?? keys.password;
  if (outer === undefined && keys.password_file !== undefined) {
    if (password !== undefined) refuse("password_file", "the password stands in password too; write it once");
    const found = readNamed(keys.password_file, [...REDIS, "password_file"], input, findings);
    const line = found?.replace(/\r?\n$/, "");
    const fault = line === undefined ? null : faultOfPassword(line);
    if (fault !== null) refuse("password_file", fault);
    password ??= line;
  }
  if (url?.password !== undefined && password !== undefined) {
    const key = outer === undefined && keys.password === undefined ? "password_file" : "password";
    refuse(key, "the password stands in the url too; write it once");
  }
  const username = url?.username ?? keys.username;
  password ??= url?.password;
  const isNamed = keys.password_file !== undefined || isNoted("password", notes);
  if (username !== undefined && password === undefined && !isNamed) {
    const message = `a user needs a password: add password or password_file, or set ${ENV_PASSWORD}`;
    if (keys.username !== undefined) refuse("username", message);
    else findings.add([...REDIS, "url"], message);
  }
  return { ...(username !== undefined && { username }), ...(password !== undefined && { password }) };
}

function faultOfPassword(password: string): string | null {
  if (password === "") return "the file is empty; it holds the password and nothing else";
  return password.length > PASSWORD_CHARS_MAX || /[\r\n\0]/.test(password)
    ? `the file holds one line of at most ${PASSWORD_CHARS_MAX} characters, the password`
    : null;
}

function readTls(
  keys: RedisKeys,
  url: RedisUrl | null,
  input: StoreInput,
  findings: Findings,
): RedisTls | null {
  const isSecureUrl = url?.isTls === true;
  const written = keys.tls;
  if (written === undefined || written === false) {
    if (written === false && isSecureUrl) {
      findings.add(
        TLS,
        "the url begins with rediss://, which is TLS; write redis:// there or leave this out",
      );
    }
    return isSecureUrl ? {} : null;
  }
  if (url !== null && !isSecureUrl) {
    const isUnix = url.place.kind === "unix";
    findings.add(
      TLS,
      isUnix ? "there is no TLS over a Unix socket" : "the url begins with redis://, write rediss://",
    );
  }
  if (written === true) return {};
  if (!isMap(written)) {
    findings.add(TLS, "write true, false or a map of ca, certificate, key and server_name");
    return null;
  }
  const tls = examineKeys(tlsSchema, written, TLS, findings) ?? {};
  if ((tls.certificate === undefined) !== (tls.key === undefined)) {
    const [given, lacking] = tls.key === undefined ? ["certificate", "key"] : ["key", "certificate"];
    findings.add([...TLS, given], `a ${given} needs its ${lacking}: add ${lacking}`);
  }
  const pem = (key: "ca" | "certificate" | "key"): string | undefined => {
    const path = tls[key];
    return path === undefined ? undefined : readPem(path, key, input, findings);
  };
  const [ca, certificate, key] = [pem("ca"), pem("certificate"), pem("key")];
  return {
    ...(ca !== undefined && { ca }),
    ...(certificate !== undefined && { certificate }),
    ...(key !== undefined && { key }),
    ...(tls.server_name !== undefined && { serverName: tls.server_name }),
  };
}

/** Whether it is PEM of the right kind shows here; what is in it, the first connection. Source: RFC 7468. */
function readPem(
  path: string,
  key: "ca" | "certificate" | "key",
  input: StoreInput,
  findings: Findings,
): string | undefined {
  const place = [...TLS, key];
  const pem = readNamed(path, place, input, findings);
  if (pem === undefined) return undefined;
  if (pem.length > PEM_CHARS_MAX) {
    findings.add(place, `the file has at most ${PEM_CHARS_MAX} characters`);
  } else if (key === "key" && /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(pem)) {
    findings.add(place, "this key needs a passphrase, which nobody can give here; store it without");
  } else if (key === "key" && !/-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/.test(pem)) {
    findings.add(place, "there is no private key in PEM in this file");
  } else if (key !== "key" && !pem.includes("-----BEGIN CERTIFICATE-----")) {
    findings.add(place, "there is no certificate in PEM in this file");
  }
  return pem;
}

function readNamed(
  path: string,
  place: readonly PathPart[],
  { readText }: StoreInput,
  findings: Findings,
): string | undefined {
  if (readText === undefined) {
    findings.add(place, "cannot be read here");
    return undefined;
  }
  try {
    return readText(path);
  } catch (error) {
    findings.add(place, `cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}
