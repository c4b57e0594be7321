/** A pair of backends that answer alike but for noise, and of which one can be given bugs. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { seededRandom } from "./random.ts";

/** What a bug does to an answer. */
export interface Bugs {
  /** A field is left out. */
  readonly isStockMissing?: boolean;
  /** Every price is a cent too high. */
  readonly isPriceOff?: boolean;
  /** This part of the requests is answered 404. */
  readonly wrongStatus?: number;
}

/** A running backend. */
export interface NoisyBackend extends AsyncDisposable {
  readonly url: string;
  bugs: Bugs;
}

const SIZES = ["s", "m", "l", "xl"];

/**
 * Starts one, in this process.
 *
 * Each answer has an id and a time of its own, and a list in an order of its own; everything else depends on the path.
 */
export async function startNoisy(name: string, seed: number): Promise<NoisyBackend> {
  const random = seededRandom(seed);
  let owed = 0;
  const backend: { bugs: Bugs } = { bugs: {} };
  const server: Server = createServer((request, response) => {
    request.resume();
    const { isStockMissing = false, isPriceOff = false, wrongStatus = 0 } = backend.bugs;
    owed += wrongStatus;
    const isWrong = owed >= 1;
    if (isWrong) owed -= 1;
    const number = Number(/\d+$/.exec(request.url ?? "")?.[0] ?? 0);
    const body = {
      id: random.draw(1_000_000_000),
      at: new Date(random.draw(1_000_000) * 1000).toISOString(),
      item: `teapot ${number % 100}`,
      price: (number % 100) + 0.99 + (isPriceOff ? 0.01 : 0),
      ...(isStockMissing ? {} : { stock: number % 7 }),
      sizes: SIZES.toSorted(() => random.draw(3) - 1),
    };
    response.writeHead(isWrong ? 404 : 200, { "content-type": "application/json", "x-backend": name });
    response.end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return Object.assign(backend, {
    url,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  });
}
