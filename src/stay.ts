/**
 * What is left of a control process that was upgraded while somebody waits for its end: a shell, a container engine,
 * a supervisor. It passes signals on to its successors, and ends as the last of them does.
 */
import { once } from "node:events";
import { rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { openChannel, type Channel } from "./shared/channel.ts";
import { passOn, type Signal, type Signals } from "./signals.ts";

/** The name of the socket in the run directory on which successors report to it. */
export const STAY_SOCKET = "stay.sock";

/** A successor that took over has this long to say so here, in milliseconds. */
const JOIN_MAX_MS = 10_000;

const EXIT_FAILURE = 1;

/** From a successor. */
type StayMessage =
  /** This process is in charge now. */
  | { readonly type: "control"; readonly pid: number }
  /** It ends, in order. */
  | { readonly type: "exit"; readonly code: number };

/** To a successor: its predecessor may end now. */
type StayAnswer = { readonly type: "joined" };

/** The process that stays. */
export class Stay {
  readonly #path: string;
  readonly #server: Server;
  readonly #ended = Promise.withResolvers<number>();
  #current: { readonly pid: number; readonly channel: Channel<StayAnswer>; code: number } | null = null;
  #timer: NodeJS.Timeout | null = null;

  private constructor(path: string) {
    this.#path = path;
    this.#server = createServer((socket) => {
      const channel: Channel<StayAnswer> = openChannel<StayMessage, StayAnswer>(socket, {
        onMessage: (message) => {
          if (message.type === "control") this.#follow(message.pid, channel);
          else if (this.#current?.channel === channel) this.#current.code = message.code;
        },
        // That process is gone now.
        onClose: () => {
          if (this.#current?.channel === channel) this.#ended.resolve(this.#current.code);
        },
      });
    });
  }

  /** Listens for successors, before the first of them takes over. */
  static async open(path: string): Promise<Stay> {
    rmSync(path, { force: true });
    const stay = new Stay(path);
    stay.#server.listen({ path });
    await once(stay.#server, "listening");
    return stay;
  }

  /** Passes signals on until the last successor has ended. Gives its exit code. */
  async untilEnd(signals: Signals): Promise<number> {
    signals.answer((signal) => this.#passOn(signal));
    if (this.#current === null)
      this.#timer = setTimeout(() => this.#ended.resolve(EXIT_FAILURE), JOIN_MAX_MS);
    const code = await this.#ended.promise;
    this.close();
    return code;
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#server.close();
    this.#current?.channel.close("the process that stayed ends");
    rmSync(this.#path, { force: true });
  }

  #follow(pid: number, channel: Channel<StayAnswer>): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    // Without a word at its end it crashed, as its predecessor would have: whoever waits shall see that.
    this.#current = { pid, channel, code: EXIT_FAILURE };
    channel.send({ type: "joined" });
  }

  #passOn(signal: Signal): void {
    if (this.#current !== null) passOn(this.#current.pid, signal);
  }
}

/** Says to the process that stays that this one is in charge, and settles when it knows. Gives what says the end. */
export async function joinStay(path: string, pid: number): Promise<(code: number) => void> {
  const socket = connect({ path });
  try {
    await once(socket, "connect");
  } catch (error) {
    // It was killed, and with it whoever waited for this process.
    if (error instanceof Error && "code" in error) return () => undefined;
    throw error;
  }
  const joined = Promise.withResolvers<void>();
  // Whoever waited may be killed: this process goes on without.
  const channel = openChannel<StayAnswer, StayMessage>(socket, {
    onMessage: () => joined.resolve(),
    onClose: () => joined.resolve(),
  });
  channel.send({ type: "control", pid });
  // The one before must not be missed there as if it had crashed.
  await joined.promise;
  // The end of this process closes it.
  socket.unref();
  return (code) => void channel.send({ type: "exit", code });
}
