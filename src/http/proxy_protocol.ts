/** The PROXY protocol, versions 1 and 2: who the client of a connection is, said before its first byte. Both ways. */

/** The longest header that is read. Version 1 has at most 107 bytes, version 2 whatever fits in here with its TLVs. */
const HEADER_BYTES_MAX = 536;
const LINE_BYTES_MAX = 107;

/** Source: the PROXY protocol's specification (proxy-protocol.txt of HAProxy), section 2.2. */
const SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const LINE_START = "PROXY ";
/** Signature, command, family, length. */
const FIXED_BYTES = 16;
const COMMAND_LOCAL = 0x20;
const COMMAND_PROXY = 0x21;
const FAMILY_UNSPEC = 0x00;
const FAMILY_TCP4 = 0x11;
const FAMILY_TCP6 = 0x21;
const TCP4_BYTES = 12;
const TCP6_BYTES = 36;

const CR = 0x0d;
const LF = 0x0a;

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
/** What an address may consist of; whether it is one, the URL standard's parser says. */
const IPV6_CHARACTERS = /^[0-9A-Fa-f:.]+$/;
const PORT = /^(?:0|[1-9]\d{0,4})$/;
const PORT_MAX = 65_535;

/** One end of a connection. IPv6 addresses that stand for IPv4 ones are written as those. */
export interface Place {
  /** IPv4 or IPv6 text, the latter shortened and without brackets. */
  readonly address: string;
  readonly port: number;
}

/** A header that was read. `client` is null when it names nobody: LOCAL, UNKNOWN and UNSPEC. */
export interface ProxyHeader {
  /** How many bytes it takes; what follows belongs to the client. */
  readonly bytes: number;
  readonly client: Place | null;
}

/** The versions of the header. */
export type ProxyVersion = "v1" | "v2";

/**
 * Reads the header at the start of everything that came so far.
 *
 * Gives `more` while it is incomplete and nothing is wrong yet, and `bad` for anything that is no valid header. An
 * answer other than `more` stays the same whatever follows, so the verdict does not depend on the pieces that the
 * bytes come in. The caller never holds more than HEADER_BYTES_MAX bytes before there is one.
 */
export function readProxyHeader(bytes: Buffer): ProxyHeader | "more" | "bad" {
  if (bytes.length === 0) return "more";
  return bytes[0] === SIGNATURE[0] ? readBinary(bytes) : readLine(bytes);
}

/**
 * Writes a header that says who the client is and where it was going.
 *
 * A client without an IP address, such as one on a Unix socket, is written as unknown. Two families are written as
 * IPv6, with the IPv4 address mapped.
 */
export function writeProxyHeader(version: ProxyVersion, client: Place, destination: Place): Buffer {
  // The zone of a link-local address means something on this machine only.
  const from = addressBytes(client.address.replace(/%.*$/, ""));
  const to = addressBytes(destination.address.replace(/%.*$/, ""));
  if (from === null || to === null) return version === "v1" ? UNKNOWN_LINE : UNSPEC_HEADER;
  const isV4 = from.length === 4 && to.length === 4;
  const [source, target] = isV4 ? [from, to] : [mapped(from), mapped(to)];
  if (version === "v1") {
    const family = isV4 ? "TCP4" : "TCP6";
    const places = `${addressText(source, true)} ${addressText(target, true)}`;
    return Buffer.from(`${LINE_START}${family} ${places} ${client.port} ${destination.port}\r\n`, "latin1");
  }
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(client.port, 0);
  ports.writeUInt16BE(destination.port, 2);
  return binaryHeader(isV4 ? FAMILY_TCP4 : FAMILY_TCP6, Buffer.concat([source, target, ports]));
}

const UNKNOWN_LINE = Buffer.from(`${LINE_START}UNKNOWN\r\n`, "latin1");
const UNSPEC_HEADER = binaryHeader(FAMILY_UNSPEC, Buffer.alloc(0));

function binaryHeader(family: number, block: Buffer): Buffer {
  const fixed = Buffer.alloc(FIXED_BYTES);
  SIGNATURE.copy(fixed);
  fixed[12] = COMMAND_PROXY;
  fixed[13] = family;
  fixed.writeUInt16BE(block.length, 14);
  return Buffer.concat([fixed, block]);
}

