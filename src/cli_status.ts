/** The commands that show how traffic does: status and health. */
import { setTimeout as wait } from "node:timers/promises";
import { PHASE_TONES } from "./cli_rollout.ts";
import { get, print, printJson, segment, type AnswerOf, type Shell } from "./cli_shell.ts";
import { PHASE_WORDS } from "./domain/rollout_report.ts";
import { isUnderWay } from "./domain/rollout_state.ts";
import {
  bar,
  clean,
  countText,
  msText,
  paint,
  percentText,
  right,
  scoreText,
  shareText,
  table,
  type Cell,
  type Column,
  type Tone,
} from "./render.ts";
import { EXIT } from "./terminal.ts";

type RouteHealth = AnswerOf<"HealthAnswer">;
type Health = RouteHealth["backends"][number];

/** Routes that `status` looks into; `health` shows the others one by one. */
const STATUS_ROUTES_MAX = 50;
/** Characters of a bar for a share. */
const BAR_WIDTH = 10;
/** What is said of a route whose rollback the store did not take. */
const BRAKED = "braked: kept on legacy here until the table can be changed";
const ACTION_TONES = { none: null, hold: "yellow", rollback: "red" } as const;
/** Clears the screen and goes to its upper left corner. Source: ECMA-48, ED and CUP. */
const CLEAR = "\u001b[2J\u001b[H";

/** Shows readiness, then each route with its backends' last ten seconds. 3 when Crossfade is not ready. */
export async function status(
  shell: Shell,
  options: { readonly watch?: boolean; readonly every: number },
): Promise<number> {
  const { terminal } = shell;
  if (options.watch !== true) {
    const seen = await look(shell);
    if (shell.isJson) printJson(shell, seen);
    else print(shell, statusText(shell, seen));
    return seen.ready ? EXIT.ok : EXIT.no;
  }
  // Ends with the process: by a signal, or by the first call that fails.
  for (;;) {
    const seen = await look(shell);
    if (shell.isJson) terminal.out(`${JSON.stringify(seen)}\n`);
    else print(shell, `${terminal.isWatched ? CLEAR : ""}${statusText(shell, seen)}\n`);
    await wait(options.every);
  }
}

/** Shows what each backend of a route did in the last 10 and 60 seconds, what the judge says, and the rollout. */
export async function health(shell: Shell, _: unknown, [route]: readonly [string]): Promise<number> {
  const answer = await get<"HealthAnswer">(shell, `/v1/routes/${segment(route)}/health`);
  if (shell.isJson) return printJson(shell, answer);
  const rows = answer.backends.flatMap((backend) =>
    (["10s", "60s"] as const).map((name): Cell[] => {
      const window = backend.windows[name];
      const isFirst = name === "10s";
      return [
        isFirst ? backend.backend : "",
        isFirst ? backend.role : "",
        isFirst ? percentText(backend.share_configured_percent) : "",
        name === "60s" ? shareText(backend.share_observed_percent) : "",
        name,
        ...figures(window),
        msText(window.p90_ms),
        msText(window.p99_ms),
      ];
    }),
  );
  const columns: Column[] = [
    { title: "BACKEND" },
    { title: "ROLE" },
    right("WEIGHT"),
    right("SHARE"),
    right("LAST"),
    right("REQUESTS"),
    right("FAILED"),
    right("P50"),
    right("P90"),
    right("P99"),
  ];
  return print(shell, [table(columns, rows, shell.terminal.outLook), ...judgeText(shell, answer)].join("\n"));
}

/** What is made of the figures: one line, the evidence by signal, and where the rollout is. */
function judgeText(shell: Shell, { judgement, braked, rollout }: RouteHealth): string[] {
  const { outLook } = shell.terminal;
  const blocks: string[][] = [];
  if (braked) blocks.push([paint(outLook, "red", BRAKED)]);
  if (judgement === null) blocks.push([paint(outLook, "dim", "nothing to judge yet")]);
  else {
    const tone = ACTION_TONES[judgement.action];
    const { hold, rollback } = judgement.evidence;
    const rows = (["all", "errors", "latency"] as const).map((signal): Cell[] => [
      signal,
      scoreText(hold[signal]),
      scoreText(rollback[signal]),
    ]);
    const columns = [{ title: "EVIDENCE" }, right("TO HOLD"), right("TO ROLL BACK")];
    const summary = clean(judgement.summary);
    blocks.push([tone === null ? summary : paint(outLook, tone, summary)], [table(columns, rows, outLook)]);
  }
  if (rollout !== null) blocks.push(["rollout:", ...rollout.lines.map((line) => `  ${clean(line)}`)]);
  return blocks.flatMap((block) => ["", ...block]);
}

/** What `status` shows; printed as it is with --json. */
interface Seen {
  readonly ready: boolean;
  readonly reason: string;
  readonly warnings: readonly string[];
  readonly url: string;
  readonly version: string;
  readonly revision: number;
  readonly instances: number;
  /** Of all instances, as far as is known. */
  readonly workers: { readonly serving: number; readonly all: number };
  readonly routes: readonly Omit<RouteHealth, "revision" | "instances">[];
  /** Routes that are left out. */
  readonly more: number;
}

