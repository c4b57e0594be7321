/**
 * A backend of a ledger as a process of its own, for another network: `node test/support/ledger_process.ts HOST`.
 *
 * Says `{"url": ...}` once it listens, and `{"doubled": [...]}` at the end of its standard input, which ends it.
 */
import { once } from "node:events";
import { Ledger } from "./ledger.ts";

const [host = "127.0.0.1"] = process.argv.slice(2);
const ledger = new Ledger();
const { url } = await ledger.backend("new", host);
process.stdout.write(`${JSON.stringify({ url })}\n`);
process.stdin.resume();
await once(process.stdin, "end");
process.stdout.write(`${JSON.stringify({ doubled: ledger.doubled })}\n`);
await ledger.close();
