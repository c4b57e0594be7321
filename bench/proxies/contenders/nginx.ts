/** nginx as a contender: split_clients by cookie, forwarding fields, a request id, a log with the same fields. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { getuid } from "node:process";
import {
  CANDIDATE_PERCENT,
  routeNames,
  startProgram,
  versionOf,
  type Contender,
  type Ports,
  type Setup,
} from "../contender.ts";

const version = versionOf("nginx");

const LOG_FIELDS = [
  '"time":"$time_iso8601"',
  '"client":"$remote_addr"',
  '"method":"$request_method"',
  '"host":"$host"',
  '"path":"$uri"',
  '"status":$status',
  '"route":"r0"',
  '"backend":"$side"',
  '"endpoint":"$upstream_addr"',
  '"duration_ms":$request_time',
  '"bytes":$body_bytes_sent',
  '"request_id":"$request_id"',
  '"revision":1',
];

/** Copies: all, or some that are drawn by request. What is not drawn still is a subrequest. */
function mirrorOf(percent: number): {
  readonly http: string;
  readonly location: string;
  readonly server: string;
} {
  if (percent === 0) return { http: "", location: "", server: "" };
  return {
    http: percent === 100 ? "" : `split_clients "$request_id" $mirrored { ${percent}% 1; * ""; }`,
    location: "mirror /mirror;",
    server: `location = /mirror {
      internal;
      ${percent === 100 ? "" : 'if ($mirrored = "") { return 200; }'}
      proxy_pass http://shadow$request_uri;
    }`,
  };
}

function configurationOf(setup: Setup, ports: Ports, directory: string, port: number): string {
  const mirror = mirrorOf(setup.mirrorPercent);
  const places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${directory}/${name};`,
  );
  const upstream = (name: string, to: number): string =>
    `upstream ${name} { server 127.0.0.1:${to}; keepalive 128; keepalive_requests 1000000; }`;
  const paths = setup.routes === 1 ? ["/"] : routeNames(setup.routes).map((name) => `/${name}/`);
  const log = setup.hasLog ? `${directory}/access.log fields buffer=128k flush=1s` : "off";
  return `daemon off; ${getuid?.() === 0 ? "user root;" : ""} worker_processes ${setup.workers};
pid ${directory}/pid; error_log ${directory}/error.log; worker_rlimit_nofile 20000;
events { worker_connections 16384; }
http {
  ${places.join(" ")}
  log_format fields escape=json '{${LOG_FIELDS.join(",")}}';
  access_log ${log};
  keepalive_requests 10000;
  client_body_buffer_size 64k;
  proxy_max_temp_file_size 0;
  split_clients "$cookie_uid" $side { ${CANDIDATE_PERCENT}% new; * legacy; }
  ${mirror.http}
  ${upstream("legacy", ports.legacy)}
  ${upstream("new", ports.candidate)}
  ${upstream("shadow", ports.shadow)}
  server {
    listen 127.0.0.1:${port} backlog=4096;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header Via "1.1 nginx";
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Request-Id $request_id;
    add_header Via "1.1 nginx";
    ${mirror.location}
    ${paths.map((path) => `location ${path} { proxy_pass http://$side; }`).join("\n    ")}
    location = /r137/stream { proxy_buffering off; proxy_pass http://$side; }
    ${mirror.server}
  }
}
`;
}

/** nginx, with its own defaults wherever the same work does not ask for more. */
export const NGINX: Contender = {
  name: "nginx",
  version,
  takes: ({ shifts }) => !shifts,
  start: (setup, ports) =>
    startProgram("nginx", (directory, port) => {
      mkdirSync(directory, { recursive: true });
      const path = join(directory, "nginx.conf");
      writeFileSync(path, configurationOf(setup, ports, directory, port));
      return ["nginx", "-p", directory, "-e", join(directory, "error.log"), "-c", path];
    }),
};
