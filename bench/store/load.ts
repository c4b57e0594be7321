/** Clients on kept-alive connections that send the next request after the answer, and time every answer. */
import { connect, type Socket } from "node:net";

/** What the clients of one round saw. Latencies in milliseconds, ascending. */
export interface LoadReport {
  readonly seconds: number;
  readonly latenciesMs: readonly number[];
  /** Answers that were not 200, and connections that ended. */
  readonly failed: number;
}

const HEAD_END = "\r\n\r\n";
const LAST_CHUNK = "\r\n0\r\n\r\n";

/** One client. It connects again when the other side said that it would close, as it may after many requests. */
class LoadClient {
  readonly #url: URL;
  readonly #request: string;
  #socket: Socket;
  #buffer = "";
  #sentAtMs = 0;
  #isRunning = false;
  #idle = Promise.withResolvers<void>();
  latenciesMs: number[] = [];
  failed = 0;

  constructor(url: URL) {
    this.#url = url;
    this.#request = `GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`;
    this.#socket = this.#connect();
  }

  start(): void {
    this.latenciesMs = [];
    this.failed = 0;
    this.#isRunning = true;
    this.#idle = Promise.withResolvers();
    // Idle connections end in time: nothing fails by that.
    if (this.#socket.destroyed) this.#socket = this.#connect();
    this.#send();
  }

  /** Settles when the request under way was answered. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.#idle.promise;
  }

  close(): void {
    this.#socket.destroy();
  }

  #connect(): Socket {
    const socket = connect({ host: this.#url.hostname, port: Number(this.#url.port), noDelay: true });
    socket.setEncoding("latin1").on("data", (text: string) => this.#take(text));
    socket.on("error", () => socket.destroy());
    socket.once("close", () => {
      // One that was left in order is no matter any more.
      if (socket !== this.#socket) return;
      if (this.#isRunning) this.failed++;
      this.#idle.resolve();
    });
    return socket;
  }

  #send(): void {
    this.#sentAtMs = performance.now();
    this.#socket.write(this.#request);
  }

  #take(text: string): void {
    this.#buffer += text;
    if (!isWhole(this.#buffer)) return;
    const head = this.#buffer.slice(0, this.#buffer.indexOf(HEAD_END));
    this.#buffer = "";
    if (head.startsWith("HTTP/1.1 200 ")) this.latenciesMs.push(performance.now() - this.#sentAtMs);
    else this.failed++;
    if (/\r\nconnection: *close/i.test(head)) {
      const former = this.#socket;
      this.#socket = this.#connect();
      former.destroy();
    }
    if (this.#isRunning) this.#send();
    else this.#idle.resolve();
  }
}

/** A fixed number of clients at each of some addresses. */
export class Load implements Disposable {
  readonly #clients: LoadClient[];

  constructor(urls: readonly string[], clientsEach: number) {
    this.#clients = urls.flatMap((url) =>
      Array.from({ length: clientsEach }, () => new LoadClient(new URL(url))),
    );
  }

  /** Lets them run while `work` does. Gives what it gave, and what they saw. */
  async during<Value>(work: () => Promise<Value>): Promise<[Value, LoadReport]> {
    const startedMs = performance.now();
    for (const client of this.#clients) client.start();
    const value = await work();
    await Promise.all(this.#clients.map((client) => client.stop()));
    const report = {
      seconds: (performance.now() - startedMs) / 1000,
      latenciesMs: this.#clients.flatMap(({ latenciesMs }) => latenciesMs).toSorted((a, b) => a - b),
      failed: this.#clients.reduce((sum, { failed }) => sum + failed, 0),
    };
    return [value, report];
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.close();
  }
}

/** Whether this is a whole answer: with a Content-Length or chunked, as backends that are known here answer. */
function isWhole(text: string): boolean {
  const end = text.indexOf(HEAD_END);
  if (end < 0) return false;
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, end))?.[1];
  return length === undefined
    ? text.endsWith(LAST_CHUNK)
    : text.length >= end + HEAD_END.length + Number(length);
}
