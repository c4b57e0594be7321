/** Crossfade as a contender: the program with its defaults, and the worker apart from the control process. */
import { join } from "node:path";
import { Crossfade } from "../../../test/support/crossfade.ts";
import {
  CANDIDATE_PERCENT,
  routeNames,
  type Contender,
  type Ports,
  type Running,
  type Setup,
} from "../contender.ts";

/** How often the weight changes where a setup wants that. */
const SHIFT_MS = 10;

/** What a route of the table says, besides its name and match. */
function routeOf({ mirrorPercent }: Setup): Readonly<Record<string, unknown>> {
  return {
    cutover: { legacy: "legacy", candidate: "new" },
    split: { legacy: 100 - CANDIDATE_PERCENT, new: CANDIDATE_PERCENT },
    sticky: { keys: ["cookie:uid"] },
    ...(mirrorPercent === 0 ? {} : { mirror: { to: "shadow", percent: mirrorPercent, by: "random" } }),
  };
}

function tableOf(setup: Setup, { legacy, candidate, shadow }: Ports): unknown {
  const backend = (port: number): unknown => ({ endpoints: [`http://127.0.0.1:${port}`] });
  return {
    backends: { legacy: backend(legacy), new: backend(candidate), shadow: backend(shadow) },
    routes: routeNames(setup.routes).map((id) => ({
      id,
      match: { path: setup.routes === 1 ? "/" : `/${id}/` },
      ...routeOf(setup),
    })),
  };
}

/** Changes the weight of the first route again and again; gives how to stop, and how often it did by then. */
function shiftAgainAndAgain(crossfade: Crossfade): () => Promise<number> {
  let changes = 0;
  const wanted = new AbortController();
  let nextMs = performance.now();
  const work = (async () => {
    while (!wanted.signal.aborted) {
      const percent = CANDIDATE_PERCENT + (changes % 2);
      await crossfade.admin("PUT", "/v1/routes/r0/split", { legacy: 100 - percent, new: percent });
      changes++;
      nextMs += SHIFT_MS;
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, nextMs - performance.now())));
    }
  })();
  return async () => {
    wanted.abort();
    await work;
    return changes;
  };
}

/** Crossfade itself. */
export const CROSSFADE: Contender = {
  name: "Crossfade",
  version: `this tree, Node ${process.version}`,
  takes: () => true,
  async start(setup: Setup, ports: Ports): Promise<Running> {
    const crossfade = await Crossfade.prepare(
      { legacy: `http://127.0.0.1:${ports.legacy}`, new: `http://127.0.0.1:${ports.candidate}` },
      { table: tableOf(setup, ports), settings: { workers: setup.workers } },
    );
    const log = { format: "json", path: join(crossfade.directory, "access.log") };
    crossfade.configure({ ...crossfade.settings(), access_log: setup.hasLog ? log : { format: "off" } });
    try {
      await crossfade.start();
      const workers = (await crossfade.servingWorkers(setup.workers)).map(({ pid }) => pid);
      return {
        port: Number(new URL(crossfade.url).port),
        pids: () => [crossfade.pid, ...workers],
        servingPids: () => workers,
        ...(setup.shifts ? { disturb: () => shiftAgainAndAgain(crossfade) } : {}),
        [Symbol.asyncDispose]: () => crossfade.stop(),
      };
    } catch (error) {
      await crossfade.stop();
      throw error;
    }
  },
};
