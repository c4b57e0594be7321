/** Endpoints of a route's rollout: its plan, where it is, and what a person may want of it. */
import { noPlan } from "../control/change.ts";
import type { PersonEvent } from "../domain/rollout_event.ts";
import { encodePlan } from "../domain/rollout_plan.ts";
import { encodeRollout } from "../domain/rollout_state.ts";
import { answer, refusal } from "./answers.ts";
import { answerRoute } from "./current.ts";
import { endpoint, invalid, noQuery, type Endpoint } from "./endpoint.ts";
import type { AdminParts } from "./parts.ts";
import { viewRollout } from "./rollout_view.ts";
import { answerWrite, authorOf, readAuthor, writeAnswers, writeQuery } from "./writes.ts";

/** What a person may want, and what it does. */
const MOVES: Readonly<Record<Exclude<PersonEvent["type"], "rolledBack">, string>> = {
  start: "Start a plan, or start it again from its first step after a rollback",
  pause: "Stop a rollout where it is until a person resumes it",
  resume: "Let a rollout go on that was paused, or held for a person",
  promote: "Give the candidate all traffic now, whatever steps are left",
  abort: "End a rollout and take all traffic back to legacy, now",
  decommission: "Say that legacy is no longer needed; the candidate keeps all traffic",
};

/** /v1/routes/{id}/rollout and everything below it. */
export function rolloutApi(parts: AdminParts): Endpoint[] {
  const moves = Object.keys(MOVES) as (keyof typeof MOVES)[];
  return [showing(parts), ...planning(parts), ...moves.map((move) => moving(parts, move))];
}

function showing(parts: AdminParts): Endpoint {
  return endpoint({
    method: "get",
    path: "/v1/routes/{id}/rollout",
    access: "viewer",
    summary: "The plan of a route and where it is",
    query: noQuery,
    answers: { 200: { description: "Plan and state", shape: "RolloutAnswer", etag: true } },
    faults: ["NOT_FOUND", "STORE_UNAVAILABLE"],
    handle: (call) =>
      answerRoute(parts.commands, call.param("id"), (route, { revision, document }) => {
        const view = viewRollout(parts, document, route);
        if (view === null) {
          const { code, detail } = noPlan(route.id);
          return refusal(code, detail);
        }
        const { plan, state, lines, frozen } = view;
        const shown = {
          revision,
          route: route.id,
          plan: encodePlan(plan),
          state: encodeRollout(state),
          lines,
          frozen_until: frozen === null ? null : new Date(frozen.untilMs).toISOString(),
        };
        return answer(shown, { revision });
      }),
  });
}

function planning(parts: AdminParts): Endpoint[] {
  return [
    endpoint({
      method: "put",
      path: "/v1/routes/{id}/rollout",
      access: "operator",
      summary: "Give a route a plan, or another one",
      query: writeQuery,
      body: { shape: "Rollout", required: true },
      writes: true,
      answers: writeAnswers,
      faults: ["NOT_FOUND", "STORE_UNAVAILABLE"],
      async handle(call) {
        const outcome = await parts.commands.putRollout(call.param("id"), call.body, authorOf(call));
        return answerWrite(parts, call, outcome);
      },
    }),
    endpoint({
      method: "delete",
      path: "/v1/routes/{id}/rollout",
      access: "operator",
      summary: "Take a route's plan away; the weight stays as it is",
      query: writeQuery,
      writes: true,
      answers: writeAnswers,
      faults: ["NOT_FOUND", "STORE_UNAVAILABLE"],
      async handle(call) {
        const outcome = await parts.commands.deleteRollout(call.param("id"), authorOf(call));
        return answerWrite(parts, call, outcome);
      },
    }),
  ];
}

function moving(parts: AdminParts, move: keyof typeof MOVES): Endpoint {
  return endpoint({
    method: "post",
    path: `/v1/routes/{id}/rollout/${move}`,
    access: "operator",
    summary: MOVES[move],
    query: writeQuery,
    body: { shape: "ReasonBody", required: false },
    writes: true,
    answers: writeAnswers,
    faults: ["NOT_FOUND", "STORE_UNAVAILABLE"],
    async handle(call) {
      const id = call.param("id");
      const read = readAuthor(call);
      if (!read.ok) return invalid(read.problems);
      const author = read.value;
      const event = { type: move, nowMs: Math.trunc(parts.clock.wallMs()), reason: author.reason };
      const outcome = await parts.commands.moveRollout(id, event, author);
      if (!outcome.ok) return answerWrite(parts, call, outcome);
      for (const effect of outcome.effects) {
        const { phase } = outcome.state;
        if (effect.type === "announce")
          parts.journal.append("rollout", { route: id, phase, text: effect.text });
      }
      const route = outcome.document.routes.find((known) => known.id === id);
      const view = route === undefined ? null : viewRollout(parts, outcome.document, route);
      return answerWrite(parts, call, outcome, view?.lines);
    },
  });
}
