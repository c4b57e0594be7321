/** Redis servers that belong together, for tests: a primary with sentinels, and a cluster whose slots move. */
import { freePort } from "./fleet_stage.ts";
import { KEEPER, RedisServer, startRedis, type RedisOptions } from "./redis.ts";
import { RedisAnswerError } from "./redis_link.ts";
import { until } from "./wait.ts";

/** What the sentinels call the primary. */
const PRIMARY_NAME = "mymaster";
const SLOTS = 16_384;

/** What a primary with sentinels is started with. */
export interface SentinelOptions {
  /** Of the primary and its replicas. */
  readonly server?: Omit<RedisOptions, "port" | "directory" | "replicaOf" | "tls">;
  readonly replicas?: number;
  readonly sentinels?: number;
  /** How many sentinels must agree that the primary is gone: a majority unless told. */
  readonly quorum?: number;
  readonly downAfterMs?: number;
  /** What clients of the sentinels must give. */
  readonly sentinelPassword?: string;
}

/** A primary, its replicas and the sentinels that watch them. */
export class SentinelGroup implements AsyncDisposable {
  readonly name = PRIMARY_NAME;
  /** The first is the primary at the start. */
  readonly servers: RedisServer[] = [];
  readonly sentinels: RedisServer[] = [];

  /** The sentinels, as `host:port`. */
  get nodes(): readonly string[] {
    return this.sentinels.map(({ port }) => `127.0.0.1:${port}`);
  }

  /** The server that a sentinel names now. Throws when no sentinel answers. */
  async primary(sentinel?: RedisServer): Promise<RedisServer> {
    const asked = sentinel ?? this.sentinels.find(({ isRunning }) => isRunning);
    if (asked === undefined) throw new Error("no sentinel runs");
    const answer = await asked.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", this.name);
    const port = Array.isArray(answer) ? Number(answer[1]) : 0;
    const server = this.servers.find((one) => one.port === port);
    if (server === undefined) throw new Error(`a sentinel names ${String(answer)}`);
    return server;
  }

  /** Waits until every running sentinel names one primary other than `former`, and that one is it. Gives it. */
  newPrimary(former: RedisServer): Promise<RedisServer> {
    return until("there is a new primary", async () => {
      const running = this.sentinels.filter(({ isRunning }) => isRunning);
      const named = new Set(await Promise.all(running.map((sentinel) => this.primary(sentinel))));
      const [primary] = named;
      if (primary === undefined || named.size > 1 || primary === former) return null;
      return (await primary.info("role")) === "master" ? primary : null;
    });
  }

  /** Makes the sentinels put a replica in the primary's place. Gives the new primary. */
  async failOver(): Promise<RedisServer> {
    const [sentinel] = this.sentinels;
    const former = await this.primary(sentinel);
    await until("a sentinel begins to fail over", async () => {
      const answer = await sentinel?.command("SENTINEL", "FAILOVER", this.name).catch(messageOf);
      return answer === "OK" || String(answer).startsWith("INPROG");
    });
    return this.newPrimary(former);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of [...this.sentinels, ...this.servers]) await server[Symbol.asyncDispose]();
  }
}

/** Starts a primary, a replica and three sentinels unless told, and waits until each knows all others. */
export async function startSentinels(options: SentinelOptions = {}): Promise<SentinelGroup> {
  const { replicas = 1, sentinels = 3, downAfterMs = 1000, sentinelPassword } = options;
  const { quorum = Math.floor(sentinels / 2) + 1 } = options;
  const group = new SentinelGroup();
  try {
    const primary = await startRedis(options.server);
    group.servers.push(primary);
    for (let index = 0; index < replicas; index++) {
      group.servers.push(await startRedis({ ...options.server, replicaOf: primary }));
    }
    const lines = [
      `sentinel monitor ${PRIMARY_NAME} 127.0.0.1 ${primary.port} ${quorum}`,
      `sentinel down-after-milliseconds ${PRIMARY_NAME} ${downAfterMs}`,
      `sentinel failover-timeout ${PRIMARY_NAME} ${downAfterMs * 2}`,
      `sentinel auth-user ${PRIMARY_NAME} ${KEEPER.username}`,
      `sentinel auth-pass ${PRIMARY_NAME} ${KEEPER.password}`,
      `sentinel sentinel-user ${KEEPER.username}`,
      `sentinel sentinel-pass ${KEEPER.password}`,
      ...(sentinelPassword === undefined ? [] : [`requirepass ${sentinelPassword}`]),
    ];
    for (let index = 0; index < sentinels; index++) {
      group.sentinels.push(await startRedis({ isSentinel: true, lines }));
    }
    await until("the sentinels know each other and the replicas", async () => {
      for (const sentinel of group.sentinels) {
        const known = await sentinel.command("SENTINEL", "MASTER", PRIMARY_NAME);
        const field = (name: string): number => {
          return Array.isArray(known) ? Number(known[known.indexOf(name) + 1]) : 0;
        };
        if (field("num-slaves") !== replicas || field("num-other-sentinels") !== sentinels - 1) return false;
      }
      return true;
    });
    return group;
  } catch (error) {
    await group[Symbol.asyncDispose]();
    throw error;
  }
}

