/** Shadows that do wrong in every way there is, each in a process of its own, so that it costs clients nothing. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";

const HEAD_END = "\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const LONG_BYTES = 1024 * 1024 * 1024;
const PIECE = Buffer.alloc(256 * 1024, "x");
/** Ten times as long as legacy takes. */
const SLOW_MS = 200;

/** What a shadow does with each request. */
export const MISDEEDS = {
  "answers well": (socket: Socket) => void socket.write(OK),
  hangs: () => {},
  "is ten times slower": (socket: Socket) => void setTimeout(() => socket.write(OK), SLOW_MS),
  resets: (socket: Socket) => void socket.resetAndDestroy(),
  "sends 1 GB": (socket: Socket) => flood(socket),
  "sends rubbish": (socket: Socket) => void socket.end(`no HTTP${HEAD_END}`),
  "refuses connections": null,
} as const satisfies Readonly<Record<string, ((socket: Socket) => void) | null>>;

/** The name of one of them. */
export type Misdeed = keyof typeof MISDEEDS;

/** A shadow that listens, unless its misdeed is not to. */
export interface BadShadow extends AsyncDisposable {
  readonly url: string;
}

/** Starts one. It ends with this process at the latest. */
export async function startShadow(misdeed: Misdeed): Promise<BadShadow> {
  const child = fork(import.meta.filename, [misdeed]);
  const [url] = (await once(child, "message")) as [string];
  return {
    url,
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await once(child, "exit");
    },
  };
}

async function run(misdeed: Misdeed): Promise<void> {
  const act = MISDEEDS[misdeed];
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.setEncoding("latin1").on("data", (text: string) => {
      if (text.endsWith(HEAD_END)) act?.(socket);
    });
  });
  const url = await listening(server);
  if (act === null) await closed(server);
  process.on("disconnect", () => process.exit(0));
  process.send?.(url);
}

function flood(socket: Socket): void {
  socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${LONG_BYTES}${HEAD_END}`);
  const more = (): void => {
    while (socket.writable && socket.write(PIECE)) continue;
  };
  socket.on("drain", more);
  more();
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

if (import.meta.main) await run(process.argv[2] as Misdeed);
