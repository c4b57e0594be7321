/** The access log: one line a request, written in the background, dropped and counted when the reader is too slow. */
import { fstatSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import pino from "pino";
import type { FaultCode } from "../base/fault.ts";
import type { AccessLogOptions } from "../shared/messages.ts";

/** Everything that a line says. */
export interface AccessRecord {
  /** Unix time of the end of the request in milliseconds. */
  readonly atMs: number;
  readonly client: string;
  readonly method: string;
  readonly host: string;
  /** Without the query, which may hold secrets. */
  readonly path: string;
  readonly minor: 0 | 1;
  readonly status: number;
  readonly route: string;
  readonly backend: string;
  /** The endpoint that answered last, or empty. */
  readonly endpoint: string;
  readonly durationMs: number;
  /** Bytes of the response body that were handed to the client's connection. */
  readonly bytes: number;
  readonly requestId: string;
  readonly fault: FaultCode | null;
  readonly attempts: number;
  readonly revision: number;
  /** How a request began that could not be understood; at most EXCERPT_BYTES, one character a byte. */
  readonly excerpt?: string;
}

/** So much of a request that was not understood is logged. */
export const EXCERPT_BYTES = 256;

/** Lines are written in pieces of this size: a pipe takes so much at once, so workers do not mix their lines. */
const PIPE_BYTES_MAX = 4096;
/** A file takes any piece at once, and every write costs a switch to another thread and back. */
const FILE_BYTES_MAX = 128 * 1024;
/** Of a unit of a string UTF-8 makes so many bytes at most. */
const UTF8_BYTES_MAX = 3;
/** Waiting bytes over this are dropped, line by line. */
const BUFFER_BYTES_MAX = 1024 * 1024;
const FLUSH_MS = 200;
const STANDARD_OUTPUT = 1;
const LF = 0x0a;
const SERVER_ERROR = 500;

type Destination = Omit<ReturnType<typeof pino.destination>, "write"> & { write(piece: Buffer): boolean };

/** Writes the access log of one worker. Never waits and never throws. */
export class AccessLog {
  /** Lines that were not written because the reader was too slow. */
  dropped = 0;
  #options: AccessLogOptions = { format: "off", samplePercent: 100 };
  #destination: Destination | null = null;
  /** Lines wait here for a piece to be full, or for its time to be over. */
  #slab = Buffer.alloc(0);
  #pieceAt = 0;
  #lineAt = 0;
  #pieceEnd = 0;
  #pieceBytesMax = PIPE_BYTES_MAX;
  #timer: NodeJS.Timeout | undefined;
  readonly #time = new IsoTime();
  readonly #places = new Places();
  readonly #draw: (below: number) => number;

  /** `draw` chooses the lines of a sample. */
  constructor(draw: (below: number) => number) {
    this.#draw = draw;
  }

  /**
   * Takes new options at any time; lines already written still go where they went.
   *
   * Gives why the file cannot be opened, or null. Without it requests go on, and their lines count as dropped.
   */
  configure(options: AccessLogOptions): string | null {
    const isSame = this.#options.path === options.path && this.#destination !== null;
    this.#options = options;
    if (isSame && options.format !== "off") return null;
    clearInterval(this.#timer);
    this.#flush();
    this.#destination?.end();
    this.#destination = null;
    if (options.format === "off") return null;
    try {
      this.#destination = this.#open(options.path);
      this.#timer = setInterval(() => this.#flush(), FLUSH_MS).unref();
      return null;
    } catch (error) {
      return `the access log cannot be opened: ${String(error)}`;
    }
  }

  /** Writes a line if the sample takes it. Server errors are always taken. */
  write(record: AccessRecord): void {
    const { format, samplePercent } = this.#options;
    if (format === "off") return;
    if (samplePercent < 100 && record.status < SERVER_ERROR && this.#draw(100) >= samplePercent) return;
    if (this.#destination === null) this.dropped++;
    else if (format === "combined") this.#add(combinedLine(record));
    else this.#add(jsonLine(record, this.#time.textOf(record.atMs), this.#places.textOf(record)));
  }

  /** Writes what waits, before the worker ends. */
  close(): void {
    clearInterval(this.#timer);
    this.#flush();
    this.#destination?.flushSync();
    this.#destination = null;
  }

  /** Encodes the line where it is written from: pieces of text would be copied again and again on their way out. */
  #add(line: string): void {
    if (this.#pieceEnd - this.#lineAt < line.length * UTF8_BYTES_MAX) this.#makeRoom(line);
    this.#lineAt += this.#slab.write(line, this.#lineAt, "utf8");
  }

  #makeRoom(line: string): void {
    const bytes = Buffer.byteLength(line);
    if (this.#pieceEnd - this.#lineAt >= bytes) return;
    this.#flush();
    if (this.#pieceEnd - this.#lineAt >= bytes) return;
    this.#slab = Buffer.allocUnsafeSlow(Math.max(bytes, FILE_BYTES_MAX));
    this.#beginPiece(0, bytes);
  }

  /** A line that is longer than a piece is a piece of its own. */
  #beginPiece(at: number, bytesMin = 0): void {
    this.#pieceAt = at;
    this.#lineAt = at;
    this.#pieceEnd = Math.min(this.#slab.length, at + Math.max(bytesMin, this.#pieceBytesMax));
  }

  #flush(): void {
    if (this.#lineAt === this.#pieceAt) return;
    this.#destination?.write(this.#slab.subarray(this.#pieceAt, this.#lineAt));
    // What was handed over is read later: the next piece is further on.
    this.#beginPiece(this.#lineAt);
  }

  #open(path: string | undefined): Destination {
    // Opened here and not by the library, which would throw from a timer when it fails.
    if (path !== undefined) mkdirSync(dirname(path), { recursive: true });
    const fd = path === undefined ? STANDARD_OUTPUT : openSync(path, "a");
    this.#pieceBytesMax = fstatSync(fd).isFile() ? FILE_BYTES_MAX : PIPE_BYTES_MAX;
    this.#beginPiece(this.#lineAt);
    const destination = pino.destination({
      fd,
      sync: false,
      // Every piece is written at once, and pieces that had to wait are not joined to larger ones.
      minLength: 0,
      maxWrite: this.#pieceBytesMax,
      maxLength: BUFFER_BYTES_MAX,
      contentMode: "buffer",
    }) as unknown as Destination;
    destination.on("drop", (piece: Buffer) => {
      this.dropped += piece.reduce((lines, byte) => (byte === LF ? lines + 1 : lines), 0);
    });
    // A log whose reader has gone must not end the worker; what it loses is counted.
    destination.on("error", (error: Error) => {
      this.dropped += error.message === "" ? 0 : 1;
    });
    return destination;
  }
}

/** What three digits can say. */
const THOUSANDTHS: readonly string[] = Array.from({ length: 1000 }, (_, rest) =>
  String(rest).padStart(3, "0"),
);

/** Times as ISO 8601 writes them. What changes seldom is kept: to write all of it anew takes a microsecond. */
class IsoTime {
  #ms = Number.NaN;
  #text = "";
  #second = Number.NaN;
  /** Up to the dot. */
  #start = "";

  /** Takes Unix time in whole milliseconds. */
  textOf(atMs: number): string {
    if (atMs === this.#ms) return this.#text;
    this.#ms = atMs;
    const second = Math.floor(atMs / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#start = new Date(second * 1000).toISOString().slice(0, -"000Z".length);
    }
    this.#text = `${this.#start}${THOUSANDTHS[atMs - second * 1000]}Z`;
    return this.#text;
  }
}

/** A number that is not negative with three digits after the dot: several times as fast as toFixed. */
function inThousandths(value: number): string {
  const thousandths = Math.round(value * 1000);
  const whole = Math.floor(thousandths / 1000);
  return `${whole}.${THOUSANDTHS[thousandths - whole * 1000]}`;
}

const PLACES_MAX = 8;

/** What lines say of a route, its backend and the endpoint: the same again and again, so that the last are kept. */
class Places {
  readonly #kept: { route: string; backend: string; endpoint: string; text: string }[] = [];
  #next = 0;

  textOf({ route, backend, endpoint }: AccessRecord): string {
    for (const one of this.#kept) {
      if (one.backend === backend && one.endpoint === endpoint && one.route === route) return one.text;
    }
    const text = `"route":"${route}","backend":"${backend}","endpoint":"${endpoint}"`;
    this.#kept[this.#next] = { route, backend, endpoint, text };
    this.#next = (this.#next + 1) % PLACES_MAX;
    return text;
  }
}

/** `time` and `place`: when and where, as text. */
function jsonLine(record: AccessRecord, time: string, place: string): string {
  const fault = record.fault === null ? "" : `,"fault":"${record.fault}"`;
  const excerpt = record.excerpt === undefined ? "" : `,"excerpt":${quoted(record.excerpt)}`;
  const attempts = record.attempts > 1 ? `,"attempts":${record.attempts}` : "";
  return (
    `{"time":"${time}","client":"${record.client}","method":"${record.method}",` +
    `"host":${quoted(record.host)},"path":${quoted(record.path)},"status":${record.status},` +
    `${place},"duration_ms":${inThousandths(record.durationMs)},"bytes":${record.bytes},` +
    `"request_id":${quoted(record.requestId)},"revision":${record.revision}${attempts}${fault}${excerpt}}\n`
  );
}

/** The combined format of web servers, with the fields that Crossfade does not log as dashes. */
function combinedLine(record: AccessRecord): string {
  const utc = new Date(record.atMs).toUTCString();
  const time = `${utc.slice(5, 7)}/${utc.slice(8, 11)}/${utc.slice(12, 16)}:${utc.slice(17, 25)} +0000`;
  const line = `${record.method} ${record.path} HTTP/1.${record.minor}`;
  return `${record.client} - - [${time}] "${line}" ${record.status} ${record.bytes} "-" "-"\n`;
}

const PLAIN = /^[\x20-\x21\x23-\x5b\x5d-\x7e]*$/;

/** A JSON string. Most values need no escapes, which is cheaper to see than to escape. */
function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}
