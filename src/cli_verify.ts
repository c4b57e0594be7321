/** The command `verify`: recorded requests replayed against both backends of a route, and whether they are equal. */
import { systemRandom } from "./base/random.ts";
import { get, printJson, print, type Shell } from "./cli_shell.ts";
import { differencesText } from "./differences.ts";
import { comparisonReport, type ComparisonSays } from "./domain/comparison_report.ts";
import { comparedOf, type ComparisonCounts } from "./domain/comparison_counts.ts";
import { clean, countText, cut, facts, msText, paint, percentText, wrapped, type Cell } from "./render.ts";
import { CliFailure, EXIT, readPieces } from "./terminal.ts";
import { judgeEquality, type Equality } from "./verify_equal.ts";
import { planVerify, type Field, type VerifyPlan } from "./verify_plan.ts";
import { LINES_MAX, replay, type ReplayAccount, type ReplayEnd } from "./verify_replay.ts";

/** What `verify` is told. */
export interface VerifyOptions {
  /** A file, or `-` for standard input. */
  readonly from: string;
  readonly rate: number;
  readonly limit: number;
  readonly concurrency: number;
  /** Percent; the route's own unless told otherwise. */
  readonly noise?: number;
  readonly header: readonly Field[];
  /** Percent. */
  readonly allowUncompared: number;
}

/** Clears the line and goes to its beginning. Source: ECMA-48, EL. */
const CLEAR_LINE = "\r\u001b[2K";

/** Replays recorded requests against both backends of a route, and tells what differs. 3 unless they are equal. */
export async function verify(
  shell: Shell,
  options: VerifyOptions,
  [route]: readonly [string],
): Promise<number> {
  const { terminal } = shell;
  const { clock } = terminal;
  const plan = await planOf(shell, route, options.header);
  const noisePercent = options.noise ?? plan.policy.noisePercent;
  const sinceMs = clock.wallMs();
  const begunMs = clock.nowMs();
  const signal = terminal.interrupted();
  const { account, judge } = await replay(
    readPieces(terminal, options.from, signal),
    plan,
    { ...options, noisePercent, timeoutMs: shell.timeoutMs },
    {
      clock,
      random: systemRandom(),
      signal,
      onProgress: (seen, counts) => showProgress(shell, seen, counts),
    },
  );
  const tookMs = clock.nowMs() - begunMs;
  if (terminal.errLook.columns !== null) terminal.err(CLEAR_LINE);
  if (account.sent === 0 && account.end !== "interrupted") throw nothingToReplay(options.from, account);
  const { summary, fields } = judge;
  const { basis, legacy, candidate } = plan;
  const pair = { legacy: legacy.id, candidate: candidate.id };
  const report = comparisonReport({ pair, basis, sinceMs, summary, fields });
  const equality = judgeEquality({
    summary,
    fields,
    sent: account.sent,
    isComplete: account.end !== "interrupted",
    uncomparedPercentMax: options.allowUncompared,
  });
  if (shell.isJson) printJson(shell, asJson(plan, account, equality, report));
  else print(shell, resultText(shell, plan, { account, equality, report, noisePercent, tookMs }));
  return equality.isEqual ? EXIT.ok : EXIT.no;
}

async function planOf(shell: Shell, route: string, fields: readonly Field[]): Promise<VerifyPlan> {
  const { table, revision } = await get<"TableAnswer">(shell, "/v1/table");
  const planning = planVerify(table, revision, route, fields);
  switch (planning.result) {
    case "planned":
      return planning.plan;
    case "no route": {
      const known = planning.known.length === 0 ? "there are none" : `there are ${planning.known.join(", ")}`;
      throw new CliFailure(EXIT.failure, `there is no route ${route}; ${known}`);
    }
    case "unreadable": {
      const lines = planning.problems.map(({ path, message }) => `${path}: ${message}`);
      throw new CliFailure(EXIT.failure, "the table can't be read; use the crossfade that serves it", lines);
    }
  }
}

