/** The command line: every command and option there is, and the exit code of everything that can happen. */
import { readFileSync } from "node:fs";
import { Argument, Command, CommanderError, Option } from "commander";
import * as changing from "./cli_changing.ts";
import * as differing from "./cli_diff.ts";
import { tell } from "./cli_failure.ts";
import * as fleets from "./cli_fleet.ts";
import * as local from "./cli_local.ts";
import * as moving from "./cli_moving.ts";
import * as rolling from "./cli_rollout.ts";
import * as storing from "./cli_store.ts";
import * as reading from "./cli_reading.ts";
import * as traffic from "./cli_status.ts";
import {
  aConcurrency,
  aCount,
  aDuration,
  aField,
  anAddress,
  aPercent,
  aRate,
  aSentField,
  isAddress,
} from "./cli_values.ts";
import * as verifying from "./cli_verify.ts";
import { AdminClient } from "./client.ts";
import { paint } from "./render.ts";
import type { Shell } from "./cli_shell.ts";
import { CliFailure, EXIT, type Terminal } from "./terminal.ts";

const URL_DEFAULT = "http://127.0.0.1:9900";
const TIMEOUT_DEFAULT = "10s";
/** Options that every command knows. */
interface GlobalOptions {
  readonly json?: boolean;
  readonly url?: string;
  readonly token?: string;
  readonly timeout: number;
}

/** The run of one command. */
interface Run {
  readonly terminal: Terminal;
  code: number;
}

const AFTER_HELP = `
Address and token:
  --url and --token, else CROSSFADE_URL and CROSSFADE_TOKEN, else ${URL_DEFAULT} and no token

Exit codes:
  0 done   1 failed   2 wrong usage   3 the answer is no   69 nobody answers   78 bad configuration

A first shift:
  crossfade start --config config/crossfade.yaml
  crossfade shift shop 5
  crossfade rollback shop`;

/**
 * Runs one command line (without the program's own name) and gives its exit code, one of EXIT.
 *
 * Results go to standard output, everything else to standard error; with --json a failure is one JSON object there.
 */
export async function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  const run: Run = { terminal, code: EXIT.ok };
  const program = programFor(run);
  try {
    await program.parseAsync([...argv], { from: "user" });
    return run.code;
  } catch (error) {
    // Commander has already said what is wrong, and 0 means that help or the version was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    return tell(terminal, error, program.opts<GlobalOptions>().json === true);
  }
}

function programFor(run: Run): Command {
  const { terminal } = run;
  const program = new Command("crossfade")
    .description("Moves traffic from a legacy backend to a new one, a few percent at a time.")
    .version(versionOf(), "-V, --version", "print the version")
    .helpCommand("help [command]", "explain a command")
    .helpOption("-h, --help", "explain")
    .exitOverride()
    .configureHelp({ showGlobalOptions: true, styleTitle: (title) => paint(terminal.outLook, "bold", title) })
    .configureOutput({
      writeOut: (text) => terminal.out(text),
      writeErr: (text) => terminal.err(text),
      getOutHelpWidth: () => terminal.outLook.columns ?? 100,
      getErrHelpWidth: () => terminal.errLook.columns ?? 100,
      getOutHasColors: () => terminal.outLook.colour,
      getErrHasColors: () => terminal.errLook.colour,
      outputError: (text, write) => write(paint(terminal.errLook, "red", text.trimEnd()) + "\n"),
    })
    .addHelpText("after", AFTER_HELP)
    .option("--json", "print JSON, stable enough for scripts")
    .addOption(new Option("--url <address>", "address of the admin API").argParser(anAddress))
    .option("--token <token>", "token for the admin API")
    .addOption(
      new Option("--timeout <duration>", "how long to wait for an answer")
        .argParser(aDuration)
        .default(aDuration(TIMEOUT_DEFAULT), TIMEOUT_DEFAULT),
    );
  defineLocal(program.commandsGroup("Running it:"), run);
  defineChanging(program.commandsGroup("Changing where traffic goes:"), run);
  defineReading(program.commandsGroup("Looking at it:"), run);
  defineComparing(program.commandsGroup("Comparing the two backends:"), run);
  defineMoving(program.commandsGroup("Moving it to another store:"), run);
  defineStore(program.commandsGroup("The store:"), run);
  return program;
}

function defineLocal(program: Command, run: Run): void {
  program
    .command("start")
    .description("run Crossfade until it is told to stop")
    .requiredOption("-c, --config <file>", "the settings")
    .option("--admin-address <address>", "instead of the one in the settings")
    .option("--workers <count>", "instead of the number in the settings")
    .option("--log-level <level>", "debug, info, warn or error")
    .action(async (options: local.StartOptions) => {
      run.code = await local.start(options);
    });
  program
    .command("demo")
    .description("play a cutover with real processes and traffic, and check what is promised")
    .action(async () => {
      run.code = await local.demo(run.terminal);
    });
  program
    .command("check <file>")
    .description("list every problem of a settings file")
    .action(async (file: string) => {
      const isJson = program.opts<GlobalOptions>().json === true;
      run.code = await local.check({ terminal: run.terminal, isJson }, file);
    });
}

