/** The program of the contender http-proxy-3: its `web` behind Node's server, with a keep-alive agent. */
import { Agent, createServer } from "node:http";
import { createProxyServer } from "http-proxy-3";
import { NodeWork } from "./node_work.ts";

const CONNECTIONS_MAX = 1024;

const work = new NodeWork();
const { ports, port } = work.order;
const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX, maxFreeSockets: 128 });
const proxy = createProxyServer({ agent });
const targets = {
  legacy: `http://127.0.0.1:${ports.legacy}`,
  candidate: `http://127.0.0.1:${ports.candidate}`,
  shadow: `http://127.0.0.1:${ports.shadow}`,
};

const server = createServer((request, response) => {
  const handled = work.take(request);
  response.setHeader("via", "1.1 node");
  response.on("finish", () => work.finish(request, response.statusCode, handled));
  const target = targets[handled.side];
  proxy.web(request, response, handled.isMirrored ? { target, forward: targets.shadow } : { target }, () =>
    response.destroy(),
  );
});
server.listen({ port, host: "127.0.0.1", backlog: 4096 });
