/** Whether the server behind a new connection is fit: its version, its role, and how durable it is. */
import { Fault } from "../base/fault.ts";
import type { RedisClient } from "./redis_client.ts";
import { isReply } from "./redis_faults.ts";
import { describePlace, type RedisSettings } from "./redis_settings.ts";

/** The first version that has everything the scripts use. */
const VERSION_MIN = 7;

/** What happens to keys when the memory is full, where none of ours is thrown away: our table has no expiry. */
const SAFE_POLICIES = /^(?:noeviction|volatile-.*)$/;

/**
 * Asks a server what it is. Gives what an operator should change there.
 *
 * Throws Fault STORE_UNAVAILABLE when it is too old, a replica, a sentinel or still loading, and what the connection
 * throws.
 */
export async function inspectServer(client: RedisClient, settings: RedisSettings): Promise<string[]> {
  const info = readInfo(String(await client.command("info")));
  const where = `Redis at ${describePlace(settings)}`;
  const wrong = findUnfit(info);
  if (wrong !== null) throw new Fault("STORE_UNAVAILABLE", `${where}: ${wrong}`);
  return durabilityWarnings(await readConfig(client), where);
}

function readInfo(text: string): ReadonlyMap<string, string> {
  const lines = text.split("\r\n").map((line) => [line, line.indexOf(":")] as const);
  return new Map(lines.map(([line, colon]) => [line.slice(0, colon), line.slice(colon + 1)]));
}

/** Why the server cannot be used, and what to do; null when it can. Valkey gives a version of Redis too. */
function findUnfit(info: ReadonlyMap<string, string>): string | null {
  if (info.get("redis_mode") === "sentinel") {
    return "this is a sentinel, not the server that it watches; name it under store.redis as a sentinel";
  }
  const version = info.get("redis_version") ?? "";
  if (!(Number.parseInt(version, 10) >= VERSION_MIN)) {
    const found = version === "" ? "it does not say its version" : `it is version ${version}`;
    return `${found}, and Crossfade needs Redis ${VERSION_MIN}.0 or later, or Valkey; upgrade it`;
  }
  if ((info.get("loading") ?? "0") !== "0") return "it is still loading its data; wait until it has";
  if (info.get("role") === "slave") return "this is a read-only replica; point store.redis at the primary";
  return null;
}

/** Settings of the server; none where it does not show them. */
async function readConfig(client: RedisClient): Promise<ReadonlyMap<string, string>> {
  try {
    const names = ["appendonly", "appendfsync", "maxmemory-policy"];
    const pairs = (await client.command("config", "get", ...names)) as readonly string[];
    return new Map(names.map((name) => [name, pairs[pairs.indexOf(name) + 1] ?? ""]));
  } catch (error) {
    // Managed servers hide the command, and an ACL may forbid it: then nobody can be warned.
    if (isReply(error)) return new Map();
    throw error;
  }
}

function durabilityWarnings(config: ReadonlyMap<string, string>, where: string): string[] {
  const warnings: string[] = [];
  const [isAppending, sync] = [config.get("appendonly"), config.get("appendfsync")];
  if (isAppending === "no") {
    const advice = "set appendonly yes and appendfsync always there";
    warnings.push(`${where} keeps no append-only file: a crash of it loses acknowledged changes; ${advice}`);
  } else if (sync !== undefined && sync !== "always") {
    const losses = `syncs its append-only file ${sync}: a crash of it may lose acknowledged changes`;
    warnings.push(`${where} ${losses}; set appendfsync always there`);
  }
  const policy = config.get("maxmemory-policy");
  if (policy !== undefined && !SAFE_POLICIES.test(policy)) {
    const danger = `throws keys away when its memory is full (maxmemory-policy ${policy}), the table too`;
    warnings.push(`${where} ${danger}; set maxmemory-policy noeviction there`);
  }
  return warnings;
}