async function look(shell: Shell): Promise<Seen> {
  const [readiness, { version, instances }, list] = await Promise.all([
    shell.client.call<{ ready?: boolean; detail?: string; warnings?: string[] }>({
      method: "GET",
      path: "/readyz",
      accept: [503],
    }),
    get<"FleetAnswer">(shell, "/v1/fleet"),
    get<"RoutesAnswer">(shell, "/v1/routes"),
  ]);
  const workers = instances.filter(({ state }) => state !== "unknown").flatMap((one) => one.workers);
  const shown = list.routes.slice(0, STATUS_ROUTES_MAX);
  const healths = await Promise.all(
    shown.map((route) => get<"HealthAnswer">(shell, `/v1/routes/${segment(route.id)}/health`)),
  );
  return {
    ready: readiness.body.ready === true,
    reason: readiness.body.detail ?? "",
    warnings: readiness.body.warnings ?? [],
    url: shell.client.url,
    version,
    revision: list.revision,
    instances: instances.length,
    workers: { serving: workers.filter((worker) => worker.state === "serving").length, all: workers.length },
    routes: healths.map(({ revision: _revision, instances: _instances, ...seen }) => seen),
    more: list.routes.length - shown.length,
  };
}

function statusText(shell: Shell, seen: Seen): string {
  const { outLook } = shell.terminal;
  const readiness = seen.ready
    ? paint(outLook, "green", "ready")
    : paint(outLook, "red", `not ready: ${clean(seen.reason)}`);
  const { serving, all } = seen.workers;
  const spread = seen.instances === 1 ? "" : ` in ${seen.instances} instances`;
  const lines = [
    `${readiness}  revision ${seen.revision}  ${serving} of ${all} workers serving${spread}  ` +
      paint(outLook, "dim", `crossfade ${seen.version} at ${seen.url}`),
    ...seen.warnings.map((warning) => paint(outLook, "yellow", `warning: ${clean(warning)}`)),
    "",
  ];
  if (seen.routes.length === 0) return [...lines, "no routes"].join("\n");
  const isTerminal = outLook.columns !== null;
  const states = seen.routes.flatMap(stateCells);
  const hasStates = states.some((cell) => cell !== "");
  const rows = seen.routes.flatMap(({ route, backends }, index) =>
    backends.map((backend, at): Cell[] => {
      const weight = backend.share_configured_percent;
      return [
        at === 0 ? route : "",
        backend.backend,
        ...(isTerminal ? [bar(weight, BAR_WIDTH)] : []),
        percentText(weight),
        shareText(backend.share_observed_percent),
        ...figures(backend.windows["10s"]),
        msText(backend.windows["10s"].p99_ms),
        ...(hasStates ? [states[2 * index + at] ?? ""] : []),
      ];
    }),
  );
  const columns = [
    { title: "ROUTE" },
    { title: "BACKEND" },
    ...(isTerminal ? [{ title: "" }] : []),
    ...["WEIGHT", "SHARE", "REQUESTS", "FAILED", "P50", "P99"].map(right),
    ...(hasStates ? [{ title: "STATE" }] : []),
  ];
  lines.push(table(columns, rows, outLook));
  if (seen.more > 0) lines.push(`and ${countText(seen.more)} more routes`);
  lines.push(
    paint(outLook, "dim", "requests, failures and latencies of the last 10 s; share of the last 60 s"),
  );
  return lines.join("\n");
}

/** A route's rollout for the line of legacy, and what speaks against the candidate for its own. */
function stateCells({ rollout, judgement, braked }: Seen["routes"][number]): [Cell, Cell] {
  const phase = rollout === null ? "" : phaseText(rollout);
  const doubt = judgement === null || judgement.signal === null ? "" : doubtText(judgement);
  const tone = judgement === null ? null : ACTION_TONES[judgement.action];
  return [
    toned(phase, rollout === null ? null : (PHASE_TONES[rollout.phase] ?? null)),
    braked ? toned(BRAKED, "red") : toned(doubt, tone),
  ];
}

function phaseText({ phase, step, steps }: NonNullable<RouteHealth["rollout"]>): string {
  const word = PHASE_WORDS[phase];
  if (!isUnderWay({ phase })) return word;
  return step === 0 ? `${word}, before step 1 of ${steps}` : `${word}, step ${step} of ${steps}`;
}

function doubtText({ action, signal, evidence }: NonNullable<RouteHealth["judgement"]>): string {
  if (action === "rollback") return `failing: ${signal}`;
  return `in doubt: ${signal}, evidence ${scoreText(evidence.rollback.all)} to roll back`;
}

function toned(text: string, tone: Tone | null): Cell {
  return tone === null || text === "" ? text : { text, tone };
}

/** Requests, failures and the median of a window. */
function figures(window: Health["windows"]["10s"]): Cell[] {
  const failed = countText(window.failures);
  return [
    countText(window.requests),
    window.failures > 0 ? { text: failed, tone: "red" } : failed,
    msText(window.p50_ms),
  ];
}
