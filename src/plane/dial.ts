/** Opening a connection to an endpoint: over TCP or a Unix socket, with its name resolved and its PROXY header sent. */
import { connect, isIP, type LookupFunction, type OnReadOpts, type Socket } from "node:net";
import type { Endpoint } from "../domain/route.ts";
import { writeProxyHeader, type Place, type ProxyVersion } from "../http/proxy_protocol.ts";
import type { Resolver } from "./resolver.ts";

/** Where a connection goes, and whose it is. */
export interface Target {
  readonly endpoint: Endpoint;
  /** How long opening may take. */
  readonly connectMs: number;
  /** The one client that it serves and that its header names, or null when it serves everybody. */
  readonly client: { readonly address: string; readonly version: ProxyVersion } | null;
}

/** Of the time to connect, one address of several may take this part before the next one is tried. */
const ADDRESS_PART = 4;
/** The least that the operating system's timers are asked for. */
const ADDRESS_MS_MIN = 10;

/** Where a connection to a Unix socket goes, for headers that have no words for it. */
const NOWHERE: Place = { address: "0.0.0.0", port: 0 };

/** The name behind an endpoint, or null when there is nothing to resolve. */
export function nameOf(endpoint: Endpoint): string | null {
  return "path" in endpoint || isIP(endpoint.host) !== 0 ? null : endpoint.host;
}

/** Begins to open a connection. The addresses of a name are tried in turn until one accepts. */
export function dial(target: Target, resolver: Resolver, onread: OnReadOpts): Socket {
  const { endpoint, client, connectMs } = target;
  const socket =
    "path" in endpoint
      ? connect({ path: endpoint.path, onread })
      : connect({
          host: endpoint.host,
          port: endpoint.port,
          noDelay: true,
          onread,
          lookup: lookupBy(resolver),
          autoSelectFamily: true,
          autoSelectFamilyAttemptTimeout: Math.max(ADDRESS_MS_MIN, Math.ceil(connectMs / ADDRESS_PART)),
        });
  if (client !== null) {
    // The first to hear of the connection, so that nothing is written before the header.
    socket.once("connect", () => {
      // A port would be that of one of the client's connections, and this one may serve several of them.
      const from: Place = { address: client.address, port: 0 };
      const { remoteAddress, remotePort } = socket;
      const to = remoteAddress === undefined ? NOWHERE : { address: remoteAddress, port: remotePort ?? 0 };
      socket.write(writeProxyHeader(client.version, from, to));
    });
  }
  return socket;
}

function lookupBy(resolver: Resolver): LookupFunction {
  return (host, _options, callback) => {
    resolver.find(host, (addresses, error) => {
      const found = addresses.map((address) => ({ address, family: isIP(address) }));
      callback(error === null ? null : new NameFault(host, error), found);
    });
  };
}

/** The name of an endpoint has no address. Reaches the socket's owner as its error. */
export class NameFault extends Error {
  constructor(host: string, cause: Error) {
    super(`${host}: ${cause.message}`, { cause });
    this.name = "NameFault";
  }
}
