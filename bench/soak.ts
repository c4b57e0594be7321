/**
 * Replaces workers and the control process many times under load, then goes on for half an hour while things change
 * and break: `node bench/soak.ts [--replacements N] [--upgrades N] [--minutes N]`. 0 leaves a part out.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import type { SocketAccount } from "../test/support/socket_client.ts";
import { endure, textOf, type EnduringReport } from "./soak/enduring.ts";
import { replaceWorkers, upgrade, type ReplacingReport } from "./soak/replacing.ts";

const { values } = parseArgs({
  options: {
    replacements: { type: "string", default: "1000" },
    upgrades: { type: "string", default: "50" },
    minutes: { type: "string", default: "30" },
  },
});
const [replacements, upgrades, minutes] = [values.replacements, values.upgrades, values.minutes].map(
  readCount,
);

function readCount(text: string): number {
  const count = Number(text);
  if (/^\d{1,6}(?:\.\d{1,3})?$/.test(text)) return count;
  process.stderr.write(`a count is a number from 0, not ${text}\n`);
  process.exit(2);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

const failed: string[] = [];

function judge(claim: string, isHeld: boolean): void {
  say(`  ${isHeld ? "ok  " : "FAIL"} ${claim}`);
  if (!isHeld) failed.push(claim);
}

function socketsText({ opened, sent, echoed }: SocketAccount): string {
  return `${opened} WebSockets, ${sent} messages, ${echoed} echoed`;
}

function judgeReplacing(report: ReplacingReport): void {
  const { done, seconds, sent, answered, sockets, lost, losses, doubled, strange } = report;
  say(`  ${done} in ${seconds} s; ${sent} requests, ${answered} answered; ${socketsText(sockets)}`);
  judge(`${lost} requests or WebSockets lost`, lost === 0);
  judge(`${sockets.sent - sockets.echoed} messages lost`, sockets.sent === sockets.echoed);
  judge(`${doubled} requests doubled that must not be`, doubled === 0);
  judge(`${strange} answers of Crossfade's own`, strange === 0);
  for (const loss of losses) say(`    ${loss}`);
}

function judgeEnduring(report: EnduringReport): void {
  const { seconds, weights, kills, restarts, sent, answered, sockets, lost, statuses } = report;
  say(
    `  ${seconds} s; ${weights} changes of weight, ${kills} workers killed, ${restarts} backends restarted`,
  );
  say(
    `  ${sent} requests, ${answered} answered (${JSON.stringify(statuses)}), ${lost} lost by kills and restarts`,
  );
  say(`  ${socketsText(sockets)}`);
  judge(`${report.unexplained.length} lost otherwise`, report.unexplained.length === 0);
  for (const loss of report.unexplained.slice(0, 20)) say(`    ${loss}`);
  judge(`${report.wrong} answers that passed for whole and were not`, report.wrong === 0);
  judge(`${report.doubled} requests doubled that must not be`, report.doubled === 0);
  judge(
    `started = finished + aborted + in flight at ${report.looks} looks, and at the end with none in flight`,
    report.unbalanced.length === 0,
  );
  for (const line of report.unbalanced.slice(0, 20)) say(`    ${line}`);
  for (const { name, first, last, isFlat } of report.growths)
    judge(`the ${name}: ${textOf(first)} when warm, ${textOf(last)} at the end`, isFlat);
}

const processors = cpus();
say(`${processors.length} processors, ${processors[0]?.model ?? "unknown"}; Node ${process.version}\n`);
if (replacements !== undefined && replacements > 0) {
  say("Workers replaced under load:");
  judgeReplacing(await replaceWorkers(replacements, say));
}
if (upgrades !== undefined && upgrades > 0) {
  say("\nUpgrades under load:");
  judgeReplacing(await upgrade(upgrades, say));
}
if (minutes !== undefined && minutes > 0) {
  say("\nEndurance:");
  judgeEnduring(await endure(minutes, say));
}
say(failed.length === 0 ? "\nevery claim held" : `\n${failed.length} claims missed`);
process.exitCode = failed.length === 0 ? 0 : 1;