/** What happens while a slot moves. */
export interface MoveOptions {
  /** Called when its keys have moved and its owner has not changed: whoever asks the former owner is sent on by ASK. */
  readonly onMoved?: () => Promise<void> | void;
}

/** A cluster of primaries. */
export class RedisCluster implements AsyncDisposable {
  readonly servers: RedisServer[] = [];

  /** All of them, as `host:port`. */
  get nodes(): readonly string[] {
    return this.servers.map(({ port }) => `127.0.0.1:${port}`);
  }

  /** The server that owns a key's slot. */
  async ownerOf(key: string): Promise<RedisServer> {
    for (const server of this.servers.filter(({ isRunning }) => isRunning)) {
      // Only the owner can count the keys of a slot without being sent elsewhere.
      const answer = await server.command("EXISTS", key).catch(messageOf);
      if (typeof answer === "number") return server;
      const port = Number(/^(?:MOVED|ASK) \d+ .*:(\d+)$/.exec(String(answer))?.[1]);
      const owner = this.servers.find((one) => one.port === port);
      if (owner !== undefined) return owner;
    }
    throw new Error(`no running server knows who owns ${key}`);
  }

  /** Moves the slot of a key with all its keys to another server, as an operator would. */
  async moveSlot(key: string, to: RedisServer, { onMoved }: MoveOptions = {}): Promise<void> {
    const from = await this.ownerOf(key);
    if (from === to) return;
    const slot = Number(await to.command("CLUSTER", "KEYSLOT", key));
    const [fromId, toId] = [await idOf(from), await idOf(to)];
    await to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
    await from.command("CLUSTER", "SETSLOT", slot, "MIGRATING", toId);
    for (;;) {
      const keys = (await from.command("CLUSTER", "GETKEYSINSLOT", slot, 100)) as readonly string[];
      if (keys.length === 0) break;
      const login = ["AUTH2", KEEPER.username, KEEPER.password];
      await from.command("MIGRATE", "127.0.0.1", to.port, "", 0, 10_000, ...login, "KEYS", ...keys);
    }
    await onMoved?.();
    await to.command("CLUSTER", "SETSLOT", slot, "NODE", toId);
    for (const server of this.servers) {
      if (server !== to) await server.command("CLUSTER", "SETSLOT", slot, "NODE", toId);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.servers) await server[Symbol.asyncDispose]();
  }
}

/** Starts so many primaries that share the slots, and waits until every one of them finds the cluster in order. */
export async function startCluster(
  nodes = 3,
  options: Omit<RedisOptions, "port" | "directory" | "replicaOf" | "tls"> = {},
): Promise<RedisCluster> {
  const cluster = new RedisCluster();
  try {
    const busPorts: number[] = [];
    for (let index = 0; index < nodes; index++) {
      const busPort = await freePort();
      const lines = ["cluster-enabled yes", "cluster-node-timeout 5000", `cluster-port ${busPort}`];
      const server = await startRedis({ ...options, lines: [...lines, ...(options.lines ?? [])] });
      cluster.servers.push(server);
      busPorts.push(busPort);
      const first = (place: number): number => Math.floor((place * SLOTS) / nodes);
      await server.command("CLUSTER", "SET-CONFIG-EPOCH", index + 1);
      await server.command("CLUSTER", "ADDSLOTSRANGE", first(index), first(index + 1) - 1);
    }
    const [hub, ...others] = cluster.servers;
    for (const [place, { port }] of others.entries()) {
      await hub?.command("CLUSTER", "MEET", "127.0.0.1", port, busPorts[place + 1] as number);
    }
    await until("every server finds the cluster in order", async () => {
      for (const server of cluster.servers) {
        const text = String(await server.command("CLUSTER", "INFO"));
        const isWhole = text.includes("cluster_state:ok") && text.includes(`cluster_known_nodes:${nodes}\r`);
        if (!isWhole) return false;
      }
      return true;
    });
    return cluster;
  } catch (error) {
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
}

async function idOf(server: RedisServer): Promise<string> {
  return String(await server.command("CLUSTER", "MYID"));
}

/** The error that Redis answered, as text; any other goes on. */
function messageOf(error: unknown): string {
  if (error instanceof RedisAnswerError) return error.message;
  throw error;
}
