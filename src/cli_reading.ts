/** The commands that show what is stored or happens: table, routes, history, audit, explain, fleet and events. */
import { get, print, printJson, segment, type AnswerOf, type Shell } from "./cli_shell.ts";
import type { ServerEvent } from "./client.ts";
import {
  clean,
  countText,
  facts,
  localTime,
  mebibytesText,
  msText,
  paint,
  percentText,
  right,
  table,
  type Cell,
} from "./render.ts";
import { EXIT } from "./terminal.ts";

type RouteForm = AnswerOf<"TableRoute">;
type FleetInstance = AnswerOf<"FleetAnswer">["instances"][number];
type FleetWorker = FleetInstance["workers"][number];

/** Prints the whole table in the form that `apply` takes; with --json the API's answer, which has the revision too. */
export async function showTable(shell: Shell): Promise<number> {
  const answer = await get<"TableAnswer">(shell, "/v1/table");
  return printJson(shell, shell.isJson ? answer : answer.table);
}

/** Shows one line per route. */
export async function routes(shell: Shell): Promise<number> {
  const answer = await get<"RoutesAnswer">(shell, "/v1/routes");
  if (shell.isJson) return printJson(shell, answer);
  if (answer.routes.length === 0) return print(shell, "no routes");
  const rows = answer.routes.map((route): Cell[] => [
    route.id,
    route.cutover.legacy,
    route.cutover.candidate,
    percentText(weightOf(route)),
    matchText(route),
  ]);
  const columns = [
    { title: "ROUTE" },
    { title: "LEGACY" },
    { title: "CANDIDATE" },
    right("WEIGHT"),
    { title: "MATCHES" },
  ];
  return print(shell, table(columns, rows, shell.terminal.outLook));
}

/** Prints one route in the form that `route put` takes; with --json the API's answer. */
export async function routeShow(shell: Shell, _: unknown, [route]: readonly [string]): Promise<number> {
  const answer = await get<"RouteAnswer">(shell, `/v1/routes/${segment(route)}`);
  return printJson(shell, shell.isJson ? answer : answer.route);
}

/** What a list in pages is asked for. */
interface PageOptions {
  readonly limit: number;
  readonly before?: number;
}

/** Shows past tables, newest first. */
export async function history(shell: Shell, { limit, before }: PageOptions): Promise<number> {
  const page = await get<"HistoryPage">(shell, "/v1/history", { limit, before });
  if (shell.isJson) return printJson(shell, page);
  if (page.entries.length === 0) return print(shell, "nothing yet");
  const rows = page.entries.map((entry): Cell[] => [
    String(entry.revision),
    localTime(entry.at),
    entry.actor,
    entry.action,
    entry.reason,
  ]);
  const columns = [right("REVISION"), ...["AT", "BY", "DID", "REASON"].map((title) => ({ title }))];
  print(shell, table(columns, rows, shell.terminal.outLook));
  return tellOfMore(shell, page.next_before);
}

/** Prints one past table in the form that `apply` takes; with --json the API's answer, which says who and why too. */
export async function historyShow(shell: Shell, _: unknown, [revision]: readonly [number]): Promise<number> {
  const answer = await get<"PastTable">(shell, `/v1/history/${segment(revision)}`);
  return printJson(shell, shell.isJson ? answer : answer.table);
}

/** Shows who changed what and why, newest first. */
export async function audit(shell: Shell, { limit, before }: PageOptions): Promise<number> {
  const page = await get<"AuditPage">(shell, "/v1/audit", { limit, before });
  if (shell.isJson) return printJson(shell, page);
  const { outLook } = shell.terminal;
  for (const entry of page.entries) {
    const reason = entry.reason === "" ? "" : `: ${clean(entry.reason)}`;
    const head = `${clean(entry.actor)} ${clean(entry.action)}${reason}`;
    const from = entry.from_revision === 0 ? "" : ` from ${entry.from_revision}`;
    print(shell, `${paint(outLook, "bold", `${entry.revision}${from}`)}  ${localTime(entry.at)}  ${head}`);
    for (const line of entry.difference) print(shell, `  ${clean(line)}`);
  }
  if (page.entries.length === 0) print(shell, "nothing yet");
  return tellOfMore(shell, page.next_before);
}

