/** A WebSocket echo server for tests, small enough to be checked by eye. Source: RFC 6455. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const OPCODE = { TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

interface Frame {
  readonly isFinal: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
  /** Bytes that the frame took. */
  readonly length: number;
}

/** Echoes text and binary messages and closes with the code it is closed with. */
export class EchoServer {
  /** Connections that are open now. */
  readonly open = new Set<Duplex>();
  readonly #server: Server;

  constructor() {
    this.#server = createServer((_, response) => response.writeHead(200).end("not a WebSocket"));
    this.#server.on("upgrade", (request, socket, head) => {
      if (request.url === "/refuse") {
        socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        return;
      }
      this.open.add(socket);
      socket.on("close", () => this.open.delete(socket));
      echo(request, socket, head);
    });
  }

  listen(): Promise<number> {
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => resolve((this.#server.address() as AddressInfo).port));
    });
  }

  close(): Promise<void> {
    for (const socket of this.open) socket.destroy();
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

/** Agrees to a WebSocket and echoes its messages, each after `delayMs`. */
export function echo(request: IncomingMessage, socket: Duplex, head: Buffer, delayMs = 0): void {
  const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}${GUID}`).digest("base64");
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      `Sec-WebSocket-Accept: ${accept}\r\nX-Seen-Connection: ${request.headers.connection}\r\n\r\n`,
  );
  const answer = (frame: Buffer): void => {
    if (delayMs === 0) socket.write(frame);
    else setTimeout(() => socket.writable && socket.write(frame), delayMs);
  };
  let rest = head;
  let message: Buffer[] = [];
  let kind = 0;
  const read = (bytes: Buffer): void => {
    rest = Buffer.concat([rest, bytes]);
    for (let frame = readFrame(rest); frame !== null; frame = readFrame(rest)) {
      rest = rest.subarray(frame.length);
      if (frame.opcode === OPCODE.CLOSE) {
        socket.end(writeFrame(OPCODE.CLOSE, frame.payload));
        return;
      }
      if (frame.opcode === OPCODE.PING) socket.write(writeFrame(OPCODE.PONG, frame.payload));
      if (frame.opcode > OPCODE.BINARY) continue;
      kind ||= frame.opcode;
      message.push(frame.payload);
      if (!frame.isFinal) continue;
      answer(writeFrame(kind, Buffer.concat(message)));
      message = [];
      kind = 0;
    }
  };
  socket.on("data", read);
  socket.on("end", () => socket.end());
  socket.on("error", () => socket.destroy());
  read(Buffer.alloc(0));
}

function readFrame(bytes: Buffer): Frame | null {
  if (bytes.length < 6) return null;
  const short = (bytes[1] as number) & 0x7f;
  const extra = short === 127 ? 8 : short === 126 ? 2 : 0;
  const start = 2 + extra + 4;
  if (bytes.length < start) return null;
  let size = short;
  if (extra === 2) size = bytes.readUInt16BE(2);
  if (extra === 8) size = Number(bytes.readBigUInt64BE(2));
  if (bytes.length < start + size) return null;
  const mask = bytes.subarray(start - 4, start);
  const payload = Buffer.from(bytes.subarray(start, start + size));
  for (let i = 0; i < size; i++) payload[i] = (payload[i] as number) ^ (mask[i % 4] as number);
  const first = bytes[0] as number;
  return { isFinal: first >= 0x80, opcode: first & 0x0f, payload, length: start + size };
}

function writeFrame(opcode: number, payload: Buffer): Buffer {
  const size = payload.length;
  const head = Buffer.alloc(size < 126 ? 2 : size < 65_536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  if (size < 126) head[1] = size;
  else if (size < 65_536) {
    head[1] = 126;
    head.writeUInt16BE(size, 2);
  } else {
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(size), 2);
  }
  return Buffer.concat([head, payload]);
}
