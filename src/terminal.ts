/** What the command line sees of the process it runs in: two streams, the environment, files and signals. */
import { open, readFile, writeFile } from "node:fs/promises";
import { addAbortSignal } from "node:stream";
import { text } from "node:stream/consumers";
import { systemClock, type Clock } from "./base/clock.ts";
import { lookOf, type Look } from "./render.ts";

/** The exit codes, all there are. Source: sysexits.h for 69 and 78; 3 is for scripts that ask a question. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  /** The answer is no: not ready, no route. */
  no: 3,
  /** Nobody answered. */
  unavailable: 69,
  badConfiguration: 78,
} as const;

/** For the owner alone. */
const OWNER_MODE = 0o600;

/** A terminal or a pipe, or the stand-in of a test. */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly outLook: Look;
  readonly errLook: Look;
  /** Whether a person watches standard output. */
  readonly isWatched: boolean;
  /** Writes to standard output. */
  out(text: string): void;
  /** Writes to standard error. */
  err(text: string): void;
  /** The text of a file, or of standard input for `-`. Throws what the file system throws. */
  read(fileName: string): Promise<string>;
  /** The same in pieces, for inputs of any length. Reading them ends with an error when `signal` says so. */
  pieces(fileName: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** Writes a file that only its owner may read, in place of what it held. Throws what the file system throws. */
  write(fileName: string, words: string): Promise<void>;
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP from now on, which then does not end the process. */
  interrupted(): AbortSignal;
}

/** The terminal of this process. Ends it quietly when whoever reads its output has gone, as `head` does. */
export function processTerminal(): Terminal {
  const { stdout, stderr, env } = process;
  for (const stream of [stdout, stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      process.exit(EXIT.ok);
    });
  }
  return {
    env,
    clock: systemClock,
    outLook: lookOf(stdout, env),
    errLook: lookOf(stderr, env),
    isWatched: stdout.isTTY,
    out: (words) => void stdout.write(words),
    err: (words) => void stderr.write(words),
    read: (fileName) => (fileName === "-" ? text(process.stdin) : readFile(fileName, "utf8")),
    pieces: async (fileName, signal) => {
      const stream = fileName === "-" ? process.stdin : (await open(fileName)).createReadStream();
      return addAbortSignal(signal, stream);
    },
    write: (fileName, words) => writeFile(fileName, words, { mode: OWNER_MODE }),
    interrupted: () => {
      const controller = new AbortController();
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
        process.on(signal, () => controller.abort());
      return controller.signal;
    },
  };
}

/** A reason to stop that a person understands. `lines` follow the message, one per problem. */
export class CliFailure extends Error {
  readonly exit: number;
  readonly lines: readonly string[];
  constructor(exit: number, message: string, lines: readonly string[] = []) {
    super(message);
    this.name = "CliFailure";
    this.exit = exit;
    this.lines = lines;
  }
}

/** The text of a file that a command needs. Throws CliFailure with exit code 78 when it cannot be read. */
export async function readNeeded(terminal: Terminal, fileName: string): Promise<string> {
  try {
    return await terminal.read(fileName);
  } catch (error) {
    throw new CliFailure(EXIT.badConfiguration, `cannot read ${fileName}: ${wordsOf(error)}`);
  }
}

/** The same in pieces, for inputs of any length. What goes wrong later is thrown by reading them. */
export async function* readPieces(
  terminal: Terminal,
  fileName: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield* await terminal.pieces(fileName, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    throw new CliFailure(EXIT.badConfiguration, `cannot read ${fileName}: ${wordsOf(error)}`);
  }
}

/** Writes a file that a command was told to write. Throws CliFailure when it cannot be written. */
export async function writeNeeded(terminal: Terminal, fileName: string, words: string): Promise<void> {
  try {
    await terminal.write(fileName, words);
  } catch (error) {
    throw new CliFailure(EXIT.failure, `cannot write ${fileName}: ${wordsOf(error)}`);
  }
}

/** What the file system refused with, in words for people: its message is "CODE: words, call 'path'". */
function wordsOf(error: unknown): string {
  if (!(error instanceof Error) || !("syscall" in error)) throw error;
  return /^\w+: (.*?), \w+/.exec(error.message)?.[1] ?? error.message;
}
