/** HAProxy as a contender: the side by a hash of the cookie, forwarding fields, a unique id, a log alike. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  CANDIDATE_PERCENT,
  routeNames,
  startProgram,
  versionOf,
  type Contender,
  type Ports,
  type Setup,
} from "../contender.ts";

const version = versionOf("haproxy");

const LOG_FORMAT =
  '{\\"time\\":\\"%t\\",\\"client\\":\\"%ci\\",\\"method\\":\\"%HM\\",\\"host\\":\\"%[var(txn.host)]\\",' +
  '\\"path\\":\\"%HPO\\",\\"status\\":%ST,\\"route\\":\\"r0\\",\\"backend\\":\\"%b\\",\\"endpoint\\":\\"%si:%sp\\",' +
  '\\"duration_ms\\":%Tr,\\"bytes\\":%B,\\"request_id\\":\\"%ID\\",\\"revision\\":1}';

function configurationOf(setup: Setup, ports: Ports, directory: string, port: number): string {
  const map = join(directory, "routes.map");
  writeFileSync(
    map,
    routeNames(setup.routes)
      .map((name) => `/${name}/ ${name}\n`)
      .join(""),
  );
  const findRoute =
    setup.routes === 1
      ? ""
      : `http-request set-var(txn.route) path,map_beg(${map})
  http-request deny deny_status 404 unless { var(txn.route) -m found }`;
  return `global
  nbthread ${setup.workers}
  maxconn 9000
  tune.http.maxhdr 256
  ${setup.hasLog ? "log stdout format raw local0" : ""}
defaults
  mode http
  timeout connect 3s
  timeout client 75s
  timeout server 60s
  http-reuse always
frontend front
  bind 127.0.0.1:${port} backlog 4096
  ${setup.hasLog ? `log global\n  log-format "${LOG_FORMAT}"` : ""}
  unique-id-format %[uuid()]
  unique-id-header X-Request-Id
  ${findRoute}
  http-request set-var(txn.host) req.hdr(host)
  http-request set-var(txn.bucket) req.cook(uid),xxh32,mod(100)
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request add-header Via "1.1 haproxy"
  http-response add-header Via "1.1 haproxy"
  use_backend new if { var(txn.bucket) -m int lt ${CANDIDATE_PERCENT} }
  default_backend legacy
backend legacy
  server one 127.0.0.1:${ports.legacy}
backend new
  server one 127.0.0.1:${ports.candidate}
`;
}

/** HAProxy in one process with as many threads as workers. It has no mirrors of its own. */
export const HAPROXY: Contender = {
  name: "HAProxy",
  version,
  takes: ({ shifts, mirrorPercent }) => !shifts && mirrorPercent === 0,
  start: (setup, ports) =>
    startProgram("haproxy", (directory, port) => {
      const path = join(directory, "haproxy.cfg");
      writeFileSync(path, configurationOf(setup, ports, directory, port));
      return ["haproxy", "-db", "-f", path];
    }),
};
