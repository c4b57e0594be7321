/** The access log: one line a request, written in the background, dropped and counted when the reader is too slow. */
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
}

/** Lines are written in pieces of this size: a pipe takes so much at once, so workers do not mix their lines. */
const WRITE_BYTES_MAX = 4096;
/** Waiting bytes over this are dropped, line by line. */
const BUFFER_BYTES_MAX = 1024 * 1024;
const FLUSH_MS = 200;
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

  /** Takes new options at any time; lines already written still go where they went. */
  configure(options: AccessLogOptions): void {
    const isSame = this.#options.path === options.path && this.#options.format !== "off";
    this.#options = options;
    if (isSame && options.format !== "off") return;
    this.#destination?.end();
    this.#destination = options.format === "off" ? null : this.#open(options.path);
  }

  /** Writes a line if the sample takes it. Server errors are always taken. */
  write(record: AccessRecord): void {
    const { format, samplePercent } = this.#options;
    if (this.#destination === null) return;
    if (samplePercent < 100 && record.status < SERVER_ERROR && this.#draw(100) >= samplePercent) return;
    this.#destination.write(format === "json" ? jsonLine(record) : combinedLine(record));
  }

  /** Writes what waits, before the worker ends. */
  close(): void {
    this.#destination?.flushSync();
    this.#destination = null;
  }

  #open(path: string | undefined): Destination {
    const destination = pino.destination({
      ...(path === undefined ? { fd: 1 } : { dest: path, mkdir: true }),
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
  const attempts = record.attempts > 1 ? `,"attempts":${record.attempts}` : "";
  return (
    `{"time":"${new Date(record.atMs).toISOString()}","client":"${record.client}","method":"${record.method}",` +
    `"host":${quoted(record.host)},"path":${quoted(record.path)},"status":${record.status},` +
    `"route":"${record.route}","backend":"${record.backend}","endpoint":"${record.endpoint}",` +
    `"duration_ms":${record.durationMs.toFixed(3)},"bytes":${record.bytes},"request_id":${quoted(record.requestId)},` +
    `"revision":${record.revision}${attempts}${fault}}\n`
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
