/** The endpoint that shows in what the answers of a route's two backends differ. */
import type { z } from "zod";
import { comparisonReport } from "../domain/comparison_report.ts";
import type { Route } from "../domain/route.ts";
import { answer } from "./answers.ts";
import { answerRoute } from "./current.ts";
import { endpoint, noQuery, type Endpoint } from "./endpoint.ts";
import { encodeMirrored } from "./health_api.ts";
import type { AdminParts } from "./parts.ts";
import type { shapes } from "./shapes.ts";

type DifferencesAnswer = z.input<typeof shapes.DifferencesAnswer>;

/** GET /v1/routes/{id}/differences. */
export function differencesApi(parts: AdminParts): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: "/v1/routes/{id}/differences",
      access: "viewer",
      summary: "In what the answers to mirrored requests differ, and in which fields that is more than noise",
      query: noQuery,
      answers: {
        200: {
          description: "Counts, the bound on the mismatch rate, and every field that ever differed",
          shape: "DifferencesAnswer",
          etag: true,
        },
      },
      faults: ["NOT_FOUND", "STORE_UNAVAILABLE"],
      handle: (call) =>
        answerRoute(parts.commands, call.param("id"), (route, { revision }) => {
          const known = parts.comparisons.of(route);
          const told: DifferencesAnswer = {
            revision,
            route: route.id,
            mirror: encodeMirrored(route.mirror, parts.sampler.shadows.of(route.id)),
            instances: known?.instances ?? 0,
            comparison: known === null ? null : toShape(comparisonReport(known)),
            reason: known === null ? reasonOf(route) : null,
          };
          return answer(told, { revision });
        }),
    }),
  ];
}

function reasonOf(route: Route): string {
  if (route.mirror === null) {
    return `route "${route.id}" has no mirror, so there is nothing to compare; give it one with "mirror"`;
  }
  if (route.mirror.compare === null) return `the mirror of route "${route.id}" says "compare: off"`;
  return "nothing is known yet: ask again in a second";
}

type Shape = NonNullable<DifferencesAnswer["comparison"]>;

/** The same, with lists that may be written to. */
function toShape({ fields, summary, ...rest }: ReturnType<typeof comparisonReport>): Shape {
  return {
    ...rest,
    summary: { ...summary, not_compared: { ...summary.not_compared } },
    fields: fields.map((field) => ({ ...field, samples: [...field.samples] })),
  };
}
