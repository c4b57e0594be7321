/** How a route's mirrored answers are compared: between the operator's form and the program's. */
import { z } from "zod";
import {
  BODY_MODES,
  type ComparePolicy,
  type JsonRules,
  type Pointer,
  type Tolerance,
} from "./compare_words.ts";
import { closed, examine, examineKeys, isMap } from "./examine.ts";
import { pointerFault, readPointer } from "./pointer.ts";
import { pointerOf, refuseRepeats, type Findings, type PathPart } from "./problems.ts";
import { readSize, sizeBytes, writeSize } from "./quantity.ts";
import { between, list, percentSchema, text } from "./schema_parts.ts";
import { tokenFault } from "./syntax.ts";

/** How a route says that answers are not compared. */
const OFF = "off";
/** The most of each list, and of a body. */
const ENTRIES_MAX = 64;
const BODY_BYTES_MAX = 1_048_576;
const TOLERANCE_MAX = 1e9;

/** The policy of a route that says nothing. */
export const DEFAULT_COMPARE: ComparePolicy = Object.freeze<ComparePolicy>({
  status: true,
  headers: ["content-type", "location"],
  body: "auto",
  bodyBytesMax: 65_536,
  ignore: [],
  unordered: [],
  tolerance: 0,
  mask: [],
  noisePercent: 10,
});

const sizeError = 'write a size from 1 to 1MiB, such as "64KiB" or "512"';
const sizeSchema = z.union([z.string(), z.number()], { error: sizeError }).refine(
  (size) => {
    const bytes = readSize(size) ?? 0;
    return bytes >= 1 && bytes <= BODY_BYTES_MAX;
  },
  { error: sizeError },
);

const pointers = list(text(pointerFault), 0, ENTRIES_MAX);
const amount = between(0, TOLERANCE_MAX);
const toleranceByPlace = z
  .record(text(pointerFault), amount)
  .refine((map) => Object.keys(map).length <= ENTRIES_MAX, {
    error: `at most ${ENTRIES_MAX} entries are allowed`,
  });

/** A policy in the operator's form; a route may say `off` instead. */
export const compareSchema = closed({
  status: z.boolean().optional().meta({ default: DEFAULT_COMPARE.status }),
  headers: list(text(tokenFault), 0, ENTRIES_MAX)
    .optional()
    .meta({ description: "Header fields that are compared", default: DEFAULT_COMPARE.headers }),
  body: z.enum(BODY_MODES).optional().meta({
    description: "auto: as JSON where both answers say they are, else as bytes",
    default: DEFAULT_COMPARE.body,
  }),
  max_body: sizeSchema.optional().meta({ default: writeSize(DEFAULT_COMPARE.bodyBytesMax) }),
  ignore: pointers.optional().meta({ description: "Places that are not compared, such as /items/*/id" }),
  unordered: pointers.optional().meta({ description: "Lists whose order means nothing" }),
  tolerance: z
    .union([amount, toleranceByPlace], {
      error: `write a number from 0 to ${TOLERANCE_MAX}, or a map of pointers to such numbers`,
    })
    .optional()
    .meta({ description: "What numbers may differ by", default: 0 }),
  mask: pointers.optional().meta({ description: "Places whose values are never shown" }),
  noise: percentSchema.optional().meta({
    description: "Percent of the compared requests that legacy gets a second time, to measure its own noise",
    default: DEFAULT_COMPARE.noisePercent,
  }),
});

type Keys = NonNullable<ReturnType<typeof examineKeys<typeof compareSchema.shape>>>;

/**
 * Reads a policy in the operator's form; undefined stands for the default. Gives null for `off`, and after something
 * wrong was added to `findings`.
 *
 * `off` may arrive as false: that is what older readers of YAML make of it.
 */
