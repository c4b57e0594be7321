/** What a route matches and who is pinned: between the operator's form and the program's. */
import { examineKeys, isMap } from "./examine.ts";
import { type Findings, nearestName, refuseRepeats, type PathPart } from "./problems.ts";
import type { BackendId, Condition, Cutover, Match, PathMatch, Pin } from "./route.ts";
import { ROUTE_DEFAULTS, matchSchema, pinSchema } from "./schema.ts";
import { shorten } from "./syntax.ts";

type Path = readonly PathPart[];

/** The keys of a match that hold conditions, and what these look at. */
const CONDITION_KEYS = [
  ["headers", "header"],
  ["query", "query"],
  ["cookies", "cookie"],
] as const;

/** The keys of a match of which one says what the path must be, and the kinds they stand for. */
const PATH_KEYS = [
  ["path", "prefix"],
  ["exact", "exact"],
  ["regex", "regex"],
] as const;

const PIN_SOURCES = ["header", "cookie", "query"] as const;

/** Reads a match in the operator's form. Gives null only when it is no map; otherwise what could be read. */
export function readMatch(input: unknown, path: Path, findings: Findings): Match | null {
  const keys = examineKeys(matchSchema, input, path, findings);
  if (keys === undefined) return null;
  const written = PATH_KEYS.filter(([key]) => isMap(input) && input[key] !== undefined);
  for (const [key] of written.slice(1)) {
    findings.add(
      [...path, key],
      `"${written[0]?.[0]}" says already what the path must be; keep one of them`,
      "key",
    );
  }
  const hosts = (keys.hosts ?? []).map((host) => host.toLowerCase());
  refuseRepeats(hosts, [...path, "hosts"], findings);
  refuseRepeats(keys.methods ?? [], [...path, "methods"], findings);
  const conditions: Condition[] = [];
  for (const [key, source] of CONDITION_KEYS) {
    for (const [name, wanted] of Object.entries(keys[key] ?? {})) {
      const condition = { source, name: source === "header" ? name.toLowerCase() : name };
      if (conditions.some((other) => other.source === source && other.name === condition.name)) {
        findings.add([...path, key, name], `the field "${condition.name}" stands here twice`, "key");
      }
      conditions.push(wanted === true ? condition : { ...condition, value: wanted });
    }
  }
  let pathMatch: PathMatch = { kind: "prefix", value: ROUTE_DEFAULTS.path };
  for (const [key, kind] of PATH_KEYS) {
    const value = keys[key];
    if (value !== undefined) pathMatch = { kind, value };
  }
  return { hosts, path: pathMatch, methods: keys.methods ?? [], conditions };
}

/** A match in the operator's form, without what equals its default. */
export function encodeMatch(match: Match): Record<string, unknown> {
  const map: Record<string, unknown> = {};
  const { kind, value } = match.path;
  if (match.hosts.length > 0) map["hosts"] = match.hosts;
  if (kind !== "prefix") map[kind] = value;
  else if (value !== ROUTE_DEFAULTS.path) map["path"] = value;
  if (match.methods.length > 0) map["methods"] = match.methods;
  for (const [key, source] of CONDITION_KEYS) {
    const own = match.conditions.filter((condition) => condition.source === source);
    if (own.length > 0) map[key] = Object.fromEntries(own.map((one) => [one.name, one.value ?? true]));
  }
  return map;
}

/** Reads a pin in the operator's form. Without a cutover its backend goes unchecked. */
export function readPin(input: unknown, cutover: Cutover | null, path: Path, findings: Findings): Pin | null {
  const keys = examineKeys(pinSchema, input, path, findings);
  if (keys === undefined) return null;
  const sources = PIN_SOURCES.filter((source) => isMap(input) && input[source] !== undefined);
  if (sources.length !== 1) findings.add(path, "a pin names one header, one cookie or one query parameter");
  if (keys.to !== undefined && cutover !== null) {
    refuseStranger(keys.to, cutover, [...path, "to"], "value", findings);
  }
  const source = sources[0];
  const name = source === undefined ? undefined : keys[source];
  if (source === undefined || name === undefined || keys.to === undefined) return null;
  const condition = { source, name: source === "header" ? name.toLowerCase() : name };
  const when = keys.value === undefined ? condition : { ...condition, value: keys.value };
  return { when, to: keys.to as BackendId };
}

/** A pin in the operator's form. */
export function encodePin(pin: Pin): Record<string, unknown> {
  const { source, name, value } = pin.when;
  return value === undefined ? { [source]: name, to: pin.to } : { [source]: name, value, to: pin.to };
}

/** Adds a finding when a name is neither of the two backends of a cutover. */
export function refuseStranger(
  name: string,
  cutover: Cutover,
  path: Path,
  about: "key" | "value",
  findings: Findings,
): void {
  const members: string[] = [cutover.legacy, cutover.candidate];
  if (members.includes(name)) return;
  const nearest = nearestName(name, members);
  const advice = nearest === null ? `use ${members.join(" or ")}` : `did you mean "${nearest}"?`;
  findings.add(path, `"${shorten(name)}" is not a backend of this route's cutover; ${advice}`, about);
}
