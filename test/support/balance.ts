/** Whether the counters of a running Crossfade add up: every request that was started is finished, aborted or open. */
import { Agent, request } from "undici";

/** The counters of all routes together, from one scrape. */
export interface Balance {
  readonly started: number;
  readonly finished: number;
  readonly aborted: number;
  readonly inFlight: number;
  readonly isEven: boolean;
}

/** Scrapes the metrics. `adminUrl`: of the admin API. */
export async function readBalance(adminUrl: string): Promise<Balance> {
  // On a connection of its own: a kept one, of which fetch has a pool for all, may end at this very moment.
  const dispatcher = new Agent();
  const { body } = await request(`${adminUrl}/metrics`, { dispatcher });
  const text = await body.text();
  await dispatcher.close();
  const started = sumOf(text, "crossfade_requests_started_total");
  const finished = sumOf(text, "crossfade_request_duration_seconds_count");
  const aborted = sumOf(text, "crossfade_requests_aborted_total");
  const inFlight = sumOf(text, "crossfade_requests_in_flight");
  return { started, finished, aborted, inFlight, isEven: started === finished + aborted + inFlight };
}

/** The sum of a metric over its labels. */
function sumOf(text: string, name: string): number {
  return text
    .split("\n")
    .filter((line) => line.startsWith(`${name}{`))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}
