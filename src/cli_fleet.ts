/** The commands that replace workers, or the control process with them, while they serve. */
import { setTimeout as pause } from "node:timers/promises";
import { get, print, printJson, type AnswerOf, type Shell } from "./cli_shell.ts";
import { ApiFailure } from "./client.ts";
import { Probes, type ProbeAccount } from "./probes.ts";
import { clean, countText, msText, paint } from "./render.ts";
import { CliFailure, EXIT } from "./terminal.ts";

type Fleet = AnswerOf<"FleetAnswer">;
type Upgraded = AnswerOf<"UpgradeAnswer">;

/** How often it is looked how far things are, in milliseconds. */
const LOOK_MS = 200;
/** An upgrade is given up by the API itself before this. */
const UPGRADE_EXTRA_MS = 75_000;
/** What was handed over answers within this. */
const TAKEN_MAX_MS = 15_000;
/** Former workers may drain for hours; probes go on for this long at most. */
const PROBED_DRAIN_MS_MAX = 30_000;
/** The first probes have this long to be answered, before anything is changed. */
const FIRST_PROBES_MS = 5_000;

/** The options of `fleet recycle`. */
interface RecycleOptions {
  readonly reason?: string;
  readonly wait?: boolean;
  /** How long to wait, in milliseconds. */
  readonly within: number;
}

/** Replaces every worker, one after the other, and waits until the last successor serves. */
export async function recycle(shell: Shell, options: RecycleOptions): Promise<number> {
  const { terminal, client } = shell;
  const body = options.reason === undefined ? {} : { reason: options.reason };
  const call = { method: "POST", path: "/v1/fleet/recycle", body } as const;
  const { workers } = (await client.call<AnswerOf<"RecycleAnswer">>(call)).body;
  if (options.wait === false)
    return shell.isJson
      ? printJson(shell, { workers })
      : print(shell, `${countText(workers.length)} workers will be replaced, one after the other`);
  const startedMs = terminal.clock.nowMs();
  const going = new Set(workers.map(({ pid }) => pid));
  const left = (fleet: Fleet) =>
    fleet.workers.filter(({ pid, state }) => going.has(pid) && state !== "draining");
  let fleet = await get<"FleetAnswer">(shell, "/v1/fleet");
  while (left(fleet).length > 0) {
    if (terminal.clock.nowMs() - startedMs > options.within) throw unfinished(fleet, left(fleet));
    await pause(LOOK_MS);
    fleet = await get<"FleetAnswer">(shell, "/v1/fleet");
  }
  const tookMs = terminal.clock.nowMs() - startedMs;
  if (shell.isJson) return printJson(shell, { workers, took_ms: Math.round(tookMs) });
  return print(
    shell,
    `${countText(workers.length)} workers replaced in ${msText(tookMs)}; the former ones drain`,
  );
}

function unfinished(fleet: Fleet, left: Fleet["workers"]): CliFailure {
  const lines = left.map(({ worker, pid, replaced_because: cause }) => {
    const where = cause === undefined ? "waits for its turn" : "serves until its successor does";
    return `worker ${worker} (pid ${pid}) ${where}`;
  });
  const warnings = fleet.instances.filter(({ self }) => self).flatMap((instance) => instance.warnings);
  const message = "not every worker was replaced in time; Crossfade goes on with it";
  return new CliFailure(EXIT.failure, message, [...lines, ...warnings]);
}

/** The options of `upgrade`. */
interface UpgradeOptions {
  readonly reason?: string;
  /** True, or where to send the probes. */
  readonly verify?: string | true;
}

/** Starts the program on disk and hands over to it. With `verify` probes go through the whole of it. */
export async function upgrade(shell: Shell, options: UpgradeOptions): Promise<number> {
  const before = await get<"FleetAnswer">(shell, "/v1/fleet");
  const url = options.verify === undefined ? null : probeUrl(options.verify, before, shell.client.url);
  const probes = url === null ? null : new Probes(url);
  try {
    if (probes !== null) await untilAnswered(probes, url ?? "");
    const upgraded = await askForUpgrade(shell, options.reason);
    const after = await untilTaken(shell, upgraded);
    if (probes !== null) await untilDrained(shell, after);
    return report(shell, { before, upgraded, url, account: (await probes?.stop()) ?? null });
  } catch (error) {
    const account = await probes?.stop();
    if (account !== undefined && !shell.isJson) print(shell, accountText(url ?? "", account));
    throw error;
  }
}

