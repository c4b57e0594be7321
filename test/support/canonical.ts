/** Messages in the one form in which Crossfade writes them: anything that could be read in two ways is an error. */

/** A complete message. Texts have one character a byte. */
export interface CanonicalMessage {
  /** The first line. */
  readonly line: string;
  /** The field lines as they came. */
  readonly lines: readonly string[];
  readonly framing: "none" | "length" | "chunked" | "close";
  readonly body: string;
  /** The trailer section without its last line. */
  readonly trailers: string;
}

/** What a text holds: complete messages, and what is left of one that is not complete. */
export interface CanonicalText {
  readonly messages: readonly CanonicalMessage[];
  readonly rest: string;
}

/** How a body is found to end, if it does: its text and where it ends. */
interface Body {
  readonly text: string;
  readonly end: number;
  readonly trailers: string;
}

/**
 * The requests in a text. Throws what is wrong with it.
 *
 * Other proxies have ways of their own that are no worse: `isOurs` says whether version 1.0 and capital letters in
 * framing are errors.
 */
export function readCanonicalRequests(text: string, isOurs = true): CanonicalText {
  const version = isOurs ? "1" : "[01]";
  const form = new RegExp(String.raw`^[!#$%&'*+\-.^_\`|~0-9A-Za-z]+ [\x21-\x7e]+ HTTP/1\.${version}$`);
  const ours = (found: string): string => found.toLowerCase();
  const plain = isOurs ? text : text.replace(/^(?:[0-9A-F]+|transfer-encoding: chunked)\r$/gim, ours);
  return readAll(plain, (line) => {
    if (!form.test(line)) throw new Error(`${line} is no request`);
    return "none";
  });
}

/**
 * The responses in a text, interim ones included. Throws what is wrong with it.
 *
 * `methods`: of the requests they answer, in order. `hasEnded`: no more bytes come.
 */
export function readCanonicalResponses(
  text: string,
  methods: readonly string[],
  hasEnded: boolean,
): CanonicalText {
  let finals = 0;
  return readAll(text, (line) => {
    const status = Number(/^HTTP\/1\.1 ([1-9][0-9]{2}) [\t\x20-\x7e\x80-\xff]*$/.exec(line)?.[1]);
    if (Number.isNaN(status)) throw new Error(`${line} is no status line`);
    if (status < 200) return "never";
    const isBodiless = methods[finals++] === "HEAD" || status === 204 || status === 304;
    return isBodiless ? "never" : hasEnded ? "close" : "endless";
  });
}

/** `unframed`: what a message without length and coding is; never: it has no body even with them. */
function readAll(
  text: string,
  unframed: (line: string) => "none" | "never" | "close" | "endless",
): CanonicalText {
  const messages: CanonicalMessage[] = [];
  let at = 0;
  for (;;) {
    const end = text.indexOf("\r\n\r\n", at);
    if (end === -1) return { messages, rest: text.slice(at) };
    const [line = "", ...lines] = text.slice(at, end).split("\r\n");
    for (const field of lines) {
      if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*$/.test(field))
        throw new Error(`${field} is no field`);
    }
    const otherwise = unframed(line);
    const framing = framingOf(lines, otherwise);
    const body = bodyOf(text, end + 4, framing);
    if (body === null) return { messages, rest: text.slice(at) };
    const { framing: kind } = framing;
    messages.push({ line, lines, framing: kind, body: body.text, trailers: body.trailers });
    at = body.end;
  }
}

function framingOf(
  lines: readonly string[],
  otherwise: "none" | "never" | "close" | "endless",
): { framing: CanonicalMessage["framing"]; length: number } {
  const lengths = valuesOf(lines, "content-length");
  const codings = valuesOf(lines, "transfer-encoding");
  if (lengths.length + codings.length > 1) throw new Error("a message is framed twice");
  if (otherwise === "never") return { framing: "none", length: 0 };
  if (codings.length === 1) {
    if (codings[0] !== "chunked") throw new Error(`${codings[0]} is not the only coding`);
    return { framing: "chunked", length: 0 };
  }
  if (lengths.length === 1) {
    if (!/^(?:0|[1-9][0-9]*)$/.test(lengths[0] as string)) throw new Error(`${lengths[0]} is no length`);
    return { framing: "length", length: Number(lengths[0]) };
  }
  if (otherwise === "none") return { framing: "none", length: 0 };
  return { framing: "close", length: otherwise === "endless" ? Infinity : -1 };
}

function bodyOf(text: string, start: number, how: ReturnType<typeof framingOf>): Body | null {
  if (how.framing === "chunked") return chunkedBody(text, start);
  if (how.framing === "close" && how.length === -1) {
    return { text: text.slice(start), end: text.length, trailers: "" };
  }
  const end = start + how.length;
  return end > text.length ? null : { text: text.slice(start, end), end, trailers: "" };
}

function chunkedBody(text: string, start: number): Body | null {
  let body = "";
  let at = start;
  for (;;) {
    const lineEnd = text.indexOf("\r\n", at);
    if (lineEnd === -1) return null;
    const size = text.slice(at, lineEnd);
    if (!/^(?:0|[1-9a-f][0-9a-f]*)$/.test(size))
      throw new Error(`${JSON.stringify(size)} is no chunk size of ours`);
    const length = Number.parseInt(size, 16);
    if (length === 0) return trailerEnd(text, body, lineEnd + 2);
    const end = lineEnd + 2 + length;
    if (end + 2 > text.length) return null;
    if (text.slice(end, end + 2) !== "\r\n") throw new Error("a chunk does not end where it should");
    body += text.slice(lineEnd + 2, end);
    at = end + 2;
  }
}

function trailerEnd(text: string, body: string, at: number): Body | null {
  if (text.startsWith("\r\n", at)) return { text: body, end: at + 2, trailers: "" };
  const end = text.indexOf("\r\n\r\n", at);
  return end === -1 ? null : { text: body, end: end + 4, trailers: text.slice(at, end + 2) };
}

/** Whether a response is an interim one (1xx). */
export function isInterim({ line }: CanonicalMessage): boolean {
  return line.startsWith("HTTP/1.1 1");
}

/** The values of the fields with this lower-case name. */
export function valuesOf(lines: readonly string[], name: string): string[] {
  return lines
    .filter((line) => line.slice(0, line.indexOf(":")).toLowerCase() === name)
    .map((line) => line.slice(line.indexOf(":") + 1).trim());
}