function defineChanging(program: Command, run: Run): void {
  writing(program.command("apply <file>"))
    .description("replace the whole table by the one in a file (- for standard input)")
    .option("--dry-run", "only show what would change")
    .action(through(run, changing.apply));
  writing(
    program.command("shift <route>").argument("<percent>", "of the traffic to the new backend", aPercent),
  )
    .description("set how much of a route's traffic goes to the new backend")
    .action(through(run, changing.shift));
  writing(program.command("rollback <route>"))
    .description("send all traffic of a route back to legacy, now")
    .action(through(run, changing.rollback));
  const plan = new Argument("[action]", "what to do with it")
    .choices(rolling.ROLLOUT_ACTIONS)
    .default("show");
  writing(
    program
      .command("rollout <route>")
      .addArgument(plan)
      .argument("[file]", "with set: the plan (- for standard input)"),
  )
    .description("show, plan or move a stepwise rollout")
    .action(through(run, rolling.rollout));
  writing(program.command("restore").argument("<revision>", "see history", aCount))
    .description("make a past table the current one")
    .action(through(run, changing.restore));
  const route = program.command("route").description("show, write or delete one route");
  route
    .command("show <route>")
    .description("show one route as written")
    .action(through(run, reading.routeShow));
  writing(route.command("put <route> <file>"))
    .description("write one route from a file (- for standard input)")
    .action(through(run, changing.routePut));
  writing(route.command("delete <route>"))
    .description("delete one route")
    .action(through(run, changing.routeDelete));
}

function defineReading(program: Command, run: Run): void {
  program
    .command("status")
    .description("readiness, and each route with its traffic; exits with 3 when not ready")
    .option("--watch", "again and again, until interrupted")
    .addOption(
      new Option("--every <duration>", "pause between two looks").argParser(aDuration).default(2_000, "2s"),
    )
    .action(through(run, traffic.status));
  program
    .command("health <route>")
    .description("what the backends of a route did in the last seconds, and what is made of it")
    .action(through(run, traffic.health));
  program.command("table").description("the whole table as written").action(through(run, reading.showTable));
  program.command("routes").description("one line per route").action(through(run, reading.routes));
  const history = paged(program.command("history")).description("past tables, newest first");
  history.action(through(run, reading.history));
  history
    .command("show")
    .argument("<revision>", "see history", aCount)
    .description("one past table as written")
    .action(through(run, reading.historyShow));
  paged(program.command("audit"))
    .description("who changed what and why, newest first")
    .action(through(run, reading.audit));
  program
    .command("explain <method> <url>")
    .description("where a request would go and why; exits with 3 when no route matches")
    .option("-H, --header <field>", "a header field, such as 'Cookie: uid=7' (repeat for more)", aField, [])
    .option("--client <address>", "address of the client")
    .action(through(run, reading.explain));
  defineFleet(program, run);
  program
    .command("events")
    .description("what happens, as it happens, until interrupted")
    .option("--after <id>", "start after this event")
    .option("--limit <count>", "end after so many", aCount)
    .action(through(run, reading.events));
}

const AFTER_VERIFY = `
Before and after a cutover:
  crossfade verify shop --from access.log --rate 50
  tail -n 1000 access.log | crossfade verify shop --from - --noise 100 -H 'Cookie: uid=7'

The file has a URL or a path on each line, or it is an access log: Crossfade's own, or one in the common or combined
format of nginx and Apache. Only GET and HEAD are replayed, each to both backends at the same moment and marked with
Crossfade-Shadow: 1. --timeout is for each answer too. Interrupt it to end early with a report of what was done.

It exits with 0 when they are equal: every request was compared, the candidate never failed where legacy answered, and
whatever differed does so as often between two answers of legacy itself. Otherwise with 3, and the reasons.`;

function defineComparing(program: Command, run: Run): void {
  program
    .command("diff <route>")
    .description("what differs between answers to mirrored requests; exits with 3 when something really does")
    .action(through(run, differing.diff));
  program
    .command("verify <route>")
    .description("replay recorded requests against both backends; exits with 3 unless they are equal")
    .requiredOption("--from <file>", "URLs, paths or an access log (- for standard input)")
    .addOption(new Option("--rate <count>", "requests a second").argParser(aRate).default(50))
    .addOption(new Option("--limit <count>", "requests in all").argParser(aCount).default(10_000))
    .addOption(
      new Option("--concurrency <count>", "requests under way at once").argParser(aConcurrency).default(20),
    )
    .option("--noise <percent>", "sent to legacy twice, instead of as many as the route says", aPercent)
    .option(
      "-H, --header <field>",
      "a header field to send, such as 'Host: shop.example' (repeat for more)",
      aSentField,
      [],
    )
    .addOption(
      new Option("--allow-uncompared <percent>", "so many may stay without a comparison")
        .argParser(aPercent)
        .default(0),
    )
    .addHelpText("after", AFTER_VERIFY)
    .action(through(run, verifying.verify));
}

