/** What rollouts ask before they go on: a server that says yes, says no, or says nothing, as the test wants. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What a gate says. `silent` never answers. */
export type GateAnswer = "yes" | "no" | "silent";

/** One call of a gate. */
export interface GateCall {
  readonly path: string;
  readonly key: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Gates by their paths, which say yes until they are told otherwise. */
export class GateServer implements AsyncDisposable {
  readonly calls: GateCall[] = [];
  readonly #answers = new Map<string, GateAnswer>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async start(): Promise<GateServer> {
    const server = new GateServer();
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  /** Where a gate is. */
  url(path: string): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${path}`;
  }

  /** From now on the gate says this. */
  set(path: string, answer: GateAnswer): void {
    this.#answers.set(path, answer);
  }

  /** The paths that were called, in their order. */
  asked(): string[] {
    return this.calls.map(({ path }) => path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "/";
    let text = "";
    for await (const piece of request) text += String(piece);
    const body = JSON.parse(text) as GateCall["body"];
    this.calls.push({ path, key: String(request.headers["idempotency-key"]), body });
    const answer = this.#answers.get(path) ?? "yes";
    if (answer === "yes") response.writeHead(204).end();
    if (answer === "no") response.writeHead(409).end(JSON.stringify({ reason: "the reports are not ready" }));
  }
}
