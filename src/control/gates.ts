/** Asks the gates of rollouts: one request each, whose answer is yes, no, or nothing in time. */
import { request } from "undici";
import type { CallGate, GateResult } from "../domain/rollout_event.ts";

/** What a gate is told of the rollout. */
export interface GateStory {
  readonly route: string;
  readonly legacy: string;
  readonly candidate: string;
  /** The weight that is set now, in percent. */
  readonly weight: number;
  /** Why the rollout is where it is. */
  readonly reason: string;
}

/** What came of a call. */
export type GateOutcome = Pick<GateResult, "outcome" | "detail">;

/** So much of an answer is read, and so much of it is told. */
const ANSWER_BYTES_MAX = 65_536;
const DETAIL_CHARS_MAX = 300;

/**
 * Makes one call: a POST with JSON. Any 2xx passes; any other status fails, with the answer's `reason`, or its text.
 *
 * An address that cannot be reached is no answer, which is what a timeout is: the plan says what follows. The
 * Idempotency-Key is the same when another instance repeats the call. Never throws.
 */
export async function askGate(call: CallGate, story: GateStory): Promise<GateOutcome> {
  const { gate, runId, step, point } = call;
  const key = `${story.route}-${runId}-${step}-${point}-${call.call}`;
  try {
    const answer = await request(gate.url, {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": key, "user-agent": "crossfade" },
      body: JSON.stringify({ point, run: runId, step, ...story }),
      signal: AbortSignal.timeout(gate.timeoutMs),
    });
    const text = await readSome(answer.body);
    const isPassed = answer.statusCode >= 200 && answer.statusCode < 300;
    const said = sayingOf(text);
    return isPassed
      ? { outcome: "passed", detail: said }
      : { outcome: "failed", detail: `it answered ${answer.statusCode}${said === "" ? "" : `: ${said}`}` };
  } catch (error) {
    return { outcome: "timeout", detail: whyNot(error, gate.timeoutMs) };
  }
}

async function readSome(body: AsyncIterable<Buffer> & { destroy(): unknown }): Promise<string> {
  let text = "";
  for await (const piece of body) {
    text += piece.toString("utf8");
    if (text.length >= ANSWER_BYTES_MAX) break;
  }
  return text;
}

function sayingOf(text: string): string {
  let said = text.trim();
  try {
    const value: unknown = JSON.parse(text);
    if (
      typeof value === "object" &&
      value !== null &&
      "reason" in value &&
      typeof value.reason === "string"
    ) {
      said = value.reason;
    }
  } catch (error) {
    // No JSON: the text itself is what it said.
    if (!(error instanceof SyntaxError)) throw error;
  }
  return said.slice(0, DETAIL_CHARS_MAX);
}

function whyNot(error: unknown, timeoutMs: number): string {
  if (error instanceof Error && error.name === "TimeoutError") return `no answer in ${timeoutMs} ms`;
  return error instanceof Error ? error.message.slice(0, DETAIL_CHARS_MAX) : "no answer";
}
