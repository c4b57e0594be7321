/** A TCP proxy on loopback that holds what a client says from a certain word on, until it is told to let go. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

/** Everything passes but the piece of a client's bytes with the word in it, and what comes after on its connection. */
export class HoldingProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #held: { readonly to: Socket; readonly bytes: Buffer }[] = [];
  #holding = new Set<Socket>();
  #word: string | null = null;

  private constructor(target: number) {
    this.#server = createServer({ noDelay: true }, (client) => this.#accept(client, target));
  }

  /** Starts one in front of a port of 127.0.0.1. */
  static async start(target: number): Promise<HoldingProxy> {
    const proxy = new HoldingProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Whether a client has said the word and waits. */
  get isHolding(): boolean {
    return this.#holding.size > 0;
  }

  holdFrom(word: string): void {
    this.#word = word;
  }

  /** Passes on what was held, and everything from now on. */
  release(): void {
    this.#word = null;
    this.#holding = new Set();
    for (const { to, bytes } of this.#held.splice(0)) to.write(bytes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket, port: number): void {
    const target = connect({ port, host: "127.0.0.1", noDelay: true });
    for (const [one, other] of [
      [client, target],
      [target, client],
    ] as const) {
      this.#sockets.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
    target.on("data", (bytes: Buffer) => client.write(bytes));
    client.on("data", (bytes: Buffer) => {
      if (this.#word !== null && bytes.includes(this.#word)) this.#holding.add(client);
      if (this.#holding.has(client)) this.#held.push({ to: target, bytes });
      else target.write(bytes);
    });
  }
}
