/** Reads an input by a schema and says everything that is wrong with it, in words of the product. */
import { z } from "zod";
import { type Findings, nearestName, unknownKeyMessage, type PathPart } from "./problems.ts";
import { shorten } from "./syntax.ts";

/** Keys that a later version will understand, so that writing them today gets a straight answer. */
const laterKeys = z.registry<{ readonly names: readonly string[] }>();

/** A map with exactly these keys. `later` are refused as not supported yet instead of as unknown. */
export function closed<Shape extends z.ZodRawShape>(shape: Shape, later: readonly string[] = []) {
  return z.strictObject(shape).register(laterKeys, { names: later });
}

/**
 * Reads an input by a schema.
 *
 * Gives what the schema makes of it, or undefined after everything wrong was added to `findings`, with paths that
 * start with `path`.
 */
export function examine<Schema extends z.core.$ZodType>(
  schema: Schema,
  input: unknown,
  path: readonly PathPart[],
  findings: Findings,
): z.output<Schema> | undefined {
  const result = z.safeParse(schema, input);
  if (result.success) return result.data;
  for (const issue of result.error.issues) addIssue(schema, input, path, issue, findings);
  return undefined;
}

/**
 * Reads a map key by key, so that one wrong key hides nothing about the others.
 *
 * Gives the keys that could be read, or undefined when the input is no map at all.
 */
export function examineKeys<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  input: unknown,
  path: readonly PathPart[],
  findings: Findings,
): Partial<z.output<z.ZodObject<Shape>>> | undefined {
  if (!isMap(input)) {
    examine(schema, input, path, findings);
    return undefined;
  }
  const read: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(schema.shape)) {
    const value = Object.hasOwn(input, key) ? input[key] : undefined;
    if (value === undefined && !z.safeParse(inner, undefined).success)
      addMissing(key, [...path, key], findings);
    else read[key] = examine(inner, value, [...path, key], findings);
  }
  for (const key of Object.keys(input)) {
    if (!Object.hasOwn(schema.shape, key)) addUnknownKey(schema, key, path, findings);
  }
  return read as Partial<z.output<z.ZodObject<Shape>>>;
}

/** Whether an input is a map of keys to values. */
export function isMap(input: unknown): input is Record<string, unknown> {
  return typeof input === "object" && input !== null && !Array.isArray(input);
}

function addIssue(
  schema: z.core.$ZodType,
  input: unknown,
  path: readonly PathPart[],
  issue: z.core.$ZodIssue,
  findings: Findings,
): void {
  const inner = issue.path.map((part) => (typeof part === "number" ? part : String(part)));
  const full = [...path, ...inner];
  const value = valueAt(input, inner);
  if (issue.code === "unrecognized_keys") {
    const owner = schemaAt(schema, inner);
    for (const key of issue.keys) addUnknownKey(owner, key, full, findings);
  } else if (issue.code === "invalid_key") {
    findings.add(full, issue.issues[0]?.message ?? issue.message, "key");
  } else if (value === undefined && inner.length > 0) {
    addMissing(String(inner.at(-1)), full, findings);
  } else if (issue.code === "invalid_type" && issue.message.startsWith("Invalid input")) {
    findings.add(full, `write ${nameOfType(issue.expected)} here, not ${nameOfValue(value)}`);
  } else if (issue.code === "invalid_value") {
    findings.add(full, choiceMessage(value, issue.values.map(String)));
  } else if (issue.code === "invalid_union") {
    findings.add(full, unionMessage(issue));
  } else {
    findings.add(full, issue.message);
  }
}

function addMissing(key: string, path: readonly PathPart[], findings: Findings): void {
  findings.add(path, `"${key}" is missing`);
}

function addUnknownKey(
  schema: z.core.$ZodType | undefined,
  key: string,
  path: readonly PathPart[],
  findings: Findings,
): void {
  // findProtoKeys has said so already.
  if (key === "__proto__") return;
  const later = schema === undefined ? undefined : laterKeys.get(schema)?.names;
  const allowed = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  const message = later?.includes(key)
    ? `"${key}" is not supported by this version`
    : unknownKeyMessage(shorten(key), allowed);
  findings.add([...path, key], message, "key");
}

/** A branch that got past the type says what exactly is wrong; the others only say that the type is another one. */
function unionMessage(issue: z.core.$ZodIssueInvalidUnion): string {
  const branch = issue.errors.find((errors) => errors.every((error) => error.code === "custom"));
  return branch?.[0]?.message ?? issue.message;
}

function choiceMessage(value: unknown, choices: readonly string[]): string {
  const nearest = typeof value === "string" ? nearestName(value, choices) : null;
  const written = typeof value === "string" ? `"${shorten(value)}"` : nameOfValue(value);
  if (nearest !== null) return `unknown choice ${written}; did you mean "${nearest}"?`;
  return `unknown choice ${written}; write one of ${choices.join(", ")}`;
}

function schemaAt(schema: z.core.$ZodType, path: readonly PathPart[]): z.ZodType | undefined {
  let place: unknown = bare(schema);
  for (const part of path) {
    if (place instanceof z.ZodObject) place = (place.shape as Record<string, unknown>)[part];
    else if (place instanceof z.ZodArray) place = place.element;
    else if (place instanceof z.ZodRecord) place = place.valueType;
    else return undefined;
    place = bare(place);
  }
  return place instanceof z.ZodType ? place : undefined;
}

/** A schema without what makes it optional. */
function bare(schema: unknown): unknown {
  let place = schema;
  while (place instanceof z.ZodOptional || place instanceof z.ZodDefault || place instanceof z.ZodPrefault) {
    place = place.unwrap();
  }
  return place;
}

function valueAt(input: unknown, path: readonly PathPart[]): unknown {
  let place = input;
  for (const part of path) {
    if (typeof place !== "object" || place === null || !Object.hasOwn(place, part)) return undefined;
    place = Reflect.get(place, part);
  }
  return place;
}

function nameOfType(expected: string): string {
  const names: Readonly<Record<string, string>> = {
    string: "text",
    number: "a number",
    int: "a whole number",
    boolean: "true or false",
    array: "a list",
    object: "a map",
    record: "a map",
  };
  return names[expected] ?? expected;
}

function nameOfValue(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  switch (typeof value) {
    case "string":
      return "text";
    case "number":
      return "a number";
    case "boolean":
      return "true or false";
    default:
      return "a map";
  }
}
