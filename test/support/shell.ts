/** The command line in tests: runs one command against a terminal that only remembers, and an admin API if needed. */
import { Readable } from "node:stream";
import { listenAdmin } from "../../src/admin/server.ts";
import { systemClock } from "../../src/base/clock.ts";
import { runCli } from "../../src/cli.ts";
import { PLAIN, type Look } from "../../src/render.ts";
import type { Terminal } from "../../src/terminal.ts";
import { adminStage, type AdminStage } from "./admin_stage.ts";

/** What a command left behind. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** What a command finds. */
export interface Surroundings {
  readonly env?: Readonly<Record<string, string>>;
  /** Files by name; `-` is standard input. */
  readonly files?: Readonly<Record<string, string>>;
  /** Told what a command writes into a file; without it no file can be written. */
  readonly onWrite?: (fileName: string, text: string) => void;
  readonly look?: Look;
  readonly onOut?: (text: string) => void;
}

/** Runs one command line. */
export async function run(args: readonly string[], around: Surroundings = {}): Promise<Ran> {
  const said = { out: "", err: "" };
  const look = around.look ?? PLAIN;
  const terminal: Terminal = {
    env: around.env ?? {},
    clock: systemClock,
    outLook: look,
    errLook: look,
    isWatched: look.columns !== null,
    out(text) {
      said.out += text;
      around.onOut?.(text);
    },
    err(text) {
      said.err += text;
    },
    read(fileName) {
      const text = around.files?.[fileName];
      if (text !== undefined) return Promise.resolve(text);
      return Promise.reject(refusal("ENOENT", "no such file or directory", fileName));
    },
    pieces(fileName) {
      const text = around.files?.[fileName];
      if (text !== undefined) return Promise.resolve(Readable.from([Buffer.from(text)]));
      return Promise.reject(refusal("ENOENT", "no such file or directory", fileName));
    },
    write(fileName, text) {
      if (around.onWrite === undefined)
        return Promise.reject(refusal("EACCES", "permission denied", fileName));
      around.onWrite(fileName, text);
      return Promise.resolve();
    },
    interrupted: () => new AbortController().signal,
  };
  const code = await runCli(args, terminal);
  return { code, ...said };
}

/** What the file system throws. */
function refusal(code: string, words: string, fileName: string): Error {
  return Object.assign(new Error(`${code}: ${words}, open '${fileName}'`), { syscall: "open", code });
}

/** An admin API on a port, and the command line pointed at it. */
export interface ServedStage extends AdminStage {
  readonly url: string;
  readonly run: (args: readonly string[], around?: Surroundings) => Promise<Ran>;
  readonly close: () => Promise<void>;
}

/** Serves an admin stage. */
export async function serveStage(options: Parameters<typeof adminStage>[0] = {}): Promise<ServedStage> {
  const stage = await adminStage(options);
  const listener = await listenAdmin(stage.app, { host: "127.0.0.1", port: 0 });
  const url = `http://127.0.0.1:${listener.port}`;
  return {
    ...stage,
    url,
    run: (args, around = {}) => run(args, { ...around, env: { CROSSFADE_URL: url, ...around.env } }),
    close: () => listener.close(),
  };
}
