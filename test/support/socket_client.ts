/** A client of WebSockets, for a ledger: opens one, has so many messages echoed, closes it, and begins again. */

/** Messages on one WebSocket: with the pace of the backend it lives for longer than a worker takes to be replaced. */
const MESSAGES = 100;
/** The code with which both sides end a WebSocket that is over. Source: RFC 6455 section 7.4.1. */
const NORMAL = 1000;

/**
 * What the client saw. Each message is echoed once, or its WebSocket is lost and the client begins another one.
 * `wrong`: those of the lost that brought another message than the one that was due.
 */
export interface SocketAccount {
  readonly opened: number;
  readonly sent: number;
  readonly echoed: number;
  readonly lost: number;
  readonly wrong: number;
}

/** One WebSocket after the other, until it is stopped. Whatever ends one but its own close is a loss. */
export class SocketClient {
  readonly #url: string;
  readonly #name: string;
  readonly #onLoss: (loss: string) => void;
  readonly #running: Promise<void>;
  #opened = 0;
  #sent = 0;
  #echoed = 0;
  #lost = 0;
  #wrong = 0;
  #isStopping = false;

  /** `url`: with `ws:`. `onLoss` hears in words of every WebSocket that is lost. */
  constructor(url: string, name: string, onLoss: (loss: string) => void) {
    this.#url = url;
    this.#name = name;
    this.#onLoss = onLoss;
    this.#running = this.#run();
  }

  get account(): SocketAccount {
    const [opened, sent, echoed] = [this.#opened, this.#sent, this.#echoed];
    return { opened, sent, echoed, lost: this.#lost, wrong: this.#wrong };
  }

  /** Lets it finish the message that it is at, and close. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let number = 1; !this.#isStopping; number++) {
      const id = `${this.#name}-${number}`;
      const loss = await this.#use(id);
      if (loss === null) continue;
      this.#lost++;
      this.#onLoss(`${id}: ${loss}`);
    }
  }

  /** Gives null when all went well, or what did not. */
  #use(id: string): Promise<string | null> {
    return new Promise((resolve) => {
      const socket = new WebSocket(this.#url, { headers: { "x-id": id, cookie: `uid=${this.#name}` } });
      let awaited = 0;
      let wrong: string | null = null;
      const next = (): void => {
        if (awaited === MESSAGES || this.#isStopping) return socket.close(NORMAL);
        awaited++;
        this.#sent++;
        return socket.send(`${id}:${awaited}`);
      };
      socket.addEventListener("open", () => {
        this.#opened++;
        next();
      });
      socket.addEventListener("message", ({ data }) => {
        if (data !== `${id}:${awaited}`) {
          this.#wrong++;
          wrong = `${String(data)} came in place of message ${awaited}`;
          return socket.close(NORMAL);
        }
        this.#echoed++;
        return next();
      });
      socket.addEventListener("close", ({ code, wasClean }) => {
        const isEnded = wasClean && code === NORMAL;
        resolve(wrong ?? (isEnded ? null : `ended with ${code} after message ${awaited}`));
      });
      // It is followed by "close", which says the same.
      socket.addEventListener("error", () => undefined);
    });
  }
}
