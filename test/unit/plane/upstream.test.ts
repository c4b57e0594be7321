/** One backend connection, with a handler that holds back reading at the worst moment. */
import { afterEach, expect, test } from "vitest";
import { Plane } from "../../../src/plane/plane.ts";
import type { ConnectionTaker } from "../../../src/plane/pool.ts";
import type { UpstreamConnection, UpstreamHandler } from "../../../src/plane/upstream.ts";
import { ManualClock } from "../../support/clock.ts";
import { OK } from "../../support/plane.ts";
import { seededRandom } from "../../support/random.ts";
import { until } from "../../support/wait.ts";
import { RawBackend, answering } from "../../support/wire.ts";
import type { BackendId } from "../../../src/domain/route.ts";

const backend = new RawBackend();
afterEach(() => backend.close());

test("a connection whose answer ended while reading was held back carries the next one", async () => {
  backend.script = answering(OK);
  const port = await backend.listen();
  const plane = new Plane(new ManualClock(), seededRandom(1), {});
  const endpoint = { address: `http://127.0.0.1:${port}`, host: "127.0.0.1", port };
  const request = { connectMs: 3000, client: "c", avoid: null, idleMsMax: Infinity };
  let ended = 0;
  const ask = (): void => {
    let connection: UpstreamConnection | null = null;
    const ignore = (): void => {};
    const handler: UpstreamHandler = {
      onInterim: ignore,
      onHead: ignore,
      onUpgrade: ignore,
      // The client is behind: no more, please. It comes with the last bytes of the answer.
      onData: () => connection?.pause(),
      onEnd: () => void ended++,
      onFault: (code) => expect.unreachable(code),
      onFlush: ignore,
      onDrain: ignore,
    };
    const taker: ConnectionTaker = {
      onConnection(given) {
        connection = given;
        const text = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        given.send({ text, method: "GET", isUpgrade: false }, handler, { responseMs: 0, idleMs: 0 });
        given.endRequest();
      },
      onNoConnection: (code) => expect.unreachable(code),
    };
    plane.pool.acquire(taker, { ...request, backend: { id: "b" as BackendId, endpoints: [endpoint] } });
  };
  ask();
  await until("the first answer", () => ended === 1);
  ask();
  await until("the second answer", () => ended === 2, 5_000);
  expect(backend.connections).toHaveLength(1);
  plane.pool.closeIdle();
});
