/** Where an answer goes: the client's side of an exchange, free of how it is written. */
import type { FaultCode } from "../base/fault.ts";
import type { BodyKind, ResponseHead } from "../http/head.ts";

/** Where an exchange sends its answer: the client's side, free of how it is written. */
export interface Reply {
  /** The peer's address, and whether its forwarding fields are believed. */
  readonly peerAddress: string;
  readonly isPeerTrusted: boolean;
  /** Tells the client to send the body that it announced. */
  continue(): void;
  /** Passes on an interim response, if the client understands it. */
  interim(head: ResponseHead): void;
  /** Begins the answer. `added`: complete field lines; `isLast`: the connection can't be used again. */
  head(head: ResponseHead, body: BodyKind, options: { added: string; isLast: boolean }): void;
  /** Turns the connection into a WebSocket: what comes from now on is the body, without an end of its own. */
  upgrade(head: ResponseHead): void;
  /** Sends a piece of the body; copies what it keeps. Gives whether more may follow; else `onWritable` tells. */
  data(bytes: Buffer): boolean;
  /** `trailers`: complete lines that may be passed on. */
  end(trailers: string): void;
  /** Answers with a fault instead of a response. */
  fault(code: FaultCode, requestId: string): void;
  /** Cuts the connection so that the client sees that the answer is not complete. */
  cut(): void;
  /** Sends what is still held back for joining. */
  flush(): void;
  pauseBody(): void;
  resumeBody(): void;
}
