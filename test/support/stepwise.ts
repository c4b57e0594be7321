/** A backend that a test takes through a request step by step: it reads so many bytes, says so much, and then fails. */
import { Socket, createServer, type AddressInfo, type Server, type SocketConstructorOpts } from "node:net";

/** Reads are this small, so that a backend can stop in the middle of a head. */
const PIECE_BYTES = 32;

/** The answer to a request that fails at no point. */
export function answerTo(request: string): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${request.startsWith("HEAD ") ? "" : "ok"}`;
}

/** One connection. It answers requests by itself until it is taken in hand. */
export class StepConnection {
  /** Everything read so far, one character a byte. */
  received = "";
  /** Whether the other side ended or closed it. */
  isEnded = false;
  readonly #socket: Socket;
  #isInHand: boolean;
  #answered = 0;

  constructor(accepted: Socket, isInHand: boolean) {
    this.#isInHand = isInHand;
    // Only a socket built around the handle can be given a small buffer of its own.
    const options = {
      handle: Reflect.get(accepted, "_handle") as unknown,
      allowHalfOpen: true,
      pauseOnCreate: isInHand,
      onread: {
        buffer: Buffer.alloc(PIECE_BYTES),
        callback: (length: number, bytes: Uint8Array): boolean => {
          this.#onRead(Buffer.from(bytes.buffer, 0, length).toString("latin1"));
          return !this.#isInHand;
        },
      },
    };
    this.#socket = new Socket(options as SocketConstructorOpts);
    this.#socket.on("end", () => (this.isEnded = true));
    this.#socket.on("close", () => (this.isEnded = true));
    this.#socket.on("error", () => (this.isEnded = true));
    if (!isInHand) this.#socket.resume();
  }

  /** Stops reading and answering; from here on the test says what happens. */
  takeInHand(): void {
    this.#isInHand = true;
    this.#socket.pause();
  }

  /** Reads one small piece. */
  readPiece(): void {
    this.#socket.resume();
  }

  /** Reads whatever comes, and still answers nothing. */
  readOn(): void {
    this.#socket.resume();
  }

  say(text: string): void {
    this.#socket.write(text, "latin1");
  }

  /** Ends its half of the connection. */
  finish(): void {
    this.#socket.end();
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #onRead(piece: string): void {
    this.received += piece;
    if (this.#isInHand) return;
    const complete = completeRequests(this.received);
    for (; this.#answered < complete.length; this.#answered++)
      this.say(answerTo(complete[this.#answered]?.head ?? ""));
  }
}

/** A backend made of such connections. */
export class StepBackend {
  readonly connections: StepConnection[] = [];
  /** Whether the next connection is in the test's hand from its first byte on. */
  takesNext = false;
  readonly #server: Server;

  constructor() {
    const options = { pauseOnConnect: true, allowHalfOpen: true, noDelay: true };
    this.#server = createServer(options, (socket) => {
      this.connections.push(new StepConnection(socket, this.takesNext));
      this.takesNext = false;
    });
  }

  /** How often a text was read, over all connections. */
  count(text: string): number {
    return this.connections.reduce((sum, one) => sum + one.received.split(text).length - 1, 0);
  }

  listen(): Promise<number> {
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => resolve((this.#server.address() as AddressInfo).port));
    });
  }

  close(): void {
    for (const connection of this.connections) connection.destroy();
    this.#server.close();
  }
}

/** A message as its receiver understands it. `rest`: what follows it. */
export interface Message {
  readonly head: string;
  readonly body: string;
  readonly rest: string;
}

/** The complete requests at the start of a text. */
function completeRequests(text: string): Message[] {
  const found: Message[] = [];
  for (let message = readMessage(text, false); message !== null; message = readMessage(message.rest, false))
    found.push(message);
  return found;
}

/**
 * The first message of a text, or null while it is not complete. Framed by length or by chunks; anything else has no
 * body. Written anew here, so that a test does not ask the code it tests.
 */
export function readMessage(text: string, isBodiless: boolean): Message | null {
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) return null;
  const head = text.slice(0, end + 4);
  const after = text.slice(end + 4);
  if (isBodiless) return { head, body: "", rest: after };
  if (/^transfer-encoding: chunked\r$/im.test(head)) return readChunks(head, after);
  const length = Number(/^content-length: (\d+)\r$/im.exec(head)?.[1] ?? 0);
  return after.length < length ? null : { head, body: after.slice(0, length), rest: after.slice(length) };
}

function readChunks(head: string, after: string): Message | null {
  let rest = after;
  let body = "";
  for (;;) {
    const line = /^([0-9a-f]+)\r\n/i.exec(rest);
    if (line === null) return null;
    const size = Number.parseInt(line[1] as string, 16);
    const start = line[0].length;
    const end = start + size;
    if (rest.length < end + 2) return null;
    if (rest.slice(end, end + 2) !== "\r\n") throw new Error(`a chunk ends wrongly: ${JSON.stringify(rest)}`);
    body += rest.slice(start, end);
    rest = rest.slice(end + 2);
    if (size === 0) return { head, body, rest };
  }
}
