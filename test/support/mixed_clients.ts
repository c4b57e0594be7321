/**
 * Clients of every kind at once, for a ledger: kept connections, one per request, bodies that change data, streams,
 * WebSockets.
 */
import { Agent, request, type IncomingMessage } from "node:http";
import { answerTo, PIECE_BYTES, PIECES } from "./ledger.ts";
import { SocketClient, type SocketAccount } from "./socket_client.ts";

/** The kinds that send requests, each with its method and path. */
const KINDS = {
  kept: { method: "GET", path: "/get", keeps: true },
  oneShot: { method: "GET", path: "/get", keeps: false },
  post: { method: "POST", path: "/post", keeps: true },
  stream: { method: "GET", path: "/stream", keeps: true },
} as const;

type Kind = keyof typeof KINDS;

/** A body that is sent in two pieces. */
const BODY_BYTES = 2_000;
/** Losses that are kept in words. */
const LOSSES_MAX = 50;

/**
 * What the clients saw. `lost`: no whole answer, or not the right one; WebSockets that ended otherwise than by their
 * own close too. `wrong`: those of them that passed for whole. `statuses` that are not 200 are answers too.
 */
export interface MixedAccount {
  readonly sent: number;
  readonly answered: number;
  readonly sockets: SocketAccount;
  readonly lost: number;
  readonly wrong: number;
  readonly losses: readonly string[];
  readonly statuses: Readonly<Record<number, number>>;
}

/** In words, and whether nothing but its contents told the client of it. */
type Loss = { readonly said: string; readonly isWrong: boolean };

/** Clients that send one request after the other until they are stopped, at the pace of the answers. */
export class MixedClients {
  readonly #url: string;
  readonly #onLoss: (loss: string) => void;
  readonly #loops: Promise<void>[];
  readonly #sockets: readonly SocketClient[];
  readonly #statuses: Record<number, number> = {};
  readonly #losses: string[] = [];
  readonly #answers: number[] = [];
  #sent = 0;
  #answered = 0;
  #lost = 0;
  #wrong = 0;
  #isStopping = false;

  /** `each`: how many of each kind. `onLoss` hears of every request that is lost. */
  constructor(url: string, each: number, onLoss: (loss: string) => void = () => undefined) {
    this.#url = url;
    this.#onLoss = onLoss;
    const kinds = Object.keys(KINDS) as Kind[];
    const place = `${url.replace("http:", "ws:")}/socket`;
    this.#sockets = Array.from(
      { length: each },
      (_, index) => new SocketClient(place, `socket${index}`, (loss) => this.#lose(loss)),
    );
    this.#loops = kinds.flatMap((kind) =>
      Array.from({ length: each }, (_, index) => this.#run(kind, `${kind}${index}`)),
    );
  }

  account(): MixedAccount {
    return {
      sent: this.#sent,
      answered: this.#answered,
      sockets: this.#sockets.map(({ account }) => account).reduce(sumOf),
      lost: this.#lost,
      wrong: this.#wrong + this.#sockets.reduce((sum, { account }) => sum + account.wrong, 0),
      losses: [...this.#losses],
      statuses: { ...this.#statuses },
    };
  }

  /** The fewest answers, or echoes, that any client has got. */
  answersMin(): number {
    return Math.min(this.requestAnswersMin(), ...this.#sockets.map(({ account }) => account.echoed));
  }

  /** The fewest answers that any client has got that sends requests. */
  requestAnswersMin(): number {
    return Math.min(...this.#answers);
  }

  /** Lets every client finish the request that it is at. */
  async stop(): Promise<MixedAccount> {
    this.#isStopping = true;
    await Promise.all([...this.#loops, ...this.#sockets.map((socket) => socket.stop())]);
    return this.account();
  }

  async #run(kind: Kind, name: string): Promise<void> {
    const slot = this.#answers.push(0) - 1;
    const agent = new Agent({ keepAlive: KINDS[kind].keeps, maxSockets: 1 });
    for (let number = 1; !this.#isStopping; number++) {
      this.#sent++;
      const loss = await this.#ask(kind, agent, `${name}-${number}`);
      if (loss === null) {
        this.#answered++;
        this.#answers[slot] = (this.#answers[slot] ?? 0) + 1;
      } else {
        if (loss.isWrong) this.#wrong++;
        this.#lose(`${name}-${number}: ${loss.said}`);
      }
    }
    agent.destroy();
  }

  #lose(loss: string): void {
    this.#lost++;
    this.#onLoss(loss);
    if (this.#losses.length < LOSSES_MAX) this.#losses.push(loss);
  }

  /** Gives null when the answer came whole, or what went wrong. */
  #ask(kind: Kind, agent: Agent, id: string): Promise<Loss | null> {
    const { method, path } = KINDS[kind];
    return new Promise((resolve) => {
      const headers = { "x-id": id, cookie: `uid=${id.replace(/-.*/, "")}` };
      const asking = request(`${this.#url}${path}`, { method, agent, headers }, (response) => {
        void this.#read(kind, id, response).then(resolve);
      });
      asking.on("error", ({ message: said }) => resolve({ said, isWrong: false }));
      if (method === "GET") return void asking.end();
      asking.setHeader("content-length", BODY_BYTES);
      asking.write("a".repeat(BODY_BYTES / 2));
      asking.end("b".repeat(BODY_BYTES / 2));
      return undefined;
    });
  }

  async #read(kind: Kind, id: string, response: IncomingMessage): Promise<Loss | null> {
    const { statusCode: status = 0 } = response;
    let text = "";
    try {
      for await (const piece of response.setEncoding("utf8")) text += String(piece);
    } catch (error) {
      return { said: error instanceof Error ? error.message : String(error), isWrong: false };
    }
    this.#statuses[status] = (this.#statuses[status] ?? 0) + 1;
    const said = status === 200 ? faultOf(kind, id, response.headers["x-id"], text) : null;
    return said === null ? null : { said, isWrong: true };
  }
}

/** What is wrong with an answer that came whole, or null. */
function faultOf(kind: Kind, id: string, answered: unknown, text: string): string | null {
  if (answered !== id) return `the answer is for ${String(answered)}`;
  if (kind === "stream") return text.length === PIECES * PIECE_BYTES ? null : `${text.length} bytes came`;
  const due = answerTo(KINDS[kind].method, kind === "post" ? BODY_BYTES : 0);
  return text === due ? null : `${text} came in place of ${due}`;
}

function sumOf(one: SocketAccount, other: SocketAccount): SocketAccount {
  return {
    opened: one.opened + other.opened,
    sent: one.sent + other.sent,
    echoed: one.echoed + other.echoed,
    lost: one.lost + other.lost,
    wrong: one.wrong + other.wrong,
  };
}
