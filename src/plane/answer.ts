/** The answers on one client connection: heads and bodies to bytes, joined where they are small. */
import type { Socket } from "node:net";
import { FAULTS, type FaultCode } from "../base/fault.ts";
import { interimForward, responseForward, upgradeForward } from "../http/forward.ts";
import type { BodyKind, RequestHead, ResponseHead } from "../http/head.ts";
import type { Copies } from "./copies.ts";
import { CONTINUE, chunkSize, faultResponse, lastChunk } from "../http/write.ts";

/** Pieces up to this size are joined with what is written before and after them. */
const JOIN_BYTES = 8 * 1024;

/** Writes the answers of one connection, one after the other. It never waits: a full socket is the caller's care. */
export class AnswerWriter {
  /** Whether the connection ends with the answer under way. */
  isLast = false;
  readonly #socket: Socket;
  readonly #copies: Copies;
  #request: RequestHead | null = null;
  /** How the body of the answer under way is framed. */
  #body: BodyKind = "none";
  /** Text not written yet, one character a byte. */
  #pending = "";

  constructor(socket: Socket, copies: Copies) {
    this.#socket = socket;
    this.#copies = copies;
  }

  /** Whether what follows must wait until the client has read some of what was sent. */
  get isStalled(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Whether only a reset tells the client that the answer under way is not complete. */
  get endsWithConnection(): boolean {
    return this.#body === "close";
  }

  /** The answers that follow are to this request; null for one that was never understood. */
  begin(request: RequestHead | null, isLast: boolean): void {
    this.#request = request;
    this.#body = "none";
    this.isLast = isLast;
  }

  /** Tells the client to send the body that it announced. */
  continue(): void {
    if (!this.#socket.destroyed) this.#socket.write(CONTINUE, "latin1");
  }

  interim(head: ResponseHead): void {
    if (this.#request?.minor === 1 && !this.#socket.destroyed)
      this.#socket.write(interimForward(head), "latin1");
  }

  /** Turns the connection into a WebSocket. What is sent from here on passes as it is. */
  upgrade(head: ResponseHead): void {
    this.#body = "close";
    this.isLast = true;
    this.#pending += upgradeForward(head);
  }

  /** `added`: complete field lines. `isLast`, once true, stays. */
  head(head: ResponseHead, body: BodyKind, added: string): void {
    const request = this.#request as RequestHead;
    const isUnknownLength = body === "chunked" || body === "close";
    if (isUnknownLength) this.#body = request.minor === 1 ? "chunked" : "close";
    else this.#body = body;
    this.isLast ||= this.#body === "close";
    this.#pending += responseForward(head, {
      body: this.#body,
      keepsLength: request.method === "HEAD" || head.status === 304,
      isLast: this.isLast,
      clientMinor: request.minor,
      added,
    });
  }

  /** Copies what it keeps. */
  data(bytes: Buffer): void {
    const isChunked = this.#body === "chunked";
    if (isChunked) this.#pending += chunkSize(bytes.length);
    if (bytes.length <= JOIN_BYTES) {
      this.#pending += bytes.toString("latin1");
      if (isChunked) this.#pending += "\r\n";
      if (this.#pending.length > JOIN_BYTES) this.flush();
      return;
    }
    this.flush();
    if (!this.#socket.destroyed) this.#copies.write(this.#socket, bytes);
    if (isChunked) this.#pending = "\r\n";
  }

  /** `trailers`: complete lines, sent if the client takes them. */
  end(trailers: string): void {
    if (this.#body === "chunked") this.#pending += lastChunk(this.#request?.takesTrailers ? trailers : "");
    this.flush();
    this.#forget();
  }

  fault(code: FaultCode, requestId: string, wallMs: number): void {
    this.isLast ||= FAULTS[code].side === "downstream";
    this.#pending += faultResponse(code, {
      date: new Date(wallMs).toUTCString(),
      withBody: this.#request?.method !== "HEAD",
      isLast: this.isLast,
      requestId,
    });
    this.flush();
    this.#forget();
  }

  /** An idle connection must not hold the head of its last request. */
  #forget(): void {
    this.#request = null;
  }

  flush(): void {
    if (this.#pending === "" || this.#socket.destroyed) return;
    const text = this.#pending;
    this.#pending = "";
    this.#socket.write(text, "latin1");
  }
}
