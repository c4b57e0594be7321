/** Parts of schemas: texts, numbers, durations, percent and lists, each with what to write instead. */
import { z } from "zod";
import { readDuration, readLimit, readPercent } from "./quantity.ts";
import { nameFault } from "./syntax.ts";

/** Text that a function finds no fault with. */
export function text(faultOf: (value: string) => string | null) {
  return z.string().superRefine((value, context) => {
    const fault = faultOf(value);
    if (fault !== null) context.addIssue({ code: "custom", message: fault });
  });
}

/** A duration such as `250ms`, `5s`, `2m` or `1h`, from `msMin` milliseconds to 24 hours. */
export function duration(msMin: number) {
  const message = `write a duration from ${msMin}ms to 24h with its unit, such as "250ms", "5s", "2m" or "1h"`;
  return z
    .string({ error: message })
    .refine((value) => (readDuration(value) ?? -1) >= msMin, { error: message });
}

const durationOrOffMessage =
  'write a duration from 1ms to 24h with its unit, such as "250ms", "5s", "2m" or "1h", or "off"';

/** A duration from 1 ms on, or `off` for no limit. */
export const durationOrOff = z
  .string({ error: durationOrOffMessage })
  .refine((value) => (readLimit(value) ?? -1) >= 0, { error: durationOrOffMessage });

/** A list of `least` to `most` entries. */
export function list<Item extends z.ZodType>(item: Item, least: number, most: number) {
  const error = least === 0 ? `at most ${most} entries are allowed` : `write ${least} to ${most} entries`;
  return z.array(item).min(least, { error }).max(most, { error });
}

/** A whole number from `least` to `most`. */
export function whole(least: number, most: number) {
  const error = `write a whole number from ${least} to ${most}`;
  return z.int({ error }).min(least, { error }).max(most, { error });
}

/** A number from `least` to `most`. */
export function between(least: number, most: number) {
  const error = `write a number from ${least} to ${most}`;
  return z.number({ error }).min(least, { error }).max(most, { error });
}

/** The name of a route, a backend or a token. */
export const nameSchema = text(nameFault);

/** A percentage with at most 3 decimals. */
export const percentSchema = z
  .number({ error: "write a number of percent, such as 5 or 12.5" })
  .refine((percent) => readPercent(percent) !== null, {
    error: "write 0 to 100 percent with at most 3 decimals",
  })
  .meta({ minimum: 0, maximum: 100 });
