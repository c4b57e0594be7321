/** What is asked of every contender: the requests, over how many connections, and what must come back. */
import { PAGES, type Page } from "./backend.ts";

/** One kind of load. */
export interface Workload {
  readonly name: string;
  readonly connections: number;
  /** Every request on a connection of its own. */
  readonly connectsEach: boolean;
  /** Requests a second, at equal intervals; 0 for the next one after each answer. */
  readonly perSecond: number;
  /** The request of a client: clients differ in the cookie by which they are split. */
  request(client: number): Buffer;
  readonly page: Page;
}

const CLIENTS = 64;
const POST_BYTES = 16 * 1024;
const COOKIE_BYTES = 2 * 1024;
/** With Host and Cookie: as many as Crossfade takes. */
const MORE_FIELDS = 98;

interface Parts {
  readonly method?: string;
  readonly page: Page;
  /** Complete field lines. */
  readonly fields?: string;
  /** Stands in the Cookie field before the client's own. */
  readonly cookies?: string;
  readonly isLast?: boolean;
  readonly bodyBytes?: number;
}

function requestOf(parts: Parts, client: number): Buffer {
  const { method = "GET", page, fields = "", cookies = "", isLast = false, bodyBytes = 0 } = parts;
  const length = bodyBytes === 0 ? "" : `Content-Length: ${bodyBytes}\r\n`;
  const close = isLast ? "Connection: close\r\n" : "";
  return Buffer.from(
    `${method} /r137/${page} HTTP/1.1\r\nHost: shop.example.com\r\n${close}${length}${fields}` +
      `Cookie: ${cookies}uid=client-${client}\r\n\r\n${"x".repeat(bodyBytes)}`,
    "latin1",
  );
}

/** What a browser or a library sends with every request. */
const USUAL_FIELDS =
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64) bench\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\n";

const MANY_FIELDS = Array.from(
  { length: MORE_FIELDS },
  (_, at) => `X-Field-${at}: value ${at} of a request with many fields\r\n`,
).join("");

const MANY_COOKIES = Array.from(
  { length: COOKIE_BYTES / 32 },
  (_, at) => `cookie-${String(at).padStart(3, "0")}=0123456789abcdef01; `,
).join("");

function workload(name: string, parts: Parts, load: Partial<Workload> = {}): Workload {
  const usual = { fields: USUAL_FIELDS, ...parts };
  const requests = new Map<number, Buffer>();
  return {
    name,
    connections: CLIENTS,
    connectsEach: false,
    perSecond: 0,
    page: parts.page,
    request: (client) => requests.getOrInsertComputed(client, () => requestOf(usual, client)),
    ...load,
  };
}

/** A small GET over 64 kept-alive connections: what everything else is compared with. */
export const SMALL: Workload = workload("small GET", { page: "small" });

/** Mirrors are measured at a rate that leaves time: Crossfade gives up copies when it is busy. */
const MIRRORED_PER_SECOND = 4_000;

/** The workloads that every contender takes. */
export const PLAIN_WORKLOADS: readonly Workload[] = [
  SMALL,
  workload("new connection each", { page: "small", isLast: true }, { connectsEach: true }),
  workload("16 KB POST", { method: "POST", page: "small", bodyBytes: POST_BYTES }),
  workload("64 KB response", { page: "64k" }),
  workload("1 MB response", { page: "1m" }, { connections: 16 }),
  workload("100 headers", { page: "small", fields: MANY_FIELDS }),
  workload("2 KB of cookies", { page: "small", cookies: MANY_COOKIES }),
  workload("1,000 connections", { page: "small" }, { connections: 1_000 }),
  workload("chunked streaming", { page: "stream" }),
];

/** The small GET under a name of its own, for contenders that are set up otherwise. */
export function smallAs(name: string, load: Partial<Workload> = {}): Workload {
  return { ...SMALL, name, ...load };
}

/** The small GET at the rate of mirrors. */
export function mirrored(name: string): Workload {
  return smallAs(name, { perSecond: MIRRORED_PER_SECOND });
}

/** The bytes of the body that a right answer has at least; with the framing of chunks there are some more. */
export function expectedBytes({ page }: Workload): number {
  return PAGES[page].bytes;
}
