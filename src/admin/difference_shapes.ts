/** The JSON shape of what is known of the differences between two backends. */
import { z } from "zod";

const count = z.int().min(0);
const rate = z.number().min(0).max(1);
const moment = z.iso.datetime();

const differing = z.strictObject({
  differing: count.meta({ description: "Pairs that differed" }),
  compared: count.meta({ description: "Pairs that were compared" }),
});

const sample = z.strictObject({
  at: moment,
  kind: z.enum(["missing", "added", "type", "value", "length", "order"]),
  left: z.string().nullable().meta({ description: "What legacy said, masked and short" }),
  right: z.string().nullable().meta({ description: "What the candidate said" }),
});

const field = z.strictObject({
  field: z.string().meta({ description: "fault, status, header NAME, body, body POINTER, or other" }),
  verdict: z.enum(["real difference", "difference, noise not measured", "not decided yet", "known noise"]),
  evidence: z.number().min(0).max(10).meta({ description: "10 where the difference is real" }),
  pairs: differing.meta({ description: "Of legacy and the candidate" }),
  noise: differing.meta({ description: "Of legacy and legacy" }),
  first_seen: moment,
  last_seen: moment,
  samples: z.array(sample).max(2),
});

/** Everything about the comparisons of one route. */
export const comparisonShape = z.strictObject({
  legacy: z.string(),
  candidate: z.string(),
  basis: z.string().meta({ description: "Another one for another pair or policy: counts begin anew" }),
  since: moment,
  summary: z.strictObject({
    text: z.string().meta({ description: "All of it in one sentence" }),
    compared: count,
    matched: count,
    mismatched: count,
    failures: count.meta({ description: "Mismatches in which the candidate failed and legacy did not" }),
    rate: rate.nullable().meta({ description: "Mismatches per comparison; null without any" }),
    rate_below: rate.meta({ description: "The rate is below this with the confidence, whenever one looks" }),
    confidence: rate,
    not_compared: z.record(z.string(), count).meta({ description: "By reason" }),
    noise: differing,
  }),
  fields: z.array(field).meta({ description: "Fields that ever differed, real differences first" }),
});
