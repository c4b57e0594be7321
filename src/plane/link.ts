/** A worker's side of the control socket: connects, reconnects for ever, and says hello each time. */
import { connect } from "node:net";
import { openChannel, type WorkerChannel } from "../shared/channel.ts";
import type { ControlMessage, WorkerMessage } from "../shared/messages.ts";

/** Without a control process a worker goes on serving and tries to reach one this often. */
const RETRY_MS = 200;

/** What a link tells its owner. */
export interface LinkEvents {
  /** A new connection: whatever the other side must know is to be sent again. */
  onOpen(): void;
  onMessage(message: ControlMessage): void;
}

/** The link of one worker to whichever control process listens on `path`. */
export class ControlLink {
  readonly #path: string;
  readonly #events: LinkEvents;
  #channel: WorkerChannel | null = null;
  #isClosed = false;

  constructor(path: string, events: LinkEvents) {
    this.#path = path;
    this.#events = events;
  }

  get isOpen(): boolean {
    return this.#channel !== null;
  }

  /** Sends a message, or drops it when nobody is there: everything sent is either cumulative or said again. */
  send(message: WorkerMessage): void {
    this.#channel?.send(message);
  }

  open(): void {
    const socket = connect(this.#path);
    socket.once("connect", () => {
      this.#channel = openChannel<ControlMessage, WorkerMessage>(socket, {
        onMessage: (message) => this.#events.onMessage(message),
        onClose: () => {
          this.#channel = null;
          this.#retry();
        },
      });
      socket.off("error", onError);
      this.#events.onOpen();
    });
    const onError = (): void => {
      socket.destroy();
      this.#retry();
    };
    socket.once("error", onError);
  }

  /** Lets what was sent go out, then ends for good. */
  close(): void {
    this.#isClosed = true;
    this.#channel?.end();
  }

  #retry(): void {
    if (!this.#isClosed) setTimeout(() => this.open(), RETRY_MS);
  }
}
