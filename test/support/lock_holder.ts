/** A process that takes a lock, says so, and holds it until its standard input ends. */
import { acquireLock } from "../../src/store/lock.ts";

const lock = acquireLock(process.argv[2] ?? "");
process.stdout.write(lock === null ? "refused\n" : "held\n");
process.stdin.on("end", () => lock?.release()).resume();
