/** The form in which a table is stored: the operator's, and where each rollout is. */
import type { Result } from "../base/fault.ts";
import { encodeDocument, inspectDocument, ROLLOUTS } from "./document.ts";
import { isMap } from "./examine.ts";
import { Findings, findProtoKeys, resultOf, type PathPart } from "./problems.ts";
import { encodeRollout, ownsWeight, pendingRollout, readRollout } from "./rollout_state.ts";
import type { RolloutState } from "./rollout_words.ts";
import type { Document, Route } from "./route.ts";

type Path = readonly PathPart[];

/**
 * Reads a stored table, which was committed at `atMs` (Unix time). Gives the document, or every problem with its JSON
 * pointer.
 *
 * A plan without a state was never started. A state that is damaged, contradicts its route or has no plan is refused:
 * traffic must not be moved by it.
 */
export function decodeStored(input: unknown, atMs: number): Result<Document> {
  const findings = new Findings();
  findProtoKeys(input, findings);
  return resultOf(inspectStored(input, atMs, [], findings), findings);
}

/** Reads a stored table that is part of a larger input. Gives null after everything wrong was added to `findings`. */
export function inspectStored(input: unknown, atMs: number, path: Path, findings: Findings): Document | null {
  const before = findings.count;
  const document = inspectDocument(withoutStates(input), path, findings);
  const written = isMap(input) ? input[ROLLOUTS] : undefined;
  const place = [...path, ROLLOUTS];
  if (written !== undefined && !isMap(written)) findings.add(place, "write a map here");
  const states = isMap(written) ? written : {};
  const planned = document?.routes.filter(({ rollout }) => rollout !== null) ?? [];
  const rollouts = planned.map((route) => {
    const own = Object.hasOwn(states, route.id) ? states[route.id] : undefined;
    const none = pendingRollout(Math.max(0, Math.trunc(atMs)));
    const state = own === undefined ? none : readState(own, route, [...place, route.id], findings);
    return { route: route.id, state: state ?? none };
  });
  // Which routes have plans is not known before the routes can be read.
  if (document === null) return null;
  const names = new Set<string>(planned.map(({ id }) => id));
  for (const name of Object.keys(states)) {
    if (!names.has(name)) findings.add([...place, name], "there is no route of this name with a plan", "key");
  }
  return findings.count === before ? { ...document, rollouts } : null;
}

/** A document as it is stored; decodeStored gives the same document again. */
export function encodeStored(document: Document): unknown {
  const states = document.rollouts.map(({ route, state }) => [route, encodeRollout(state)]);
  const rollouts = states.length === 0 ? {} : { [ROLLOUTS]: Object.fromEntries(states) };
  return { ...encodeDocument(document), ...rollouts };
}

/** A stored table in the operator's form, also one that this version cannot read. */
export function withoutStates(table: unknown): unknown {
  if (!isMap(table)) return table;
  const { [ROLLOUTS]: _, ...rest } = table;
  return rest;
}

function readState(input: unknown, route: Route, path: Path, findings: Findings): RolloutState | null {
  const state = readRollout(input, path, findings);
  if (state === null || !ownsWeight(state) || state.candidateShares === route.candidateShares) return state;
  const message = "the route has another weight, and a rollout that has begun has its own";
  findings.add([...path, "candidate_shares"], message);
  return null;
}
