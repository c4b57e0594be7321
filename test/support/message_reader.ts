/** Whole messages from pieces of bytes, without sockets: the parsers of src/http driven as connections drive them. */
import { FAULTS, type FaultCode } from "../../src/base/fault.ts";
import { BodyReader } from "../../src/http/body.ts";
import { LIMITS, responseBody, type BodyKind, type RequestHead } from "../../src/http/head.ts";
import { parseRequestHead, parseResponseHead } from "../../src/http/parse.ts";
import { requestHeadLength, responseHeadLength } from "../../src/http/scan.ts";

/** What became of one request. `body` is text, one character a byte. */
export type RequestVerdict =
  | { readonly status: number; readonly fault: FaultCode }
  | { readonly waits: true }
  | {
      readonly method: string;
      readonly target: string;
      readonly framing: "none" | "length" | "chunked";
      readonly body: string;
      readonly keepAlive: boolean;
    };

/** What became of the response to one request. `framing` is the backend's. */
export type ResponseVerdict =
  | { readonly fault: string }
  | { readonly waits: true }
  | {
      readonly status: number;
      readonly framing: BodyKind;
      readonly body: string;
      readonly interims: number[];
      readonly reusable: boolean;
    };

/** Reads the requests of one client connection, which are all answered at once. */
class RequestReader {
  readonly verdicts: RequestVerdict[] = [];
  #rest = "";
  #isFresh = true;
  #isClosed = false;
  #head: RequestHead | null = null;
  #body: BodyReader | null = null;
  #bodyText = "";

  feed(piece: string): void {
    this.#rest += piece;
    while (!this.#isClosed && this.#rest !== "") {
      if (this.#body !== null ? !this.#readBody(this.#body) : !this.#readHead()) break;
    }
  }

  /** Tells that no more bytes come. */
  end(): RequestVerdict[] {
    const isIncomplete = this.#body !== null || (this.#rest !== "" && this.#rest !== "\r");
    if (isIncomplete && !this.#isClosed) this.verdicts.push({ waits: true });
    return this.verdicts;
  }

  #readHead(): boolean {
    if (this.#isFresh && this.#rest.startsWith("\r\n")) {
      this.#isFresh = false;
      this.#rest = this.#rest.slice(2);
      return true;
    }
    if (this.#rest !== "\r") this.#isFresh = false;
    const length = requestHeadLength(this.#rest.slice(0, LIMITS.requestHeadBytes));
    if (length === 0) return false;
    if (typeof length === "string") return this.#refuse(length);
    const head = parseRequestHead(this.#rest.slice(0, length));
    this.#rest = this.#rest.slice(length);
    if (typeof head === "string") return this.#refuse(head);
    this.#head = head;
    this.#body = new BodyReader(head.body, head.contentLength);
    this.#bodyText = "";
    return this.#body.isDone ? this.#accept(head) : true;
  }

  #readBody(body: BodyReader): boolean {
    const bytes = Buffer.from(this.#rest, "latin1");
    const sink = { onBody: (part: Buffer) => void (this.#bodyText += part.toString("latin1")) };
    const end = body.read(bytes, 0, sink);
    this.#rest = this.#rest.slice(end);
    if (body.fault !== null) return this.#refuse(body.fault);
    return body.isDone ? this.#accept(this.#head as RequestHead) : false;
  }

  #accept(head: RequestHead): boolean {
    const { method, target, keepAlive, contentLength } = head;
    const framing = head.body === "chunked" ? "chunked" : contentLength >= 0 ? "length" : "none";
    this.verdicts.push({ method, target, framing, body: this.#bodyText, keepAlive });
    this.#body = null;
    this.#isFresh = true;
    this.#isClosed = !keepAlive;
    return true;
  }

  #refuse(fault: FaultCode): boolean {
    this.verdicts.push({ status: FAULTS[fault].status, fault });
    this.#isClosed = true;
    return false;
  }
}

/** The verdicts on what a client sends in these pieces. */
export function readRequests(pieces: readonly string[]): RequestVerdict[] {
  const reader = new RequestReader();
  for (const piece of pieces) reader.feed(piece);
  return reader.end();
}

/** The verdict on what a backend sends in these pieces as answer to one request. `ends`: it closes afterwards. */
export function readResponse(pieces: readonly string[], method: string, ends: boolean): ResponseVerdict {
  let rest = "";
  let body: BodyReader | null = null;
  let found: { status: number; framing: BodyKind; keepAlive: boolean } | null = null;
  let text = "";
  const interims: number[] = [];
  for (const piece of pieces) {
    rest += piece;
    while (found === null) {
      const head = takeResponseHead(rest);
      if (head === null) break;
      if (typeof head === "string") return { fault: head };
      rest = rest.slice(head.text.length);
      if (head.status >= 200) {
        const framing = responseBody(head, method);
        found = { status: head.status, framing, keepAlive: head.keepAlive };
        body = new BodyReader(framing, head.contentLength);
      } else if (interims.push(head.status) > LIMITS.interimResponses || head.status === 101) {
        return { fault: "BAD_RESPONSE" };
      }
    }
    if (body === null || body.isDone) continue;
    const bytes = Buffer.from(rest, "latin1");
    rest = rest.slice(body.read(bytes, 0, { onBody: (part) => void (text += part.toString("latin1")) }));
    if (body.fault !== null) return { fault: "BAD_RESPONSE" };
  }
  if (ends) body?.close();
  if (found === null || body?.isDone !== true) {
    if (!ends) return { waits: true };
    return { fault: found === null ? "UPSTREAM_RESET" : "RESPONSE_TRUNCATED" };
  }
  const { status, framing, keepAlive } = found;
  const reusable = keepAlive && framing !== "close" && rest === "" && !ends;
  return { status, framing, body: text, interims, reusable };
}

function takeResponseHead(text: string): ReturnType<typeof parseResponseHead> | null {
  const length = responseHeadLength(text.slice(0, LIMITS.responseHeadBytes));
  if (length === 0) return null;
  return typeof length === "string" ? length : parseResponseHead(text.slice(0, length));
}
