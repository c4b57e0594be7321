/** The corpus: raw messages as data, each with the rule it is about and the verdict that the rule demands. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** Bytes as text, one character a byte. A list is joined; `repeat` stands for a text many times. */
export type Raw = string | readonly (string | { readonly repeat: readonly [string, number] })[];

/** A request that must be understood. What is left out has its default: no body, kept open, nothing said of fields. */
export interface Accepted {
  readonly method: string;
  /** As it is forwarded. */
  readonly target: Raw;
  readonly framing?: "none" | "length" | "chunked";
  readonly body?: Raw;
  readonly keepAlive?: boolean;
  /** Field lines that must be forwarded byte for byte and in this order. */
  readonly forwards?: readonly Raw[];
  /** Lower-case names that must not be forwarded. */
  readonly drops?: readonly string[];
}

/** A request that must be refused. Without a fault, any code of this status will do: it breaks several rules. */
export interface Refused {
  readonly status: number;
  readonly fault?: string;
}

/** Bytes that are neither right nor wrong yet. */
export interface Awaited {
  readonly waits: true;
}

interface Vector {
  /** A claim, unique within its direction. */
  readonly name: string;
  /** Number and section of the RFC, such as "9112 6.3". */
  readonly rfc: string;
  /** The strict rule that decides it; see the list in test/README.md. Left out when the RFC alone does. */
  readonly rule?: number;
  readonly raw: Raw;
  /** Why the engine does not keep to it yet. The test fails as soon as it does, so that this line goes. */
  readonly pending?: string;
}

/** Bytes of a client, and the verdict on each request in them. */
export interface RequestVector extends Vector {
  readonly file: string;
  readonly expect: readonly (Accepted | Refused | Awaited)[];
}

/** A response that must be passed on. */
export interface Relayed {
  readonly status: number;
  /** As the client gets it. */
  readonly framing: "none" | "length" | "chunked" | "close";
  readonly body: Raw;
  /** Whether the backend's connection carries another request afterwards. Default: yes. */
  readonly reusable?: boolean;
  readonly interims?: readonly number[];
  readonly forwards?: readonly Raw[];
  readonly drops?: readonly string[];
  /** The trailer section as the client gets it. */
  readonly trailers?: string;
}

/** A response after whose beginning the client's connection must end visibly, or with a 502. */
export interface Cut {
  readonly cut: true;
  readonly fault: string;
}

/** Bytes of a backend, and what the client must see. */
export interface ResponseVector extends Vector {
  readonly file: string;
  /** Default: a GET of HTTP/1.1 without further fields. */
  readonly request?: { readonly method?: string; readonly minor?: 0 | 1; readonly fields?: string };
  /** What the backend does after the bytes. Default: it keeps the connection open. */
  readonly then?: "end" | "reset";
  readonly expect: Relayed | (Refused & { readonly fault: string }) | Cut;
}

/** The text that `raw` stands for. */
export function textOf(raw: Raw): string {
  if (typeof raw === "string") return raw;
  return raw
    .map((part) => (typeof part === "string" ? part : part.repeat[0].repeat(part.repeat[1])))
    .join("");
}

/** All request vectors, file by file. */
export function requestVectors(): RequestVector[] {
  return vectorsIn<RequestVector>("requests");
}

/** All response vectors, file by file. */
export function responseVectors(): ResponseVector[] {
  return vectorsIn<ResponseVector>("responses");
}

function vectorsIn<Kind extends Vector>(folder: string): Kind[] {
  const path = join(import.meta.dirname, "../corpus", folder);
  return readdirSync(path)
    .toSorted()
    .flatMap((name) => {
      const lines = readFileSync(join(path, name), "utf8").trimEnd().split("\n");
      return lines.map((line) => ({ file: name.replace(/\.jsonl$/, ""), ...JSON.parse(line) }) as Kind);
    });
}

/** How a text is cut: at a place, or into single bytes (long ones only at both ends and around line ends). */
export function piecesOf(text: string, cut: "whole" | "bytes" | number): string[] {
  if (cut === "whole") return [text];
  if (typeof cut === "number") return [text.slice(0, cut), text.slice(cut)].filter((piece) => piece !== "");
  if (text.length <= SINGLE_BYTES_MAX) return text.split("");
  const edge = SINGLE_BYTES_MAX / 2;
  const middle = text.slice(edge, -edge).match(/[^]{1,997}/g) ?? [];
  return [...text.slice(0, edge).split(""), ...middle, ...text.slice(-edge).split("")];
}

const SINGLE_BYTES_MAX = 400;
