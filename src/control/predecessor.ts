/** An upgrade as the new control process sees it: comes up beside the serving one, then takes over from it. */
import { once } from "node:events";
import { connect } from "node:net";
import { openChannel, type Channel } from "../shared/channel.ts";
import type { Named } from "./fleet_news.ts";
import { HANDOVER_PROTOCOL } from "./handover.ts";
import type { FormerMessage, Inheritance, NewMessage } from "./handover.ts";

/** The control process that serves until this one takes over. */
export class Predecessor {
  readonly inheritance: Inheritance;
  readonly #channel: Channel<NewMessage>;
  readonly #released: Promise<readonly Named[]>;

  private constructor(
    inheritance: Inheritance,
    channel: Channel<NewMessage>,
    released: Promise<readonly Named[]>,
  ) {
    this.inheritance = inheritance;
    this.#channel = channel;
    this.#released = released;
  }

  /** Connects and says who this is. `onLost`: the other one gave this one up, or died, before it released anything. */
  static async reach(
    inheritance: Inheritance,
    me: { readonly version: string; readonly pid: number },
    onLost: () => void,
  ): Promise<Predecessor> {
    const socket = connect({ path: inheritance.socket });
    await once(socket, "connect");
    const released = Promise.withResolvers<readonly Named[]>();
    let isReleased = false;
    const channel: Channel<NewMessage> = openChannel<FormerMessage, NewMessage>(socket, {
      onMessage: ({ workers = [] }) => {
        isReleased = true;
        released.resolve(workers);
      },
      onClose: () => {
        if (!isReleased) onLost();
      },
    });
    channel.send({ type: "hello", protocol: HANDOVER_PROTOCOL, ...me });
    return new Predecessor(inheritance, channel, released.promise);
  }

  /** Asks for a worker with sockets that only the other one's workers have. */
  spawn(worker: number, program: { readonly file: string; readonly version: string }): boolean {
    return this.#channel.send({ type: "spawn", worker, ...program });
  }

  /** Says which workers there are here. */
  tellWorkers(workers: readonly Named[]): void {
    this.#channel.send({ type: "workers", workers });
  }

  /** Says which revision all workers here have that serve. */
  tellApplied(revision: number): void {
    this.#channel.send({ type: "applied", revision });
  }

  /** Says why this process ends instead of taking over. Settles when that was sent. */
  async fail(reason: string): Promise<void> {
    this.#channel.send({ type: "failed", reason });
    this.#channel.end();
    // What was written goes out in the next turns.
    await new Promise((resolve) => setTimeout(resolve, 100));
  }

  /** Says that the workers here serve. Gives the other one's, when lock, store and admin listener are free. */
  released(): Promise<readonly Named[]> {
    this.#channel.send({ type: "ready" });
    return this.#released;
  }

  /** Says that this process has all of it. */
  serve(): void {
    this.#channel.send({ type: "serving" });
    this.#channel.end();
  }
}
