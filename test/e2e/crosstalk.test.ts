/** A hundred thousand requests under full mirroring: every client gets its own answer, and no byte of a shadow's. */
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { startCrossfade, type Crossfade } from "../support/crossfade.ts";
import { until } from "../support/wait.ts";

const REQUESTS = 100_000;
const CONNECTIONS = 48;
const HEAD_END = "\r\n\r\n";

interface Mirrored {
  readonly sampled: number;
  readonly answered: number;
  readonly in_flight: number;
  readonly dropped: Readonly<Record<string, number>>;
}

const servers: Server[] = [];
let crossfade: Crossfade | null = null;

afterEach(async () => {
  await crossfade?.stop();
  crossfade = null;
  for (const server of servers.splice(0)) server.close();
});

/** A backend whose every answer says who it is and what it was asked for, and how many it gave. */
async function echo(name: string): Promise<{ readonly url: string; readonly count: () => number }> {
  let count = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    let text = "";
    socket.setEncoding("latin1").on("data", (piece: string) => {
      text += piece;
      for (let end = text.indexOf(HEAD_END); end !== -1; end = text.indexOf(HEAD_END)) {
        const body = `${name}:${text.slice(4, text.indexOf(" ", 4))};`;
        // Of other lengths for each, so that a byte too many or too few is seen at once.
        socket.write(`HTTP/1.1 200 OK\r\nX-Name: ${name}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        text = text.slice(end + HEAD_END.length);
        count++;
      }
    });
    socket.on("error", () => socket.destroy());
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, count: () => count };
}

/** One client that asks for one path after the other, and stops at the first answer that is not its own. */
class Asker {
  asked = 0;
  wrong: string | null = null;
  readonly #socket: Socket;
  readonly #next: () => number | null;
  #id = 0;
  #text = "";
  readonly done = Promise.withResolvers<void>();

  constructor(port: number, next: () => number | null) {
    this.#next = next;
    this.#socket = connect({ host: "127.0.0.1", port, noDelay: true });
    this.#socket.setEncoding("latin1").on("data", (piece: string) => this.#take(piece));
    this.#socket.on("error", (error) => this.#fail(String(error)));
    this.#socket.on("close", () => this.#fail("the connection was closed"));
    this.#ask();
  }

  #ask(): void {
    const id = this.#next();
    if (id === null) {
      this.done.resolve();
      this.#socket.removeAllListeners("close").destroy();
      return;
    }
    this.#id = id;
    this.#text = "";
    this.asked++;
    this.#socket.write(`GET /${"p".repeat(id % 97)}/${id} HTTP/1.1\r\nHost: h\r\n\r\n`);
  }

  #take(piece: string): void {
    this.#text += piece;
    const end = this.#text.indexOf(HEAD_END);
    if (end === -1) return;
    const body = this.#text.slice(end + HEAD_END.length);
    const due = `legacy:/${"p".repeat(this.#id % 97)}/${this.#id};`;
    if (body === due) this.#ask();
    else if (!due.startsWith(body)) this.#fail(`got ${this.#text} where ${due} was due`);
  }

  #fail(why: string): void {
    this.wrong ??= why;
    this.done.resolve();
  }
}

test(`${REQUESTS} answers are all legacy's and each its own client's, and every copy is accounted for`, async () => {
  const [legacy, shadow] = [await echo("legacy"), await echo("the shadow")];
  crossfade = await startCrossfade(
    { legacy: legacy.url, new: shadow.url },
    { route: { mirror: { to: "new", percent: 100, concurrency: 1024 }, split: { legacy: 100, new: 0 } } },
  );
  await crossfade.servingWorkers(2);
  let given = 0;
  const next = (): number | null => (given < REQUESTS ? given++ : null);
  const { port } = new URL(crossfade.url);
  const askers = Array.from({ length: CONNECTIONS }, () => new Asker(Number(port), next));
  await Promise.all(askers.map(({ done }) => done.promise));
  expect(askers.map(({ wrong }) => wrong).filter((wrong) => wrong !== null)).toEqual([]);
  expect(askers.reduce((sum, { asked }) => sum + asked, 0)).toBe(REQUESTS);
  const running = crossfade;
  const { sampled, answered, dropped } = await until("all copies are counted", async () => {
    const { mirror } = await running.admin<{ mirror: Mirrored }>("GET", "/v1/routes/shop/health");
    return mirror.sampled >= REQUESTS && mirror.in_flight === 0 ? mirror : null;
  });
  const givenUp = Object.values(dropped).reduce((sum, count) => sum + count, 0);
  expect([sampled, answered + givenUp]).toEqual([REQUESTS, REQUESTS]);
  expect(answered).toBeLessThanOrEqual(shadow.count());
  expect(answered).toBeGreaterThan(REQUESTS / 100);
  // Beyond the requests themselves, legacy has seen some of them a second time, for the noise.
  expect(legacy.count()).toBeGreaterThan(REQUESTS);
  process.stdout.write(
    `cross-talk: ${REQUESTS} requests, ${answered} copies answered, dropped ${JSON.stringify(dropped)}, ` +
      `${legacy.count() - REQUESTS} second ones\n`,
  );
});