async function askForUpgrade(shell: Shell, reason: string | undefined): Promise<Upgraded> {
  const body = reason === undefined ? {} : { reason };
  const call = { method: "POST", path: "/v1/upgrade", body } as const;
  try {
    return (await shell.client.call<Upgraded>(call, UPGRADE_EXTRA_MS)).body;
  } catch (error) {
    if (!(error instanceof ApiFailure) || error.code !== "UPGRADE_FAILED") throw error;
    const message = "the upgrade failed; the control process before and its workers carry on";
    throw new CliFailure(EXIT.failure, message, [error.message]);
  }
}

/** Waits until the new control process answers. Gives its fleet. */
async function untilTaken(shell: Shell, { pid }: Upgraded): Promise<Fleet> {
  const startedMs = shell.terminal.clock.nowMs();
  for (;;) {
    try {
      const fleet = await get<"FleetAnswer">(shell, "/v1/fleet");
      if (fleet.pid === pid) return fleet;
    } catch (error) {
      if (!(error instanceof ApiFailure) || error.kind !== "unavailable") throw error;
    }
    if (shell.terminal.clock.nowMs() - startedMs > TAKEN_MAX_MS) {
      const message = `the new control process (pid ${pid}) came up, but does not answer here`;
      throw new CliFailure(EXIT.failure, message, ["see its log; the workers serve on"]);
    }
    await pause(LOOK_MS);
  }
}

/** Waits until no former worker is left, or long enough. They come to the new control process in a moment. */
async function untilDrained(shell: Shell, first: Fleet): Promise<void> {
  const { clock } = shell.terminal;
  const startedMs = clock.nowMs();
  const own = new Set(first.workers.filter(({ state }) => state === "serving").map(({ pid }) => pid));
  let isSeen = false;
  for (;;) {
    const { workers } = await get<"FleetAnswer">(shell, "/v1/fleet");
    const isDraining = workers.some(({ pid }) => !own.has(pid));
    isSeen ||= isDraining;
    const waitedMs = clock.nowMs() - startedMs;
    if (waitedMs > PROBED_DRAIN_MS_MAX || (!isDraining && (isSeen || waitedMs > FIRST_PROBES_MS))) return;
    await pause(LOOK_MS);
  }
}

async function untilAnswered(probes: Probes, url: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < FIRST_PROBES_MS; waitedMs += LOOK_MS) {
    await pause(LOOK_MS);
    const { answered, lost, reasons } = probes.account();
    if (lost > 0) {
      const message = `the probes are not answered at ${url}, so nothing was changed`;
      throw new CliFailure(EXIT.failure, message, Object.keys(reasons));
    }
    if (answered > 0) return;
  }
  throw new CliFailure(EXIT.failure, `no probe is answered at ${url}, so nothing was changed`);
}

/** Where probes go: where they are told to, else to the first address that Crossfade listens at. */
function probeUrl(verify: string | true, { listen }: Fleet, adminUrl: string): string {
  if (verify !== true) return verify;
  const address = listen.find((one) => !one.startsWith("unix:") && !one.startsWith("fd:"));
  if (address === undefined)
    throw new CliFailure(EXIT.usage, "say where probes shall go: --verify http://HOST:PORT/PATH");
  const { hostname } = new URL(adminUrl);
  const here = hostname === "localhost" ? "127.0.0.1" : hostname;
  return `http://${address.replace(/^(?:0\.0\.0\.0|\[::\])(?=:)/, here)}/`;
}

function report(
  shell: Shell,
  {
    before,
    upgraded,
    url,
    account,
  }: {
    readonly before: Fleet;
    readonly upgraded: Upgraded;
    readonly url: string | null;
    readonly account: ProbeAccount | null;
  },
): number {
  const code = (account?.lost ?? 0) > 0 ? EXIT.failure : EXIT.ok;
  if (shell.isJson) {
    const verified = account === null ? {} : { verify: { url, ...account } };
    printJson(shell, { ...upgraded, former_pid: before.pid, former_version: before.version, ...verified });
    return code;
  }
  const { pid, version, after_ms: afterMs } = upgraded;
  const text = `version ${clean(version)} (pid ${pid}) took over from ${clean(before.version)} (pid ${before.pid})`;
  print(
    shell,
    `${paint(shell.terminal.outLook, "green", text)}; its workers served after ${msText(afterMs)}`,
  );
  if (account !== null) print(shell, accountText(url ?? "", account));
  return code;
}

function accountText(url: string, { sent, answered, lost, statuses, reasons }: ProbeAccount): string {
  const list = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .map(([key, times]) => `${clean(key)}: ${countText(times)}`)
      .join(", ");
  const answers = `${countText(answered)} answered (${list(statuses)})`;
  const line = `probes to ${clean(url)}: ${countText(sent)} sent, ${answers}, ${countText(lost)} lost`;
  return lost === 0 ? line : `${line}: ${list(reasons)}`;
}
