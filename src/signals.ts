/** Signals of a control process, from its first moment to its last: who answers them changes, and none is lost. */

/** What means something to a control process. */
export type Signal = (typeof MEANT)[number];

const MEANT = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR2"] as const;
/** Those that end it. */
const ENDING: readonly Signal[] = ["SIGTERM", "SIGINT", "SIGQUIT"];

/** Does what a signal asks for. */
export type Answer = (signal: Signal) => void;

/** The process, as far as signals are concerned. */
export interface Receiver {
  readonly pid: number;
  on(signal: Signal, listener: () => void): unknown;
  removeAllListeners(signal: Signal): unknown;
  kill(pid: number, signal: Signal): unknown;
}

/**
 * What becomes of signals.
 *
 * Free, at first: there is nothing to be undone yet, so those that end a process end it as usual, and others are kept.
 * Process 1 cannot be ended like that, so there all are.
 * Held: all are kept, each once. Answered: those that were kept are answered in the order of their coming, and others
 * as they come.
 */
export class Signals {
  readonly #receiver: Receiver;
  readonly #kept = new Set<Signal>();
  #answer: Answer | "free" | "held" = "free";

  /** Catches them from here on, until the process ends. */
  constructor(receiver: Receiver = process) {
    this.#receiver = receiver;
    for (const signal of MEANT) receiver.on(signal, () => this.#take(signal));
  }

  /** Keeps them until somebody answers. `came`: one that came to somebody who cannot answer it any more. */
  hold(came?: Signal): void {
    this.#answer = "held";
    if (came !== undefined) this.#kept.add(came);
  }

  /** Has them answered from here on. */
  answer(answer: Answer): void {
    this.#answer = answer;
    const kept = [...this.#kept];
    this.#kept.clear();
    for (const signal of kept) this.#take(signal);
  }

  #take(signal: Signal): void {
    if (typeof this.#answer === "function") return this.#answer(signal);
    // Nothing ends process 1 but itself.
    const isDeadly = ENDING.includes(signal) && this.#receiver.pid !== 1;
    if (this.#answer === "held" || !isDeadly) return void this.#kept.add(signal);
    this.#receiver.removeAllListeners(signal);
    this.#receiver.kill(this.#receiver.pid, signal);
    return undefined;
  }
}

/** Sends a signal to a process, if that still runs. */
export function passOn(pid: number, signal: Signal): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}
