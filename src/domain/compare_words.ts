/** The words of comparison: what answers are compared by, what is known of each, and what came of it. */
import type { FaultCode } from "../base/fault.ts";

/** The steps of a JSON pointer (RFC 6901), decoded. `*` stands for any key and any index. */
export type Pointer = readonly string[];

/** Numbers at a place may differ by this much. */
export interface Tolerance {
  readonly at: Pointer;
  readonly by: number;
}

/** How JSON bodies are compared. A pointer in `ignore` and `mask` speaks for all below it too. */
export interface JsonRules {
  /** Places that are not compared. */
  readonly ignore: readonly Pointer[];
  /** Lists whose order means nothing. */
  readonly unordered: readonly Pointer[];
  /** What all numbers may differ by, or those at some places. Of several that fit the largest counts. */
  readonly tolerance: number | readonly Tolerance[];
  /** Places whose values, and keys below them, are never shown. */
  readonly mask: readonly Pointer[];
}

/** The ways in which bodies can be compared. `auto`: as JSON where both say they are, else as bytes. */
export const BODY_MODES = ["auto", "json", "bytes", "off"] as const;

/** What two answers are compared by. */
export interface ComparePolicy extends JsonRules {
  readonly status: boolean;
  /** Names of header fields in lower case. */
  readonly headers: readonly string[];
  readonly body: (typeof BODY_MODES)[number];
  /** Longer bodies are not compared. */
  readonly bodyBytesMax: number;
  /** So many of the compared requests are also sent to legacy a second time, 0 to 100. */
  readonly noisePercent: number;
}

/** What comparing needs to know of an answer. */
export interface AnswerSummary {
  /** 0 without an answer. */
  readonly status: number;
  /** Names in any case, values as they came, in order. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** The body without its content coding; null when there is none or it was not kept. */
  readonly body: Uint8Array | null;
  /** Bytes of the body, the ones that were not kept included. */
  readonly bodyLength: number;
  readonly isBodyWhole: boolean;
  readonly fault: FaultCode | null;
}

/** An answer as it came, its body still in its content coding. */
export interface CapturedAnswer extends Omit<AnswerSummary, "body" | "bodyLength" | "isBodyWhole"> {
  /** The value of Content-Encoding; empty without. */
  readonly codings: string;
  /** The body; null when it was longer than is kept, or cut. */
  readonly bytes: Uint8Array | null;
}

/** Why two answers were not compared. Each is shown and counted by itself. */
export const NOT_COMPARED_REASONS = [
  "both failed",
  "legacy failed",
  "body cut",
  "too large",
  "too deep",
  "duplicate keys",
  /** The content coding of a body is unknown or broken, or both bodies grow over the bound without it. */
  "not decoded",
  /** The client left before it had its whole answer, so there is nothing whole to compare with. */
  "cut off",
  /** More answers waited to be compared than may. */
  "no room",
  /** Of a second request to legacy: it was given up before legacy could answer. */
  "no copy",
] as const;

/** One of NOT_COMPARED_REASONS. */
export type NotComparedReason = (typeof NOT_COMPARED_REASONS)[number];

/** How two values differ. `missing`: legacy alone has it. `added`: the candidate alone has it. */
export type MismatchKind = "missing" | "added" | "type" | "value" | "length" | "order";

/** One thing that differs. */
export interface Mismatch {
  /** `fault`, `status`, `header NAME`, `body`, `body POINTER` with `*` for indexes, or OTHER_FIELD. */
  readonly field: string;
  readonly kind: MismatchKind;
  /** Short, masked and printable; null where a side has nothing. */
  readonly left: string | null;
  readonly right: string | null;
}

/** The name under which is counted what goes beyond a bound. */
export const OTHER_FIELD = "other";

/** More mismatches of one comparison are put together as OTHER_FIELD. */
export const MISMATCHES_MAX = 50;

/** What came of comparing two answers. */
export type Comparison =
  | { readonly result: "matched" }
  | {
      readonly result: "mismatched";
      /** At least one, at most MISMATCHES_MAX, each field once. */
      readonly fields: readonly Mismatch[];
      /** The worst there is: the candidate failed where legacy answered well. */
      readonly isFailure: boolean;
    }
  | { readonly result: "not compared"; readonly reason: NotComparedReason };
