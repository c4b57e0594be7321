/** Node's own strict parser, asked what it makes of bytes: a second opinion on requests. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Duplex } from "node:stream";

/** One complete request as Node understood it. */
export interface NodeRequest {
  readonly method: string;
  /** As it came. */
  readonly url: string;
  /** One character a byte. */
  readonly body: string;
  /** It asks for another protocol. */
  readonly isUpgrade: boolean;
}

/** Turns of the event loop after which Node has certainly said what it thinks. */
const TURNS_MAX = 10_000;
/** Large enough that only the grammar decides. */
const HEADER_BYTES_MAX = 1024 * 1024;

/** A connection made of memory: it brings what the test says, and what is answered goes nowhere. */
class Line extends Duplex {
  override _read(): void {}

  override _write(_bytes: Buffer, _encoding: string, done: () => void): void {
    done();
  }
}

/** The complete requests that Node finds in these bytes, up to its first objection. All bytes arrive at once. */
export async function askNode(text: string): Promise<NodeRequest[]> {
  const found: { request: IncomingMessage; body: string; isRead: boolean }[] = [];
  let isOver = false;
  const server = createServer({ maxHeaderSize: HEADER_BYTES_MAX, insecureHTTPParser: false });
  const take = (request: IncomingMessage, response: ServerResponse): void => {
    const one = { request, body: "", isRead: false };
    found.push(one);
    request.on("data", (bytes: Buffer) => (one.body += bytes.toString("latin1")));
    request.on("error", () => (one.isRead = true));
    request.on("end", () => {
      one.isRead = true;
      response.end();
    });
  };
  server.on("request", take);
  server.on("checkContinue", take);
  server.on("clientError", () => (isOver = true));
  const line = new Line();
  for (const event of ["end", "close"]) line.on(event, () => (isOver = true));
  server.emit("connection", line);
  line.push(text, "latin1");
  line.push(null);
  const isPending = (): boolean =>
    !isOver || found.some(({ request, isRead }) => request.complete && !isRead);
  for (let turn = 0; isPending() && turn < TURNS_MAX; turn++) await new Promise(setImmediate);
  line.destroy();
  return found
    .filter(({ request }) => request.complete)
    .map(({ request, body }) => {
      const isUpgrade = request.headers.upgrade !== undefined;
      return { method: request.method ?? "", url: request.url ?? "", body, isUpgrade };
    });
}
