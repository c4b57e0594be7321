/** Random tables for property tests: every part of a document, valid and in the order that decoding gives. */
import fc from "fast-check";
import { DEFAULT_COMPARE } from "../../src/domain/compare_policy.ts";
import type { ComparePolicy } from "../../src/domain/compare_words.ts";
import { DEFAULT_ROLLBACK } from "../../src/domain/failure.ts";
import { findShadowed } from "../../src/domain/order.ts";
import { DURATION_MS_MAX } from "../../src/domain/quantity.ts";
import {
  MIRRORED_METHODS,
  MIRRORED_WRITES,
  ROLLBACK_SIGNALS,
  SHARES_TOTAL,
  type Backend,
  type BackendId,
  type Condition,
  type Document,
  type Endpoint,
  type FailureStatus,
  type Match,
  type MirrorPolicy,
  type PathMatch,
  type Pin,
  type RollbackPolicy,
  type Route,
  type RouteId,
  type Sticky,
  type StickyKey,
} from "../../src/domain/route.ts";
import { decodedPath } from "../../src/domain/path.ts";
import { ownsWeight, pendingRollout } from "../../src/domain/rollout_state.ts";
import { TABLE_LIMITS } from "../../src/domain/schema.ts";
import { planArbitrary, stateArbitrary } from "./rollout_arbitrary.ts";

const ALPHABET = "abcdefghijklmnopqrstuvwxyz";
const DIGITS = "0123456789";

/** Plain objects, as decoding makes them. */
function shape<Model extends object>(model: {
  [Key in keyof Model]: fc.Arbitrary<Model[Key]>;
}): fc.Arbitrary<Model> {
  return fc.record<Model>(model).map((one) => ({ ...one }));
}

/** Texts over an alphabet. */
function word(alphabet: string, minLength: number, maxLength: number): fc.Arbitrary<string> {
  return fc.string({ unit: fc.constantFrom(...alphabet.split("")), minLength, maxLength });
}

/** Names of routes and backends, such as `a`, `7` and `constructor`. */
const nameArbitrary: fc.Arbitrary<string> = fc
  .oneof(
    word(`${ALPHABET}${ALPHABET.toUpperCase()}${DIGITS}._-`, 1, 12),
    fc.constantFrom("constructor", "toString", "7"),
  )
  .filter((name) => !["-", ".", "..", "reason", "__proto__"].includes(name));

const labelArbitrary = word(`${ALPHABET}${DIGITS}_`, 1, 8);
const hostArbitrary = fc
  .tuple(fc.boolean(), fc.array(labelArbitrary, { minLength: 1, maxLength: 3 }))
  .map(([isWildcard, labels]) => `${isWildcard ? "*." : ""}${labels.join(".")}`);
const tokenArbitrary = word(`${ALPHABET}${DIGITS}!#$%&'*+-.^_|~`, 1, 10).filter(
  (name) => name !== "__proto__",
);
const visibleArbitrary = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
  minLength: 1,
  maxLength: 12,
});
const valueArbitrary = fc.oneof(visibleArbitrary, fc.constantFrom("", "true", "a b", "日本", "ü"));

const unixEndpointArbitrary: fc.Arbitrary<Endpoint> = fc
  .array(word(`${ALPHABET}${DIGITS}_-`, 1, 8), { minLength: 1, maxLength: 3 })
  .map((parts) => `/${parts.join("/")}.sock`)
  .map((path) => ({ address: `unix:${path}`, path }));

const tcpEndpointArbitrary: fc.Arbitrary<Endpoint> = fc
  .tuple(
    fc.oneof(
      fc.ipV4(),
      fc.constantFrom("[::1]", "[fe80::1:2]"),
      // A last label of letters: one of digits would be an IPv4 address in disguise.
      fc.tuple(labelArbitrary, word(ALPHABET, 2, 6)).map(([label, top]) => `${label}.${top}`),
    ),
    fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined }),
  )
  .map(([host, port]) => ({
    address: port === undefined ? `http://${host}` : `http://${host}:${port}`,
    host: host.replace(/^\[(.*)\]$/, "$1"),
    port: port ?? 80,
  }));

const endpointArbitrary = fc.oneof({ weight: 4, arbitrary: tcpEndpointArbitrary }, unixEndpointArbitrary);

const pathArbitrary = fc
  .array(word(`${ALPHABET}${DIGITS}-_~!$&'()+,;=:@`, 0, 6), { maxLength: 4 })
  .map((segments) => `/${segments.join("/")}`)
  .filter((path) => decodedPath(path) === path);

const pathMatchArbitrary: fc.Arbitrary<PathMatch> = fc.oneof(
  shape({ kind: fc.constantFrom("prefix", "exact"), value: pathArbitrary }),
  shape({ kind: fc.constant("regex"), value: fc.constantFrom("/v[0-9]+/.*", "(a|b)", "/x", ".*\\.png") }),
);

const methodsArbitrary = fc.uniqueArray(fc.constantFrom("GET", "HEAD", "POST", "PURGE"), { maxLength: 3 });

