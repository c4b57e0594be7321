/** The endpoint that shows how a route's backends are doing, and what the judge makes of it. */
import type { z } from "zod";
import type { BackendHealth } from "../control/sampler.ts";
import type { ShadowTotal } from "../control/shadow_totals.ts";
import { writePercent } from "../domain/quantity.ts";
import type { MirrorPolicy } from "../domain/route.ts";
import type { WindowFigures } from "../domain/window.ts";
import { answer } from "./answers.ts";
import { answerRoute } from "./current.ts";
import { endpoint, noQuery, type Endpoint } from "./endpoint.ts";
import type { AdminParts } from "./parts.ts";
import { encodeBrief, encodeJudgement, viewRollout } from "./rollout_view.ts";
import type { shapes } from "./shapes.ts";

type HealthAnswer = z.input<typeof shapes.HealthAnswer>;
type ShownHealth = HealthAnswer["backends"][number];

/** GET /v1/routes/{id}/health. */
export function healthApi(parts: AdminParts): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: "/v1/routes/{id}/health",
      access: "viewer",
      summary: "How both backends of a route are doing, what the judge says of it, and where its rollout is",
      query: noQuery,
      answers: {
        200: {
          description: "Windows of 10 s and 60 s per backend, the evidence, the rollout",
          shape: "HealthAnswer",
          etag: true,
        },
      },
      faults: ["NOT_FOUND", "STORE_UNAVAILABLE"],
      handle: (call) =>
        answerRoute(parts.commands, call.param("id"), (route, { revision, document }) => {
          const known = parts.rollouts.verdict(route.id);
          const rollout = viewRollout(parts, document, route);
          const health: HealthAnswer = {
            revision,
            route: route.id,
            instances: parts.members.counted(),
            backends: parts.sampler.health(route).backends.map(encodeHealth),
            judgement: known === null ? null : encodeJudgement(route, known.verdict),
            braked: parts.brakes.has(route.id),
            rollout: rollout === null ? null : encodeBrief(rollout),
            mirror: encodeMirrored(route.mirror, parts.sampler.shadows.of(route.id)),
          };
          return answer(health, { revision });
        }),
    }),
  ];
}

function encodeHealth(health: BackendHealth): ShownHealth {
  return {
    backend: health.backend,
    role: health.role,
    share_configured_percent: health.shareConfiguredPercent,
    share_observed_percent: health.shareObservedPercent,
    windows: { "10s": encodeFigures(health.windows["10s"]), "60s": encodeFigures(health.windows["60s"]) },
  };
}

/** What became of the copies of a route, or null without a mirror. */
export function encodeMirrored(mirror: MirrorPolicy | null, total: ShadowTotal): HealthAnswer["mirror"] {
  if (mirror === null) return null;
  const { answered = 0, ...dropped } = Object.fromEntries(total.results);
  return {
    to: mirror.to,
    percent: writePercent(mirror.shares),
    sampled: total.sampled,
    answered,
    in_flight: total.inFlight,
    dropped,
  };
}

function encodeFigures(figures: WindowFigures): ShownHealth["windows"]["10s"] {
  const { requests, failures, aborted, p50Ms, p90Ms, p99Ms } = figures;
  return { requests, failures, aborted, p50_ms: p50Ms, p90_ms: p90Ms, p99_ms: p99Ms };
}
