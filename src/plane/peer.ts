/** Who the client is: the peer's address, or what a trusted peer says about its own client. */
import { BlockList, isIP } from "node:net";
import { FIELD_STRIDE, type RequestHead } from "../http/head.ts";

/** What peers on Unix sockets are called, which have no address. */
export const UNIX_PEER = "unix";

/** Who is on the other side of a client's connection. */
export interface Peer {
  /** The socket's, or the one that a PROXY header from a trusted peer gave. */
  readonly address: string;
  /** Whether its own word about who it speaks for is believed. */
  readonly isTrusted: boolean;
}

/** The peers whose forwarding fields are believed. */
export class TrustedPeers {
  readonly #ranges = new BlockList();
  readonly #isEmpty: boolean;
  readonly #hasUnix: boolean;

  /** Takes CIDR ranges, single addresses and `unix`, all of them checked by the settings. */
  constructor(ranges: readonly string[]) {
    this.#isEmpty = ranges.length === 0;
    this.#hasUnix = ranges.includes(UNIX_PEER);
    for (const range of ranges) {
      if (range === UNIX_PEER) continue;
      const [address = "", bits] = range.split("/");
      const family = isIP(address) === 6 ? "ipv6" : "ipv4";
      if (bits === undefined) this.#ranges.addAddress(address, family);
      else this.#ranges.addSubnet(address, Number(bits), family);
    }
  }

  isTrusted(address: string): boolean {
    if (this.#isEmpty) return false;
    if (address === UNIX_PEER) return this.#hasUnix;
    const family = isIP(address);
    return family !== 0 && this.#ranges.check(address, family === 6 ? "ipv6" : "ipv4");
  }

  /**
   * The address of the client behind a trusted peer: the right-most one of X-Forwarded-For that is not itself trusted.
   * Whatever stands left of it may be invented. Gives the peer's own address when there is none.
   */
  clientAddress(head: RequestHead, peerAddress: string): string {
    const hops = forwardedFor(head);
    for (let i = hops.length - 1; i >= 0; i--) {
      const hop = hops[i] as string;
      if (isIP(hop) === 0) return peerAddress;
      if (!this.isTrusted(hop)) return hop;
    }
    return hops[0] ?? peerAddress;
  }
}

/** An address as logs and fields write it: IPv4 without the IPv6 mapping. */
export function plainAddress(address: string | undefined): string {
  if (address === undefined) return "unknown";
  return address.startsWith("::ffff:") ? address.slice(7) : address;
}

function forwardedFor(head: RequestHead): string[] {
  const { text, fields } = head;
  const hops: string[] = [];
  for (let i = 0; i < fields.length; i += FIELD_STRIDE) {
    const name = text.slice(fields[i + 1], fields[i + 2]);
    if (name.length !== 15 || name.toLowerCase() !== "x-forwarded-for") continue;
    for (const hop of text.slice(fields[i + 3], fields[i + 4]).split(",")) hops.push(hop.trim());
  }
  return hops;
}