/** An input of which nothing can be replayed: most likely another file was meant. */
function nothingToReplay(from: string, account: ReplayAccount): CliFailure {
  const name = from === "-" ? "standard input" : from;
  return new CliFailure(EXIT.usage, `${name} has no request to replay`, leftOutLines(account));
}

function showProgress({ terminal }: Shell, { sent }: ReplayAccount, counts: ComparisonCounts): void {
  const { errLook } = terminal;
  if (errLook.columns === null) return;
  const { pairs } = counts;
  const compared = `${countText(comparedOf(pairs))} compared, ${countText(pairs.mismatched)} differ`;
  const text = `${countText(sent)} replayed, ${compared}; interrupt to end here`;
  terminal.err(CLEAR_LINE + paint(errLook, "dim", cut(text, errLook.columns - 1)));
}

function asJson(
  plan: VerifyPlan,
  account: ReplayAccount,
  { isEqual, text, reasons }: Equality,
  report: ComparisonSays,
): object {
  return {
    route: plan.route,
    revision: plan.revision,
    equal: isEqual,
    verdict: text,
    reasons,
    replay: {
      lines: account.lines,
      sent: account.sent,
      other_methods: account.otherMethods,
      other_routes: account.otherRoutes,
      queries_lost: account.queriesLost,
      unusable: account.unusable,
      first_unusable: account.firstUnusable.map(({ number, why }) => ({ line: number, why })),
      given_up: account.givenUp,
      ended_by: account.end,
    },
    ...report,
  };
}

/** What there is to print. */
interface Outcome {
  readonly account: ReplayAccount;
  readonly equality: Equality;
  readonly report: ComparisonSays;
  readonly noisePercent: number;
  readonly tookMs: number;
}

function resultText(shell: Shell, plan: VerifyPlan, outcome: Outcome): string {
  const { outLook } = shell.terminal;
  const { account, equality, report, noisePercent, tookMs } = outcome;
  const { isEqual, text, reasons } = equality;
  const policy = plan.isPolicyOwn ? "as the route's mirror says" : "as mirrors do unless told otherwise";
  const pairs: [string, Cell][] = [
    ["route", `${plan.route}, revision ${plan.revision}`],
    ["backends", `${plan.legacy.id} and ${plan.candidate.id}`],
    ["compared", `${policy}, ${percentText(noisePercent)} twice to legacy`],
    [
      "replayed",
      `${countText(account.sent)} of ${linesText(account.lines)} in ${msText(tookMs)}${endText(account.end)}`,
    ],
  ];
  return [
    facts(pairs, outLook),
    ...leftOutLines(account).map((line) => paint(outLook, "yellow", wrapped(clean(line), outLook))),
    "",
    differencesText(report, outLook),
    "",
    ...reasons.map((reason) => wrapped(`- ${clean(reason)}`, outLook)),
    paint(outLook, isEqual ? "green" : "red", wrapped(text, outLook)),
  ].join("\n");
}

/** What of the input was not replayed, a line for each reason. */
function leftOutLines(account: ReplayAccount): string[] {
  const { otherMethods, otherRoutes, unusable, firstUnusable, queriesLost } = account;
  const rest = unusable - firstUnusable.length;
  return [
    ...(otherMethods > 0
      ? [`left out: ${linesText(otherMethods)} with other methods than GET and HEAD`]
      : []),
    ...(otherRoutes > 0
      ? [`left out: ${linesText(otherRoutes)} with requests that this route does not take`]
      : []),
    ...(queriesLost > 0 ? [`without queries, which Crossfade does not log: ${linesText(queriesLost)}`] : []),
    ...firstUnusable.map(({ number, why }) => `line ${number} can't be used: ${why}`),
    ...(rest > 0 ? [`and ${countText(rest)} more lines that can't be used`] : []),
  ];
}

function linesText(count: number): string {
  return `${countText(count)} ${count === 1 ? "line" : "lines"}`;
}

function endText(end: ReplayEnd): string {
  switch (end) {
    case "input":
      return "";
    case "limit":
      return "; ended at the limit";
    case "lines":
      return `; ended after ${countText(LINES_MAX)} lines`;
    case "interrupted":
      return "; interrupted";
  }
}