/** Says where a request would go and why. 3 when no route matches. */
export async function explain(
  shell: Shell,
  options: { readonly header: readonly (readonly [string, string])[]; readonly client?: string },
  [method, url]: readonly [string, string],
): Promise<number> {
  const headers = new Map<string, string[]>();
  for (const [name, value] of options.header) headers.set(name, [...(headers.get(name) ?? []), value]);
  const { body } = await shell.client.call<AnswerOf<"Explanation">>({
    method: "POST",
    path: "/v1/explain",
    body: { method, url, headers: Object.fromEntries(headers), client: options.client },
  });
  const code = body.route === null ? EXIT.no : EXIT.ok;
  if (shell.isJson) {
    printJson(shell, body);
    return code;
  }
  if (body.route === null) {
    print(shell, `${paint(shell.terminal.outLook, "red", "no route")}: ${clean(body.reason)}`);
    for (const step of body.steps) print(shell, `  - ${clean(step)}`);
    return code;
  }
  const pairs: [string, Cell][] = [
    ["route", body.route],
    ["backend", body.backend ?? "-"],
    ["endpoints", body.endpoints.join(", ") || "-"],
    ["key", body.key ?? "-"],
    ["bucket", body.bucket === null ? "-" : `${countText(body.bucket)} of 100,000`],
    ["weight", body.candidate_percent === null ? "-" : percentText(body.candidate_percent)],
    ["revision", String(body.revision)],
  ];
  print(shell, facts(pairs, shell.terminal.outLook));
  for (const step of body.steps) print(shell, `  - ${clean(step)}`);
  return code;
}

/** Shows the workers of every instance, and who is behind. */
export async function fleet(shell: Shell): Promise<number> {
  const answer = await get<"FleetAnswer">(shell, "/v1/fleet");
  if (shell.isJson) return printJson(shell, answer);
  const { outLook } = shell.terminal;
  const columns = [
    right("WORKER"),
    right("PID"),
    { title: "STATE" },
    { title: "VERSION" },
    ...["REVISION", "LAG", "CONNECTIONS", "RESTARTS", "MEMORY", "BUSY"].map(right),
    { title: "NOTE" },
  ];
  if (answer.instances.length === 1) {
    const rows = answer.workers.map((worker) => [...workerCells(worker), workerNotes(worker).join("; ")]);
    return print(shell, table(columns, rows, outLook));
  }
  const rows = answer.instances.flatMap(instanceRows);
  print(shell, table([{ title: "INSTANCE" }, ...columns], rows, outLook));
  for (const { id, warnings } of answer.instances) {
    for (const warning of warnings) {
      print(shell, paint(outLook, "yellow", `warning: instance ${clean(id)}: ${clean(warning)}`));
    }
  }
  return EXIT.ok;
}

function instanceRows(instance: FleetInstance): Cell[][] {
  const isWell = instance.state === "serving" && instance.lag === 0;
  const id: Cell = isWell ? instance.id : { text: instance.id, tone: "yellow" };
  const notes = instanceNotes(instance);
  const [first, ...others] = instance.workers;
  if (first === undefined) {
    const state: Cell = { text: instance.state, tone: "yellow" };
    const { version, applied_revision: revision, lag } = instance;
    const shown = ["-", "-", state, version || "-", String(revision), lagCell(lag), "-", "-", "-", "-"];
    return [[id, ...shown, notes.join("; ")]];
  }
  return [
    [id, ...workerCells(first), [...notes, ...workerNotes(first)].join("; ")],
    ...others.map((worker) => [id, ...workerCells(worker), workerNotes(worker).join("; ")]),
  ];
}

/** What an operator should know of an instance as a whole. */
function instanceNotes(instance: FleetInstance): string[] {
  const { self, state, lag, last_heard_ms_ago: agoMs } = instance;
  return [
    self ? "this one" : "",
    state === "unknown" ? `unknown, last heard ${msText(agoMs)} ago` : state === "serving" ? "" : state,
    lag === 0 ? "" : `${lag} behind`,
    instance.serving_from === "disk" ? "serves the table on its disk" : "",
    instance.store === "ok" ? "" : `store: ${instance.store}`,
  ].filter((note) => note !== "");
}