function readLine(bytes: Buffer): ProxyHeader | "more" | "bad" {
  const end = Math.min(bytes.length, LINE_BYTES_MAX);
  for (let at = 0; at < end; at++) {
    const byte = bytes[at] as number;
    if (at < LINE_START.length && byte !== LINE_START.charCodeAt(at)) return "bad";
    if (byte >= 0x20 && byte <= 0x7e) continue;
    // Anything but the line's end has no place in it, a line feed alone neither.
    if (byte !== CR || at + 1 === LINE_BYTES_MAX) return "bad";
    if (at + 1 === bytes.length) return "more";
    if (bytes[at + 1] !== LF) return "bad";
    return readWords(bytes.toString("latin1", LINE_START.length, at), at + 2);
  }
  return bytes.length >= LINE_BYTES_MAX ? "bad" : "more";
}

function readWords(text: string, bytes: number): ProxyHeader | "bad" {
  const words = text.split(" ");
  const [family, source = "", destination = "", sourcePort = "", destinationPort = ""] = words;
  // Whatever follows UNKNOWN is to be passed over.
  if (family === "UNKNOWN") return { bytes, client: null };
  if (words.length !== 5 || !isPort(sourcePort) || !isPort(destinationPort)) return "bad";
  const isAddress = family === "TCP4" ? isV4Text : family === "TCP6" ? isV6Text : null;
  if (isAddress === null || !isAddress(source) || !isAddress(destination)) return "bad";
  const address = addressText(addressBytes(source) as Buffer, false);
  return { bytes, client: { address, port: Number(sourcePort) } };
}

function isPort(text: string): boolean {
  return PORT.test(text) && Number(text) <= PORT_MAX;
}

function isV4Text(text: string): boolean {
  return IPV4.test(text);
}

function isV6Text(text: string): boolean {
  return text.includes(":") && addressBytes(text) !== null;
}

function readBinary(bytes: Buffer): ProxyHeader | "more" | "bad" {
  const known = Math.min(bytes.length, SIGNATURE.length);
  if (bytes.compare(SIGNATURE, 0, known, 0, known) !== 0) return "bad";
  const command = bytes[12];
  const family = bytes[13];
  if (command !== undefined && command !== COMMAND_LOCAL && command !== COMMAND_PROXY) return "bad";
  // A connection of the proxy's own: its family means nothing.
  const isLocal = command === COMMAND_LOCAL;
  const least = family === undefined || isLocal ? 0 : leastBytes(family);
  if (least === null) return "bad";
  if (bytes.length < FIXED_BYTES) return "more";
  const length = FIXED_BYTES + bytes.readUInt16BE(14);
  if (length > HEADER_BYTES_MAX || length < FIXED_BYTES + least) return "bad";
  if (bytes.length < length) return "more";
  if (isLocal || least === 0) return { bytes: length, client: null };
  const size = family === FAMILY_TCP4 ? 4 : 16;
  const address = addressText(bytes.subarray(FIXED_BYTES, FIXED_BYTES + size), false);
  return { bytes: length, client: { address, port: bytes.readUInt16BE(FIXED_BYTES + 2 * size) } };
}

/** How long the addresses of a family are; null for families that no HTTP client can be of. */
function leastBytes(family: number): number | null {
  switch (family) {
    case FAMILY_UNSPEC:
      return 0;
    case FAMILY_TCP4:
      return TCP4_BYTES;
    case FAMILY_TCP6:
      return TCP6_BYTES;
    default:
      return null;
  }
}

/** The 4 or 16 bytes of an address, or null when the text is none. */
function addressBytes(text: string): Buffer | null {
  if (isV4Text(text)) return Buffer.from(text.split(".").map(Number));
  const url = IPV6_CHARACTERS.test(text) ? URL.parse(`http://[${text}]/`) : null;
  if (url === null) return null;
  const [left = "", right] = url.hostname.slice(1, -1).split("::");
  const head = left === "" ? [] : left.split(":");
  const tail = right === undefined || right === "" ? [] : right.split(":");
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => "0");
  const groups = [...head, ...zeros, ...tail].map((group) => Number.parseInt(group, 16));
  return Buffer.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

const MAPPED = Buffer.from("00000000000000000000ffff", "hex");

function mapped(address: Buffer): Buffer {
  return address.length === 4 ? Buffer.concat([MAPPED, address]) : address;
}

/** `keepsMapped`: an IPv4 address in IPv6 form stays one. */
function addressText(address: Buffer, keepsMapped: boolean): string {
  if (address.length === 4) return address.join(".");
  const isMapped = address.subarray(0, MAPPED.length).equals(MAPPED);
  if (isMapped) return `${keepsMapped ? "::ffff:" : ""}${address.subarray(MAPPED.length).join(".")}`;
  const groups = Array.from({ length: 8 }, (_, at) => address.readUInt16BE(2 * at).toString(16));
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}