export function readCompare(
  input: unknown,
  path: readonly PathPart[],
  findings: Findings,
): ComparePolicy | null {
  if (input === undefined) return DEFAULT_COMPARE;
  if (input === OFF || input === false) return null;
  if (!isMap(input)) {
    const allowed = Object.keys(compareSchema.shape).join(", ");
    findings.add(path, `write "off" or a map; allowed in it: ${allowed}`);
    return null;
  }
  const before = findings.count;
  const keys = examineKeys(compareSchema, readable(input, path, findings), path, findings) ?? {};
  const headers = keys.headers?.map((name) => name.toLowerCase()) ?? DEFAULT_COMPARE.headers;
  refuseRepeats(headers, [...path, "headers"], findings);
  refuseUseless(keys, path, findings);
  if (findings.count > before) return null;
  return {
    status: keys.status ?? DEFAULT_COMPARE.status,
    headers,
    body: keys.body ?? DEFAULT_COMPARE.body,
    bodyBytesMax: keys.max_body === undefined ? DEFAULT_COMPARE.bodyBytesMax : sizeBytes(keys.max_body),
    ...rulesOf(keys),
    noisePercent: keys.noise ?? DEFAULT_COMPARE.noisePercent,
  };
}

/** A policy in the operator's form, without what equals its default; undefined when nothing is left. */
export function encodeCompare(
  policy: ComparePolicy | null,
): Readonly<Record<string, unknown>> | typeof OFF | undefined {
  if (policy === null) return OFF;
  const map: Record<string, unknown> = {};
  if (policy.status !== DEFAULT_COMPARE.status) map["status"] = policy.status;
  if (!isSame(policy.headers, DEFAULT_COMPARE.headers)) map["headers"] = policy.headers;
  if (policy.body !== DEFAULT_COMPARE.body) map["body"] = policy.body;
  if (policy.bodyBytesMax !== DEFAULT_COMPARE.bodyBytesMax) map["max_body"] = writeSize(policy.bodyBytesMax);
  for (const name of ["ignore", "unordered", "mask"] as const) {
    if (policy[name].length > 0) map[name] = policy[name].map(pointerOf);
  }
  const tolerance = encodeTolerance(policy.tolerance);
  if (tolerance !== undefined) map["tolerance"] = tolerance;
  if (policy.noisePercent !== DEFAULT_COMPARE.noisePercent) map["noise"] = policy.noisePercent;
  return Object.keys(map).length === 0 ? undefined : map;
}

/**
 * The map without a tolerance by place, once that was read by itself.
 *
 * A union would hide which entry of it is wrong.
 */
function readable(
  input: Readonly<Record<string, unknown>>,
  path: readonly PathPart[],
  findings: Findings,
): Record<string, unknown> {
  const { tolerance, ...rest } = input;
  if (!isMap(tolerance)) return input;
  const read = examine(toleranceByPlace, tolerance, [...path, "tolerance"], findings);
  return read === undefined ? rest : input;
}

/** Adds a finding for what can have no effect, or too much of one. */
function refuseUseless(keys: Keys, path: readonly PathPart[], findings: Findings): void {
  for (const name of ["ignore", "unordered", "mask"] as const) {
    refuseRepeats(keys[name] ?? [], [...path, name], findings);
  }
  const whole = keys.ignore?.indexOf("") ?? -1;
  if (whole !== -1) findings.add([...path, "ignore", whole], 'to leave out whole bodies write "body: off"');
}

function rulesOf({ ignore, unordered, mask, tolerance }: Keys): JsonRules {
  const read = (texts: readonly string[] | undefined): readonly Pointer[] => texts?.map(readPointer) ?? [];
  return {
    ignore: read(ignore),
    unordered: read(unordered),
    mask: read(mask),
    tolerance: typeof tolerance === "object" ? byPlace(tolerance) : (tolerance ?? 0),
  };
}

function byPlace(map: Readonly<Record<string, number>>): readonly Tolerance[] | number {
  const places = Object.entries(map).map(([at, by]) => ({ at: readPointer(at), by }));
  return places.length === 0 ? 0 : places;
}

function encodeTolerance(tolerance: ComparePolicy["tolerance"]): unknown {
  if (typeof tolerance === "number") return tolerance === 0 ? undefined : tolerance;
  return Object.fromEntries(tolerance.map(({ at, by }) => [pointerOf(at), by]));
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((entry, index) => entry === other[index]);
}
