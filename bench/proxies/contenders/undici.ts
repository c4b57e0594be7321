/** The program of the contender node:http + undici: Node's server in front, undici's pools behind. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Pool } from "undici";
import { NodeWork, type Handled } from "./node_work.ts";

const CONNECTIONS_MAX = 1024;

const work = new NodeWork();
const { ports, port } = work.order;
const pools = {
  legacy: new Pool(`http://127.0.0.1:${ports.legacy}`, { connections: CONNECTIONS_MAX, pipelining: 1 }),
  candidate: new Pool(`http://127.0.0.1:${ports.candidate}`, { connections: CONNECTIONS_MAX, pipelining: 1 }),
};
const shadow = new Pool(`http://127.0.0.1:${ports.shadow}`, { connections: CONNECTIONS_MAX, pipelining: 1 });

/** Fields of one connection, which undici refuses to be given. */
const OWN_FIELDS = ["connection", "keep-alive", "transfer-encoding", "expect", "upgrade", "te"];

function requestOf(request: IncomingMessage): {
  path: string;
  method: string;
  headers: IncomingMessage["headers"];
  body: IncomingMessage | null;
} {
  const headers = { ...request.headers };
  for (const name of OWN_FIELDS) delete headers[name];
  const hasBody = "content-length" in headers || "transfer-encoding" in request.headers;
  return {
    path: request.url ?? "/",
    method: request.method ?? "GET",
    headers,
    body: hasBody ? request : null,
  };
}

async function forward(request: IncomingMessage, response: ServerResponse, handled: Handled): Promise<void> {
  const options = requestOf(request);
  const answered = pools[handled.side].stream(options, ({ statusCode, headers }) => {
    for (const name of OWN_FIELDS) delete headers[name];
    response.writeHead(statusCode, { ...headers, via: "1.1 node" });
    return response;
  });
  if (handled.isMirrored && options.body === null) {
    const { body } = await shadow.request({ ...options, body: null });
    await body.dump();
  }
  await answered;
  work.finish(request, response.statusCode, handled);
}

const server = createServer((request, response) => {
  forward(request, response, work.take(request)).catch((error: unknown) => {
    process.stderr.write(`${String(error)}\n`);
    response.destroy();
  });
});
server.listen({ port, host: "127.0.0.1", backlog: 4096 });
