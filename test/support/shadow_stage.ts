/** A plane with a mirror, for tests of copies: legacy answers, the candidate is the shadow. */
import { expect } from "vitest";
import {
  NO_COMPARISONS,
  type ComparisonCounts,
  type PairCounts,
} from "../../src/domain/comparison_counts.ts";
import { MIRRORED_METHODS, type BackendId, type MirrorPolicy, type Route } from "../../src/domain/route.ts";
import { GET, OK, PlaneStage, type TestPlane } from "./plane.ts";
import { until } from "./wait.ts";
import { answering, type RawBackend } from "./wire.ts";

/** Every request that may have a copy has one. */
export const ALL: MirrorPolicy = {
  to: "new" as BackendId,
  shares: 100_000,
  by: "bucket",
  methods: MIRRORED_METHODS,
  writes: [],
  match: { path: { kind: "prefix", value: "/" }, conditions: [] },
  bodyBytesMax: 65_536,
  timeoutMs: 10_000,
  inFlightMax: 256,
  compare: null,
};
/** Bytes. */
export const MIB = 1024 * 1024;

type Backend = RawBackend & { readonly port: number };

/** A plane and its two backends. */
export interface Mirrored {
  readonly started: TestPlane;
  readonly legacy: Backend;
  readonly shadow: Backend;
}

/** What one test starts, mirrors included. */
export class ShadowStage extends PlaneStage {
  /** A plane whose legacy answers and whose candidate is the shadow. */
  async mirrored(
    script: RawBackend["script"],
    mirror: Partial<MirrorPolicy> = {},
    route: Partial<Route> = {},
  ): Promise<Mirrored> {
    const legacy = await this.backend(answering(OK));
    const shadow = await this.backend(script);
    const ports = { legacy: [legacy.port], candidate: [shadow.port] };
    const started = await this.plane(ports, { mirror: { ...ALL, ...mirror }, ...route });
    return { started, legacy, shadow };
  }

  /** Sends a request on a connection of its own and waits for legacy's answer. */
  async ask(started: TestPlane, text = GET): Promise<string> {
    const one = this.client(started.port);
    one.send(text);
    await one.sees(/\r\n\r\nok$/);
    return one.received;
  }
}

/** What was counted of copies, by what. */
export function counted({ plane }: TestPlane): Record<string, number> {
  return Object.fromEntries(plane.shadows.report(true).map(([, what, count]) => [what, count]));
}

/** Copies under way. */
export function inFlight(started: TestPlane): number {
  const { sampled = 0, ...results } = counted(started);
  return sampled - Object.values(results).reduce((sum, count) => sum + count, 0);
}

/** Waits until no copy is under way, and gives what was counted. Nothing is held any more then. */
export async function settled(started: TestPlane): Promise<Record<string, number>> {
  await until(
    () => `all copies end: ${JSON.stringify(counted(started))}`,
    () => inFlight(started) === 0,
  );
  // Answers are held until they were compared.
  await until("nothing is held any more", () => started.plane.shadows.heldBytes === 0);
  return counted(started);
}

/** The totals of all comparisons of the only route, once every pair is counted. */
export async function compared(started: TestPlane, pairs: number): Promise<ComparisonCounts> {
  const counts = (): ComparisonCounts =>
    started.plane.shadows.comparer.report(true)[0]?.counts ?? NO_COMPARISONS;
  await until(
    () => `${pairs} pairs are compared: ${JSON.stringify(counts())}`,
    () => allOf(counts().pairs) >= pairs,
  );
  await until("nothing is held any more", () => started.plane.shadows.heldBytes === 0);
  expect(allOf(counts().pairs)).toBe(pairs);
  return counts();
}

/** Every pair of one kind, whatever came of it. */
export function allOf({ matched, mismatched, notCompared }: PairCounts): number {
  return Object.values(notCompared).reduce((sum, count) => sum + count, matched + mismatched);
}
