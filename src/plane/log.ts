/** The access log: one line a request, written in the background, dropped and counted when the reader is too slow. */
import { mkdirSync, openSync } from "node:fs";
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
const WRITE_BYTES_MAX = 4096;
/** Waiting bytes over this are dropped, line by line. */
const BUFFER_BYTES_MAX = 1024 * 1024;
const FLUSH_MS = 200;
const STANDARD_OUTPUT = 1;
const SERVER_ERROR = 500;

type Destination = ReturnType<typeof pino.destination>;

/** Writes the access log of one worker. Never waits and never throws. */
export class AccessLog {
  /** Lines that were not written because the reader was too slow. */
  dropped = 0;
  #options: AccessLogOptions = { format: "off", samplePercent: 100 };
  #destination: Destination | null = null;
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
    this.#destination?.end();
    this.#destination = null;
    if (options.format === "off") return null;
    try {
      this.#destination = this.#open(options.path);
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
    else this.#destination.write(format === "json" ? jsonLine(record) : combinedLine(record));
  }

  /** Writes what waits, before the worker ends. */
  close(): void {
    this.#destination?.flushSync();
    this.#destination = null;
  }

  #open(path: string | undefined): Destination {
    // Opened here and not by the library, which would throw from a timer when it fails.
    if (path !== undefined) mkdirSync(dirname(path), { recursive: true });
    const destination = pino.destination({
      fd: path === undefined ? STANDARD_OUTPUT : openSync(path, "a"),
      sync: false,
      minLength: WRITE_BYTES_MAX - 1024,
      maxWrite: WRITE_BYTES_MAX,
      maxLength: BUFFER_BYTES_MAX,
      periodicFlush: FLUSH_MS,
    });
    destination.on("drop", () => {
      this.dropped++;
    });
    // A log whose reader has gone must not end the worker; what it loses is counted.
    destination.on("error", (error: Error) => {
      this.dropped += error.message === "" ? 0 : 1;
    });
    return destination;
  }
}

function jsonLine(record: AccessRecord): string {
  const fault = record.fault === null ? "" : `,"fault":"${record.fault}"`;
  const excerpt = record.excerpt === undefined ? "" : `,"excerpt":${quoted(record.excerpt)}`;
  const attempts = record.attempts > 1 ? `,"attempts":${record.attempts}` : "";
  return (
    `{"time":"${new Date(record.atMs).toISOString()}","client":"${record.client}","method":"${record.method}",` +
    `"host":${quoted(record.host)},"path":${quoted(record.path)},"status":${record.status},` +
    `"route":"${record.route}","backend":"${record.backend}","endpoint":"${record.endpoint}",` +
    `"duration_ms":${record.durationMs.toFixed(3)},"bytes":${record.bytes},"request_id":${quoted(record.requestId)},` +
    `"revision":${record.revision}${attempts}${fault}${excerpt}}\n`
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