function workerCells(worker: FleetWorker): Cell[] {
  return [
    String(worker.worker),
    String(worker.pid),
    { text: worker.state, tone: worker.state === "serving" ? "green" : "yellow" },
    worker.version || "-",
    String(worker.applied_revision),
    lagCell(worker.lag),
    countText(worker.connections_open),
    String(worker.restarts),
    mebibytesText(worker.rss_bytes),
    `${Math.round(worker.loop_utilization * 100)} %`,
  ];
}

function workerNotes(worker: FleetWorker): string[] {
  const { replaced_because: cause } = worker;
  const replaced = cause === undefined ? "" : `replaced: ${cause}`;
  const { pressure = "none" } = worker;
  const pressed = pressure === "none" ? "" : `pressed: gives up ${pressure}`;
  const notes = [worker.adopted ? "adopted" : "", replaced, pressed, drainNote(worker.drain)];
  return [...notes, worker.refused?.reason ?? ""].filter((note) => note !== "");
}

/** What is still open in a worker that drains, and until when. */
function drainNote(drain: FleetWorker["drain"]): string {
  if (drain === undefined) return "";
  const { idle, requests, tunnels, streams } = drain.open;
  const [http, sockets] = [drain.requests_until, drain.tunnels_until].map((moment) => moment.slice(11, 19));
  const kinds: [count: number, what: string][] = [
    [requests, "requests"],
    [streams, "event streams"],
    [idle, "idle"],
  ];
  const open = kinds.filter(([count]) => count > 0).map(([count, what]) => `${countText(count)} ${what}`);
  return [
    ...(open.length === 0 ? [] : [`${open.join(", ")} until ${http}Z`]),
    ...(tunnels === 0 ? [] : [`${countText(tunnels)} WebSockets until ${sockets}Z`]),
  ].join(", ");
}

function lagCell(lag: number): Cell {
  return lag === 0 ? "0" : { text: String(lag), tone: "yellow" };
}

/** Prints each event on a line as it comes, until `limit` of them or a signal. */
export async function events(
  shell: Shell,
  options: { readonly after?: string; readonly limit?: number },
): Promise<number> {
  const { terminal, client } = shell;
  let left = options.limit ?? Infinity;
  const onLost = (reason: string, waitMs: number): void =>
    terminal.err(`connection lost (${clean(reason)}); trying again in ${msText(waitMs)}\n`);
  const stream = client.events({ ...(options.after === undefined ? {} : { after: options.after }), onLost });
  for await (const event of stream) {
    if (shell.isJson) terminal.out(`${JSON.stringify(event)}\n`);
    else print(shell, eventText(event));
    if (--left <= 0) break;
  }
  return EXIT.ok;
}

function weightOf(route: RouteForm): number {
  return route.split?.[route.cutover.candidate] ?? 0;
}

/** What a route matches, on one line. */
function matchText(route: RouteForm): string {
  const { hosts, path, exact, regex, methods, headers, query, cookies } = route.match ?? {};
  const conditions = (name: string, map: Readonly<Record<string, string | true>> | undefined): string[] =>
    Object.entries(map ?? {}).map(([key, value]) =>
      value === true ? `${name} ${key}` : `${name} ${key}=${value}`,
    );
  return [
    ...(methods ?? []),
    ...(hosts ?? []),
    exact ?? (regex === undefined ? (path ?? "/") : `~${regex}`),
    ...conditions("header", headers),
    ...conditions("query", query),
    ...conditions("cookie", cookies),
  ].join(" ");
}

function tellOfMore(shell: Shell, before: number | null): number {
  // On the other stream: whoever counts lines counts entries.
  if (before !== null) shell.terminal.err(`older ones: --before ${before}\n`);
  return EXIT.ok;
}

function eventText(event: ServerEvent): string {
  const { at, ...data } = isRecord(event.data) ? event.data : { value: event.data };
  const time = typeof at === "string" ? localTime(at) : "";
  const words = Object.entries(data).map(([name, value]) => `${name}=${valueText(value)}`);
  return clean(`${time}  ${event.type}`).padEnd(46) + `  ${clean(words.join(" "))}`;
}

function valueText(value: unknown): string {
  return typeof value === "string" && !/[\s"=]/.test(value) && value !== "" ? value : JSON.stringify(value);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