const conditionArbitrary: fc.Arbitrary<Condition> = fc
  .tuple(
    fc.constantFrom("header", "query", "cookie"),
    fc.oneof(tokenArbitrary, fc.constantFrom("1", "2", "constructor")),
    fc.option(valueArbitrary, { nil: undefined }),
  )
  .map(([source, name, value]): Condition => {
    const plain = name.replace(/[&=#]/g, "x");
    return value === undefined ? { source, name: plain } : { source, name: plain, value };
  });

/** Conditions as decoding gives them: by source, and within one in the order that maps keep their keys in. */
function inMapOrder(conditions: readonly Condition[]): Condition[] {
  return (["header", "query", "cookie"] as const).flatMap((source) => {
    const own = conditions.filter((condition) => condition.source === source);
    return Object.values(Object.fromEntries(own.map((condition) => [condition.name, condition])));
  });
}

const matchArbitrary: fc.Arbitrary<Match> = shape({
  hosts: fc.uniqueArray(hostArbitrary, { maxLength: 3 }),
  path: pathMatchArbitrary,
  methods: methodsArbitrary,
  conditions: fc.array(conditionArbitrary, { maxLength: 4 }).map(inMapOrder),
});

const stickyKeyArbitrary: fc.Arbitrary<StickyKey> = fc.oneof(
  shape({ from: fc.constantFrom("cookie", "header"), name: tokenArbitrary }),
  shape({ from: fc.constant("claim"), name: visibleArbitrary }),
  fc.constantFrom({ from: "issue" as const }, { from: "address" as const }),
);

const stickyArbitrary: fc.Arbitrary<Sticky> = shape({
  keys: fc.uniqueArray(stickyKeyArbitrary, {
    maxLength: 4,
    selector: (key) => ("name" in key ? `${key.from}:${key.name}` : key.from),
  }),
  salt: fc.oneof(visibleArbitrary, fc.constant("legacy/new")),
});

const durationArbitrary = fc.oneof(
  fc.integer({ min: 1, max: DURATION_MS_MAX }),
  fc.constantFrom(1, 3000, 60_000, 3_600_000, DURATION_MS_MAX),
);

const statusesArbitrary: fc.Arbitrary<FailureStatus[]> = fc
  .uniqueArray(fc.oneof(fc.constantFrom<FailureStatus>("4xx", "5xx"), fc.integer({ min: 400, max: 599 })), {
    minLength: 1,
    maxLength: 6,
  })
  .map((statuses) =>
    statuses.filter((one) => typeof one === "string" || !statuses.includes(one < 500 ? "4xx" : "5xx")),
  );

const rollbackArbitrary: fc.Arbitrary<RollbackPolicy | null> = fc.oneof(
  fc.constantFrom(null, DEFAULT_ROLLBACK),
  shape<RollbackPolicy>({
    on: fc.shuffledSubarray([...ROLLBACK_SIGNALS], { minLength: 1 }),
    tolerance: fc.oneof(fc.constant(DEFAULT_ROLLBACK.tolerance), fc.double({ min: 1, max: 10, noNaN: true })),
    falseAlarm: fc.oneof(
      fc.constant(DEFAULT_ROLLBACK.falseAlarm),
      fc.double({ min: 0.000001, max: 0.05, noNaN: true }),
    ),
    statuses: fc.oneof(fc.constant(DEFAULT_ROLLBACK.statuses), statusesArbitrary),
  }),
);

/** Some of what a mirror may say of comparing; test/property/compare.test.ts has all of it. */
const COMPARE_POLICIES: readonly (ComparePolicy | null)[] = [
  DEFAULT_COMPARE,
  null,
  { ...DEFAULT_COMPARE, status: false, headers: [], noisePercent: 0 },
  { ...DEFAULT_COMPARE, body: "json", bodyBytesMax: 1000, ignore: [["a", "*"]], tolerance: 0.5 },
];

/** Mirrors to any of these backends. */
function mirrorArbitrary(ids: readonly BackendId[], isSticky: boolean): fc.Arbitrary<MirrorPolicy> {
  return shape<MirrorPolicy>({
    to: fc.constantFrom(...ids),
    shares: fc.integer({ min: 0, max: SHARES_TOTAL }),
    by: isSticky ? fc.constantFrom("bucket", "random") : fc.constant("random"),
    methods: fc.shuffledSubarray([...MIRRORED_METHODS], { minLength: 1 }),
    writes: fc.shuffledSubarray([...MIRRORED_WRITES]),
    match: matchArbitrary.map(({ path, conditions }) => ({ path, conditions })),
    bodyBytesMax: fc.oneof(fc.constant(65_536), fc.integer({ min: 0, max: TABLE_LIMITS.retryBodyBytes })),
    timeoutMs: fc.oneof(fc.constant(10_000), durationArbitrary),
    inFlightMax: fc.oneof(fc.constant(256), fc.integer({ min: 1, max: TABLE_LIMITS.mirrorsInFlight })),
    compare: fc.constantFrom(...COMPARE_POLICIES),
  });
}

/** A plan without the bound that nothing would ever be known of. */
function sighted(plan: Route["rollout"], mirror: MirrorPolicy | null): Route["rollout"] {
  return plan === null || (mirror !== null && mirror.compare !== null)
    ? plan
    : { ...plan, differences: null };
}

/** Routes whose cutover is between two of these backends. */
function routeArbitrary(backends: readonly Backend[]): fc.Arbitrary<Route> {
  const ids = backends.map((backend) => backend.id);
  return fc.shuffledSubarray(ids, { minLength: 2, maxLength: 2 }).chain((pair) => {
    const [legacy, candidate] = pair as [BackendId, BackendId];
    const pinArbitrary: fc.Arbitrary<Pin> = shape({
      when: conditionArbitrary,
      to: fc.constantFrom(legacy, candidate),
    });
    return shape({
      id: nameArbitrary.map((name) => name as RouteId),
      match: matchArbitrary,
      cutover: fc.constant({ legacy, candidate }),
      candidateShares: fc.integer({ min: 0, max: SHARES_TOTAL }),
      sticky: fc.oneof(
        stickyArbitrary,
        fc.constant<Sticky>({ keys: [{ from: "issue" }], salt: `${legacy}/${candidate}` }),
      ),
      pins: fc.array(pinArbitrary, { maxLength: 3 }),
      timeouts: shape({
        connectMs: durationArbitrary,
        responseMs: fc.oneof(fc.constant(0), durationArbitrary),
        idleMs: fc.oneof(fc.constant(0), durationArbitrary),
      }),
      retries: shape({
        attempts: fc.integer({ min: 0, max: TABLE_LIMITS.retryAttempts }),
        bodyBytesMax: fc.oneof(
          fc.integer({ min: 0, max: TABLE_LIMITS.retryBodyBytes }),
          fc.constantFrom(0, 1024, 65_536, TABLE_LIMITS.retryBodyBytes),
        ),
      }),
      websocket: fc.boolean(),
      trailers: fc.boolean(),
      evacuate: fc.constantFrom("keep", "cut"),
      expose: fc.boolean(),
      rollback: rollbackArbitrary,
      mirror: fc.constant(null),
      rollout: fc.option(planArbitrary.map((plan) => structuredClone(plan))),
    }).chain((route) =>
      fc
        .option(mirrorArbitrary(ids, route.sticky.keys.length > 0))
        .map((mirror): Route => ({ ...route, mirror, rollout: sighted(route.rollout, mirror) })),
    );
  });
}

const backendsArbitrary: fc.Arbitrary<Backend[]> = fc
  .uniqueArray(nameArbitrary, { minLength: 2, maxLength: 5 })
  // Maps put keys that are whole numbers first, and so does decoding.
  .map((names) => Object.keys(Object.fromEntries(names.map((name) => [name, true]))))
  .chain((names) =>
    fc.tuple(
      ...names.map((name) =>
        fc
          .tuple(
            fc.uniqueArray(endpointArbitrary, {
              minLength: 1,
              maxLength: 3,
              selector: (one) => ("path" in one ? one.path : `${one.host} ${one.port}`),
            }),
            fc.constantFrom({}, { proxyProtocol: "v1" as const }, { proxyProtocol: "v2" as const }),
          )
          .map(([endpoints, greeting]) => ({ id: name as BackendId, endpoints, ...greeting })),
      ),
    ),
  );

/** Valid documents: no two routes of one name, none that can never match, and no rollout that anybody has started. */
export const documentArbitrary: fc.Arbitrary<Document> = backendsArbitrary.chain((backends) =>
  fc.uniqueArray(routeArbitrary(backends), { maxLength: 5, selector: (route) => route.id }).map((routes) => {
    const dead = new Set(findShadowed(routes).map(({ later }) => later.position));
    const alive = routes.filter((_, position) => !dead.has(position));
    const planned = alive.filter(({ rollout }) => rollout !== null);
    return {
      backends,
      routes: alive,
      rollouts: planned.map(({ id }) => ({ route: id, state: pendingRollout(0) })),
    };
  }),
);

/** Valid documents whose rollouts are anywhere; those that own the weight of their route have it. */
export const startedArbitrary: fc.Arbitrary<Document> = documentArbitrary.chain((document) => {
  const planned = document.routes.flatMap((route) =>
    route.rollout === null ? [] : [{ route, plan: route.rollout }],
  );
  return fc
    .tuple(...planned.map(({ route, plan }) => stateArbitrary(plan, route.candidateShares)))
    .map((states) => {
      const rollouts = states.map((state, index) => ({ route: planned[index]?.route.id as RouteId, state }));
      const routes = document.routes.map((route) => {
        const state = rollouts.find((one) => one.route === route.id)?.state;
        return state !== undefined && ownsWeight(state)
          ? { ...route, candidateShares: state.candidateShares }
          : route;
      });
      return { backends: document.backends, routes, rollouts };
    });
});