const AFTER_UPGRADE = `
The program is started again as it was: the same node, file, options and directory. The new control process checks its
settings and its store and starts workers of its own on the same sockets. When they serve it takes over, and the former
workers drain. Whatever keeps it from that is told, and changes nothing.`;

function defineFleet(program: Command, run: Run): void {
  const fleet = program.command("fleet").description("the instances and their workers");
  fleet.action(through(run, reading.fleet));
  fleet
    .command("recycle")
    .description("replace every worker, one after the other; each successor serves before a worker drains")
    .option("--reason <words>", "why, for the log")
    .option("--no-wait", "answer when it has begun")
    .addOption(
      new Option("--within <duration>", "how long to wait").argParser(aDuration).default(120_000, "2m"),
    )
    .action(through(run, fleets.recycle));
  program
    .command("upgrade")
    .description("start the program on disk and hand over to it, without losing a request")
    .option("--reason <words>", "why, for the log")
    .addOption(
      new Option("--verify [url]", "send GET requests all the while, and count what is answered").argParser(
        anAddress,
      ),
    )
    .addHelpText("after", AFTER_UPGRADE)
    .action(through(run, fleets.upgrade));
}

const AFTER_MOVING = `
Another store, with history and audit log:
  crossfade export --out migration.json
  crossfade import migration.json --url http://127.0.0.1:9901

The other Crossfade needs an empty store, so its settings must have no table. Revisions keep their numbers, times and
authors. Idempotency keys do not travel: what was sent with one before the move is carried out again if it is sent
again afterwards.`;

function defineMoving(program: Command, run: Run): void {
  program
    .command("export")
    .description("the table with its history and audit log as one document")
    .option("--out <file>", "write it into a file instead of to standard output")
    .addHelpText("after", AFTER_MOVING)
    .action(through(run, moving.exportAll));
  waiting(program.command("import [file]"))
    .description("fill an empty store with an exported document (standard input unless told otherwise)")
    .addHelpText("after", AFTER_MOVING)
    .action(through(run, moving.importAll));
}

function defineStore(program: Command, run: Run): void {
  const store = program
    .command("store")
    .description("where the table is kept; exits with 3 when it is not in use");
  store.action(through(run, storing.storeShow));
  writing(store.command("reseed"))
    .description("say which table counts, after the store has lost the one that is served")
    .addOption(
      new Option("--from <which>", "the table that is served, or the one that the store holds")
        .choices(["served", "stored"])
        .makeOptionMandatory(),
    )
    .action(through(run, storing.storeReseed));
}

/** Adds the options of a command that changes the table. */
function writing(command: Command): Command {
  const reasoned = command
    .option("--reason <words>", "why, for the audit log")
    .option("--if-match <revision>", "only if the table still has this revision", aCount);
  return waiting(reasoned);
}

/** Adds the options of a command that may wait for the workers. */
function waiting(command: Command): Command {
  return command
    .option("--wait", "answer when every worker has the change (default)")
    .option("--no-wait", "answer when the change is stored");
}

/** Adds the options of a list that comes in pages. */
function paged(command: Command): Command {
  return command
    .addOption(new Option("--limit <count>", "how many").argParser(aCount).default(20))
    .option("--before <revision>", "only older ones", aCount);
}

/** What a command does. Commander checks options and parameters as they are defined, which the compiler cannot see. */
type Action = (shell: Shell, options: never, parameters: never) => Promise<number>;

/** Gives a command's action a connection to the admin API, which ends with it. */
function through(run: Run, action: Action): (...parameters: unknown[]) => Promise<void> {
  return async (...parameters) => {
    const command = parameters.at(-1);
    if (!(command instanceof Command)) throw new TypeError("commander passes the command last");
    const options = command.optsWithGlobals<GlobalOptions>();
    const { terminal } = run;
    const token = options.token ?? terminal.env["CROSSFADE_TOKEN"] ?? "";
    const client = new AdminClient({
      url: options.url ?? addressFromEnv(terminal) ?? URL_DEFAULT,
      ...(token === "" ? {} : { token }),
      timeoutMs: options.timeout,
    });
    try {
      const shell: Shell = { terminal, client, isJson: options.json === true, timeoutMs: options.timeout };
      run.code = await action(shell, options as never, command.processedArgs as never);
    } finally {
      await client.close();
    }
  };
}

function addressFromEnv(terminal: Terminal): string | undefined {
  const address = terminal.env["CROSSFADE_URL"] ?? "";
  if (address === "") return undefined;
  if (!isAddress(address))
    throw new CliFailure(EXIT.usage, `CROSSFADE_URL is no http or https address: ${address}`);
  return address;
}

function versionOf(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
