/** A fleet for tests: real processes of the fake worker, in a directory of their own, all gone at the end. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/base/clock.ts";
import type { Logger } from "../../src/base/logger.ts";
import { Fleet, type FleetParts } from "../../src/control/fleet.ts";
import { killNow } from "../../src/control/process.ts";
import { PACE } from "../../src/control/roster.ts";
import type { ListenAddress } from "../../src/control/sockets.ts";
import type { TableSpec } from "../../src/domain/route.ts";
import type { PlaneOptions } from "../../src/shared/messages.ts";
import type { FakeScript } from "./fake_worker.ts";

const FAKE_WORKER_FILE = new URL("fake_worker.ts", import.meta.url).pathname;

/** One journal event. */
export interface Happening {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** One line of a log. */
export interface LogLine {
  readonly level: keyof Logger;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** A log that is kept instead of written. */
export function keepLog(): { readonly log: Logger; readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const write = (level: keyof Logger) => (fields: Readonly<Record<string, unknown>>, message: string) => {
    lines.push({ level, fields, message });
  };
  return {
    log: { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") },
    lines,
  };
}

/** A table without routes: the fleet does not look inside. */
export function emptyTable(revision: number): TableSpec {
  return { revision, backends: [], routes: [] };
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** An address of this machine's loopback. */
export function loopback(port: number): ListenAddress {
  return { kind: "tcp", host: "127.0.0.1", port, text: `127.0.0.1:${port}` };
}

/** Patience for tests: the same decisions, sooner. */
export const BRISK = { ...PACE, takeoverMaxMs: 2_000, settleMs: 500, limitsAfterMs: 0 };

/** Options that workers here are given. */
export const PLANE: PlaneOptions = {
  accessLog: { format: "off", samplePercent: 100 },
  drain: { graceMs: 0, spreadMs: 0, idleMs: 0, deadlineMs: 5_000, tunnelsMs: 5_000 },
  trustedProxies: [],
  connectionsPerAddressMax: 100,
  headsPerAddressMax: 100,
  connectionsMax: 10,
};

/** Nobody is replaced for what it needs. */
export const NO_LIMITS = { memoryBytesMax: null, ageMsMax: null, heartbeatMs: 10_000 };

/** A directory with fleets in it, one after the other or side by side. */
export class FleetStage {
  readonly directory = mkdtempSync(join(tmpdir(), "crossfade-fleet-"));
  readonly socketPath = join(this.directory, "control.sock");
  readonly happenings: Happening[] = [];
  readonly reports: string[] = [];
  readonly retired: string[] = [];
  readonly kept = keepLog();
  readonly #fleets: Fleet[] = [];
  readonly #pids = new Set<number>();

  /** A fleet that is not started yet, of two workers on any free port unless told otherwise. */
  fleet(parts: Partial<FleetParts> = {}): Fleet {
    const fleet = new Fleet({
      listen: [loopback(0)],
      inherited: [],
      workers: 2,
      socketPath: this.socketPath,
      version: "1.2.3",
      workerFile: FAKE_WORKER_FILE,
      plane: PLANE,
      limits: NO_LIMITS,
      pace: BRISK,
      clock: systemClock,
      log: this.kept.log,
      journal: {
        append: (type, data) => {
          this.happenings.push({ type, data });
          if (typeof data["pid"] === "number") this.#pids.add(data["pid"]);
        },
      },
      sampler: {
        report: (worker) => void this.reports.push(worker),
        retire: (worker) => void this.retired.push(worker),
      },
      ...parts,
    });
    this.#fleets.push(fleet);
    return fleet;
  }

  /** What every fake worker here does from its next step on. */
  script(script: FakeScript): void {
    writeFileSync(`${this.socketPath}.script.json`, JSON.stringify(script));
  }

  /** The data of all events of a type so far. */
  events(type: string): Readonly<Record<string, unknown>>[] {
    return this.happenings.filter((happening) => happening.type === type).map(({ data }) => data);
  }

  /** Ends every worker that any fleet here ever had, then removes the directory. */
  async close(): Promise<void> {
    for (const fleet of this.#fleets) {
      for (const { pid } of fleet.status()) this.#pids.add(pid);
      await fleet.close();
    }
    for (const pid of this.#pids) if (pid > 0) killNow(pid);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
