/** The mirror policy of a route: between the operator's form and the program's. */
import { encodeCompare, readCompare } from "./compare_policy.ts";
import { examineKeys } from "./examine.ts";
import { encodeMatch, readMatch } from "./match.ts";
import { type Findings, refuseRepeats, unknownBackendMessage, type PathPart } from "./problems.ts";
import { durationMs, readPercent, sizeBytes, writeDuration, writePercent, writeSize } from "./quantity.ts";
import { MIRRORED_METHODS, type BackendId, type MirrorPolicy, type Sticky } from "./route.ts";
import { MIRROR_DEFAULTS, mirrorOutline } from "./schema.ts";

const DEFAULT_BODY_BYTES = sizeBytes(MIRROR_DEFAULTS.body);
const DEFAULT_TIMEOUT_MS = durationMs(MIRROR_DEFAULTS.timeout);

/** What a mirror depends on besides itself. */
interface MirrorPlace {
  /** The backends of the table, or null when they could not be read. */
  readonly names: readonly string[] | null;
  /** Whether clients of the route have buckets of their own. */
  readonly isSticky: boolean;
}

/**
 * Reads a policy in the operator's form; undefined stands for none. Gives null for that, and after something wrong was
 * added to `findings`.
 */
export function readMirror(
  input: unknown,
  place: MirrorPlace,
  path: readonly PathPart[],
  findings: Findings,
): MirrorPolicy | null {
  if (input === undefined) return null;
  const before = findings.count;
  const keys = examineKeys(mirrorOutline, input, path, findings);
  if (keys === undefined) return null;
  const { to, percent } = keys;
  if (to !== undefined && place.names?.includes(to) === false) {
    findings.add([...path, "to"], unknownBackendMessage(to, place.names));
  }
  if (keys.by === "bucket" && !place.isSticky) {
    const message = 'clients have no buckets where "sticky.keys" is empty; write random, or leave it out';
    findings.add([...path, "by"], message);
  }
  const methods = (keys.methods ?? MIRRORED_METHODS) as MirrorPolicy["methods"];
  refuseRepeats(methods, [...path, "methods"], findings);
  refuseRepeats(keys.writes ?? [], [...path, "writes"], findings);
  const match = readMatch(keys.match ?? {}, [...path, "match"], findings);
  const compare = readCompare(keys.compare, [...path, "compare"], findings);
  if (findings.count > before || to === undefined || percent === undefined || match === null) return null;
  return {
    to: to as BackendId,
    shares: readPercent(percent) ?? 0,
    by: keys.by ?? defaultBy(place.isSticky),
    methods,
    writes: keys.writes ?? [],
    match: { path: match.path, conditions: match.conditions },
    bodyBytesMax: sizeBytes(keys.max_body ?? MIRROR_DEFAULTS.body),
    timeoutMs: durationMs(keys.timeout ?? MIRROR_DEFAULTS.timeout),
    inFlightMax: keys.concurrency ?? MIRROR_DEFAULTS.concurrency,
    compare,
  };
}

/** A policy in the operator's form, without what equals its default. */
export function encodeMirror(mirror: MirrorPolicy, sticky: Sticky): Record<string, unknown> {
  const match = encodeMatch({ hosts: [], methods: [], ...mirror.match });
  const map: Record<string, unknown> = { to: mirror.to, percent: writePercent(mirror.shares) };
  if (mirror.by !== defaultBy(sticky.keys.length > 0)) map["by"] = mirror.by;
  if (mirror.methods.join(" ") !== MIRRORED_METHODS.join(" ")) map["methods"] = mirror.methods;
  if (mirror.writes.length > 0) map["writes"] = mirror.writes;
  if (Object.keys(match).length > 0) map["match"] = match;
  if (mirror.bodyBytesMax !== DEFAULT_BODY_BYTES) map["max_body"] = writeSize(mirror.bodyBytesMax);
  if (mirror.timeoutMs !== DEFAULT_TIMEOUT_MS) map["timeout"] = writeDuration(mirror.timeoutMs);
  if (mirror.inFlightMax !== MIRROR_DEFAULTS.concurrency) map["concurrency"] = mirror.inFlightMax;
  const compare = encodeCompare(mirror.compare);
  if (compare !== undefined) map["compare"] = compare;
  return map;
}

/** The same clients again and again, where they can be told apart. */
function defaultBy(isSticky: boolean): MirrorPolicy["by"] {
  return isSticky ? "bucket" : "random";
}
