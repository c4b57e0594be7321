/** What went wrong with Redis: in which state it leaves a command, what happened, and what to do about it. */
import { describePlace, type RedisSettings } from "./redis_settings.ts";
import { REDIS_RIGHTS } from "./redis_scripts.ts";

/** An error of ioredis or of a socket, judged. */
export interface Trouble {
  /** `refused`: Redis did not carry the command out. `lost`: it may have, or may still. */
  readonly kind: "refused" | "lost";
  /** Where, what happened and what to do. Never holds a password or an argument of the command. */
  readonly detail: string;
  /** The connection is of no use any more: another one may lead to a server that is. */
  readonly isFatal: boolean;
}

/** The longest part of a message of Redis that is passed on. */
const MESSAGE_LENGTH_MAX = 300;

/** What ioredis says of commands that it has not sent. */
const UNSENT = /enableOfflineQueue options is false|Cluster is ended|None of startup nodes|Too many Cluster/;

/** What ioredis says of connections that have ended without an error. */
export const CLOSED = "Connection is closed.";
/** The same, of a connection that never came to be of use. */
export const CLOSED_EARLY =
  "the connection was closed at once; see the log of Redis, and whether it wants TLS there";

/** What a script is told that its user may not do; it comes under several codes. */
const SCRIPT_RIGHTS = /user executing the script|ACL failure in script/;

/** By the code of a reply, its first word: what it means and what to do. */
const REPLIES: Readonly<Record<string, string>> = {
  WRONGPASS: "the password or user in store.redis is refused; correct them",
  NOAUTH: "it wants a password or user, and store.redis names none that it accepts; set them",
  READONLY: "this is a read-only replica; point store.redis at the primary",
  OOM: "it is out of memory; raise maxmemory there, or free some",
  MISCONF: "it cannot write to its own disk and so refuses changes; look into its log and free the disk",
  LOADING: "it is still loading its data; wait until it has",
  BUSY: "a script of somebody else keeps it busy; wait, or end it there with SCRIPT KILL",
  CLUSTERDOWN: "the cluster is down: no node serves our keys; look at CLUSTER INFO there",
  NOREPLICAS: "it has fewer replicas than its min-replicas-to-write asks for; start them",
  MASTERDOWN: "this is a replica without its primary; point store.redis at the primary",
  WRONGTYPE: "a key belongs to another program; set store.redis.prefix to one that nobody else uses",
  MOVED: "it is part of a cluster; name the nodes under store.redis as a cluster",
};

/** Codes after which another connection may lead to a better server, or to the same one when it is better. */
const FATAL_REPLIES = new Set([
  "WRONGPASS",
  "NOAUTH",
  "READONLY",
  "LOADING",
  "CLUSTERDOWN",
  "MASTERDOWN",
  "MOVED",
]);

/** By the code of an error of the system or of TLS. */
const CODES: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nobody listens there; start Redis, or correct store.redis",
  ENOENT: "there is no such socket; start Redis, or correct store.redis",
  EACCES: "this process may not open the socket; see unixsocketperm in the settings of Redis",
  ENOTFOUND: "its name has no address; correct store.redis",
  EAI_AGAIN: "its name cannot be looked up now; check the name server",
  ETIMEDOUT: "it does not accept the connection in time; check the address and the network",
  EHOSTUNREACH: "no way leads there; check the address and the network",
  ENETUNREACH: "no way leads there; check the address and the network",
  ECONNRESET: "the connection was cut",
  EPIPE: "the connection was cut",
  EPROTO: "TLS failed; check that Redis speaks TLS at this port, and our certificate",
  ERR_SSL_WRONG_VERSION_NUMBER: "it speaks no TLS there; use its tls-port, or leave TLS out in store.redis",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name; set the server name in store.redis",
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: "it wants a certificate of ours; set it in store.redis",
  CERT_HAS_EXPIRED: "its certificate has expired; renew it",
};

/** Codes of certificates that nobody vouches for. */
const UNTRUSTED = /^(?:DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/;

/** Whether an error is what Redis answered. */
export function isReply(error: unknown): boolean {
  return error instanceof Error && error.name === "ReplyError";
}

/** What the library says of a command that has no answer in time. */
export const TIMED_OUT = "Command timed out";

/** Judges an error that a command, or the way to it, has met. */
export function judge(error: unknown, settings: RedisSettings): Trouble {
  const message = error instanceof Error ? error.message : String(error);
  const where = `Redis at ${describePlace(settings)}`;
  if (isReply(error)) return judgeReply(message, where, settings);
  if (UNSENT.test(message)) {
    const advice = message.includes("Too many Cluster") ? ` (${shorten(message)})` : "";
    return { kind: "refused", detail: `${where}: the connection is gone${advice}`, isFatal: true };
  }
  if (message === TIMED_OUT) {
    const detail = `${where}: it has not answered within ${settings.timeoutMs} ms; check it and the network`;
    return { kind: "lost", detail, isFatal: true };
  }
  return { kind: "lost", detail: `${where}: ${explain(error, message, settings)}`, isFatal: true };
}

function judgeReply(message: string, where: string, settings: RedisSettings): Trouble {
  const code = /^[A-Z]+/.exec(message)?.[0] ?? "";
  if (code === "NOPERM" || SCRIPT_RIGHTS.test(message)) {
    const rights = REDIS_RIGHTS.replaceAll("PREFIX", settings.prefix);
    const detail = `${where}: its ACL does not allow what is needed (${shorten(message)}); give the user ${rights}`;
    return { kind: "refused", detail, isFatal: false };
  }
  const isOutsideCluster = message.includes("cluster support disabled");
  const advice = isOutsideCluster
    ? "it is no cluster; name it in store.redis as a single server"
    : (REPLIES[code] ?? "it refused a command");
  const isFatal = FATAL_REPLIES.has(code) || isOutsideCluster;
  return { kind: "refused", detail: `${where}: ${advice} (${shorten(message)})`, isFatal };
}

function explain(error: unknown, message: string, settings: RedisSettings): string {
  const inner = innerCause(error);
  if (inner !== null) return explain(inner, inner.message, settings);
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const hasTls = settings.tls !== null;
  if (UNTRUSTED.test(code)) {
    return `nobody we believe vouches for its certificate; set the authority in store.redis (${code})`;
  }
  if (code === "ETIMEDOUT" && hasTls) {
    return "it does not finish the handshake in time; check the network, and whether it speaks TLS there";
  }
  const advice = CODES[code];
  if (advice !== undefined) return `${advice} (${code})`;
  if (message.startsWith("All sentinels are unreachable")) return explainSentinels(message);
  return message === CLOSED ? "the connection was closed" : shorten(message);
}

function explainSentinels(message: string): string {
  const last = /Last error: (.*)$/s.exec(message)?.[1];
  if (last === undefined || last.includes("No such master"))
    return "no sentinel knows a primary of this name; correct store.redis";
  return `no sentinel says where it is; check them, and their password in store.redis (${shorten(last)})`;
}

/** What a cluster or several addresses of one name hide: the last of several errors. */
function innerCause(error: unknown): Error | null {
  if (error instanceof AggregateError) return (error.errors as readonly Error[]).at(-1) ?? null;
  if (error instanceof Error && "lastNodeError" in error)
    return (error.lastNodeError as Error | null) ?? null;
  return null;
}

/** Without what a script appends about itself. */
function shorten(message: string): string {
  return message.replace(/ script: [0-9a-f]{40}.*$/s, "").slice(0, MESSAGE_LENGTH_MAX);
}
