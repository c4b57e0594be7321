/** How a Redis is reached and used: the settings as the store needs them, complete and checked. */

/** A host name or IP literal without brackets, and a port. */
export interface RedisNode {
  readonly host: string;
  readonly port: number;
}

/** Where it is: one server, the primary that sentinels name, or a cluster. */
export type RedisPlace =
  | { readonly kind: "single"; readonly node: RedisNode }
  | { readonly kind: "unix"; readonly path: string }
  | {
      readonly kind: "sentinels";
      /** What the sentinels call the primary. */
      readonly name: string;
      readonly nodes: readonly RedisNode[];
      /** For the sentinels themselves, where they want them. */
      readonly username?: string;
      readonly password?: string;
    }
  | { readonly kind: "cluster"; readonly nodes: readonly RedisNode[] };

/** TLS with certificates as PEM text. Without `ca` the system's authorities are believed. */
export interface RedisTls {
  readonly ca?: string;
  readonly certificate?: string;
  readonly key?: string;
  /** The name that the server's certificate must have, if it is not the host's. */
  readonly serverName?: string;
}

/** Everything about the Redis of `store.redis`. */
export interface RedisSettings {
  readonly place: RedisPlace;
  /** 0 in a cluster. */
  readonly database: number;
  readonly username?: string;
  readonly password?: string;
  readonly tls: RedisTls | null;
  /** All keys and channels are `{prefix}:...`, so that a cluster keeps them in one slot. */
  readonly prefix: string;
  /** How long one answer may take, in milliseconds. */
  readonly timeoutMs: number;
  /** Replicas that must have a change before it is acknowledged; 0 in a cluster. */
  readonly replicas: number;
}

/** Where it is, for people and logs: never with a password. Such as `redis://127.0.0.1:6379/0`. */
export function describePlace(settings: Pick<RedisSettings, "place" | "database" | "tls">): string {
  const { place, database } = settings;
  const scheme = settings.tls === null ? "redis" : "rediss";
  if (place.kind === "unix") return `${place.path} (database ${database})`;
  if (place.kind === "single") return `${scheme}://${nodeText(place.node)}/${database}`;
  const nodes = place.nodes.map(nodeText).join(", ");
  if (place.kind === "cluster") return `the cluster at ${nodes}`;
  return `the primary "${place.name}" of the sentinels at ${nodes}`;
}

function nodeText({ host, port }: RedisNode): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
