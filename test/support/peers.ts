/** The corpus through other proxies: nginx and HAProxy in front of a backend that says which requests reached it. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { readCanonicalRequests, valuesOf, type CanonicalMessage } from "./canonical.ts";
import { textOf, type RequestVector } from "./corpus.ts";
import { freePort } from "./fleet_stage.ts";
import { until } from "./wait.ts";
import { RawBackend, type RawExchange } from "./wire.ts";

/**
 * What became of a vector: all of it was forwarded as Crossfade would, forwarded otherwise, not or not wholly
 * forwarded, or, where Crossfade does not, forwarded all the same.
 */
export type Outcome = "forwards" | "changes" | "refuses";

/** Another proxy. */
export interface Peer {
  readonly name: "nginx" | "HAProxy";
  /** Empty when it is not installed. */
  readonly version: string;
  /** Puts its configuration into a directory, and gives the command that runs it in the foreground. */
  readonly configure: (directory: string, port: number, backendPort: number) => readonly string[];
}

/** Field by which the backend knows which client a request is of: both proxies add its address. */
const CLIENT = "x-client";
/** How long a proxy waits for a client that has said everything. The configurations name it too. */
const PATIENCE = "1s";
/** Vectors that are tried at the same time. */
const TOGETHER = 200;

function nginxConfiguration(directory: string, port: number, backendPort: number): readonly string[] {
  const path = join(directory, "nginx.conf");
  const places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${directory}/${name};`,
  );
  writeFileSync(
    path,
    `daemon off; master_process off; pid ${directory}/pid; error_log /dev/null;
events { worker_connections 1024; }
http {
  access_log off; ${places.join(" ")}
  client_header_timeout ${PATIENCE}; client_body_timeout ${PATIENCE}; keepalive_timeout ${PATIENCE}; lingering_time 1s;
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://127.0.0.1:${backendPort};
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_set_header Host $http_host;
      proxy_set_header X-Client $remote_addr;
    }
  }
}
`,
  );
  return ["nginx", "-p", directory, "-e", "/dev/null", "-c", path];
}

function haproxyConfiguration(directory: string, port: number, backendPort: number): readonly string[] {
  const path = join(directory, "haproxy.cfg");
  writeFileSync(
    path,
    `global
  maxconn 1000
defaults
  mode http
  http-reuse never
  timeout connect 5s
  timeout client ${PATIENCE}
  timeout server 5s
  timeout http-request ${PATIENCE}
  timeout http-keep-alive ${PATIENCE}
frontend front
  bind 127.0.0.1:${port}
  http-request set-header X-Client %[src]
  default_backend back
backend back
  server one 127.0.0.1:${backendPort}
`,
  );
  return ["haproxy", "-db", "-q", "-f", path];
}

/** The version that a program says it has, or nothing when there is no such program. */
function versionOf(program: string): string {
  const { stdout, stderr } = spawnSync(program, ["-v"], { encoding: "utf8" });
  return /\d+\.\d+\.\d+/.exec(`${stdout ?? ""}${stderr ?? ""}`)?.[0] ?? "";
}

/** The proxies that Crossfade is compared with. */
export function findPeers(): readonly Peer[] {
  return [
    { name: "nginx", version: versionOf("nginx"), configure: nginxConfiguration },
    { name: "HAProxy", version: versionOf("haproxy"), configure: haproxyConfiguration },
  ];
}

/** What Crossfade does with a vector, by its verdict. */
export function outcomeOf(vector: RequestVector): Outcome {
  return vector.expect.every((one) => "method" in one) ? "forwards" : "refuses";
}

/** Sends all vectors through a peer. Gives the outcome of each, by its name. Starts it and stops it. */
export async function runPeer(
  peer: Peer,
  vectors: readonly RequestVector[],
  directory: string,
): Promise<Map<string, Outcome>> {
  const arrived = new Map<string, CanonicalMessage[]>();
  const backend = new RawBackend();
  backend.script = recording(arrived);
  const backendPort = await backend.listen();
  const port = await freePort();
  const [program = "", ...args] = peer.configure(directory, port, backendPort);
  const child = spawn(program, args, { stdio: "ignore" });
  try {
    await until(`${peer.name} listens`, () => isListening(port));
    const outcomes = new Map<string, Outcome>();
    const waiting = [...vectors];
    const work = async (): Promise<void> => {
      for (let vector = waiting.shift(); vector !== undefined; vector = waiting.shift()) {
        // Ports are used again soon; of loopback addresses there are plenty.
        const address = `127.1.${waiting.length >> 8}.${waiting.length & 255}`;
        outcomes.set(vector.name, compare(vector, await sendTo(port, address, vector, arrived)));
      }
    };
    await Promise.all(Array.from({ length: TOGETHER }, work));
    return outcomes;
  } finally {
    await stop(child);
    await backend.close();
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "close");
  child.kill("SIGKILL");
  await ended;
}

/** Records complete requests by the address of their client, and answers them. Anything else is left without answer. */
function recording(arrived: Map<string, CanonicalMessage[]>): RawBackend["script"] {
  const counts = new Map<RawExchange, number>();
  return (exchange) => {
    const { received, socket } = exchange;
    if (/\r\nexpect: 100-continue\r\n[^]*\r\n\r\n$/i.test(received))
      socket.write("HTTP/1.1 100 Continue\r\n\r\n");
    try {
      const { messages } = readCanonicalRequests(received, false);
      for (const message of messages.slice(counts.get(exchange) ?? 0)) {
        const client = valuesOf(message.lines, CLIENT)[0] ?? "";
        arrived.set(client, [...(arrived.get(client) ?? []), message]);
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      }
      counts.set(exchange, messages.length);
    } catch (error) {
      const client = new RegExp(`\r\n${CLIENT}: *([\\d.]+)`, "i").exec(received)?.[1] ?? "";
      const message = { line: String(error), lines: [], framing: "none", body: "", trailers: "" } as const;
      arrived.set(client, [...(arrived.get(client) ?? []), message]);
      socket.destroy();
    }
  };
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  const isOpen = await once(socket, "connect").then(
    () => true,
    (error: unknown) => !(error instanceof Error),
  );
  socket.destroy();
  return isOpen;
}

/** Sends the bytes, waits until the proxy has enough of this client, and gives what reached the backend. */
async function sendTo(
  port: number,
  address: string,
  vector: RequestVector,
  arrived: Map<string, CanonicalMessage[]>,
): Promise<readonly CanonicalMessage[]> {
  const socket = connect({ port, host: "127.0.0.1", localAddress: address, allowHalfOpen: true });
  let isOver = false;
  for (const event of ["end", "error", "close"]) socket.on(event, () => (isOver = true));
  socket.resume();
  await once(socket, "connect");
  socket.write(textOf(vector.raw), "latin1");
  await until(
    () => `an end of ${vector.name}`,
    () => isOver,
  );
  socket.destroy();
  return arrived.get(address) ?? [];
}

function compare(vector: RequestVector, messages: readonly CanonicalMessage[]): Outcome {
  const accepted = vector.expect.filter((one) => "method" in one);
  const isAllAccepted = accepted.length === vector.expect.length;
  if (!isAllAccepted) return messages.length > accepted.length ? "forwards" : "refuses";
  if (messages.length < accepted.length) return "refuses";
  const isAlike = accepted.every(({ method, target, body }, place) => {
    const { line, body: seen } = messages[place] as CanonicalMessage;
    return line.startsWith(`${method} ${textOf(target)} HTTP/1.`) && seen === textOf(body ?? "");
  });
  return isAlike && messages.length === accepted.length ? "forwards" : "changes";
}
