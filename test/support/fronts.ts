/** Load balancers in front of Crossfade, which keep their connections to it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort } from "./fleet_stage.ts";
import { until } from "./wait.ts";

/** A load balancer that can be started. */
export interface FrontProgram {
  readonly name: string;
  /** Its program on the PATH. */
  readonly program: string;
  /** Puts its configuration into a directory, and gives the command that runs it in the foreground. */
  readonly configure: (directory: string, port: number, target: string) => readonly string[];
}

/** One that runs. */
export interface Front {
  readonly url: string;
  stop(): Promise<void>;
}

function configureNginx(directory: string, port: number, target: string): readonly string[] {
  const path = join(directory, "nginx.conf");
  const places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${directory}/${name};`,
  );
  writeFileSync(
    path,
    `daemon off; master_process off; pid ${directory}/pid; error_log ${directory}/error.log;
events { worker_connections 1024; }
http {
  access_log off; ${places.join(" ")}
  map $http_upgrade $next_connection { "" ""; default upgrade; }
  upstream crossfade { server ${target}; keepalive 32; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://crossfade;
      proxy_http_version 1.1;
      proxy_set_header Connection $next_connection;
      proxy_set_header Upgrade $http_upgrade;
      proxy_buffering off;
    }
  }
}
`,
  );
  return ["nginx", "-p", directory, "-e", join(directory, "error.log"), "-c", path];
}

function configureHaproxy(directory: string, port: number, target: string): readonly string[] {
  const path = join(directory, "haproxy.cfg");
  writeFileSync(
    path,
    `global
  maxconn 1000
defaults
  mode http
  option http-keep-alive
  http-reuse safe
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend front
  bind 127.0.0.1:${port}
  default_backend crossfade
backend crossfade
  server one ${target}
`,
  );
  return ["haproxy", "-db", "-q", "-f", path];
}

/** The load balancers that are tried. */
export const FRONTS: readonly FrontProgram[] = [
  { name: "HAProxy", program: "haproxy", configure: configureHaproxy },
  { name: "nginx", program: "nginx", configure: configureNginx },
];

/** Starts one whose only server is at `target`, as `host:port`. It keeps its files in the directory. */
export async function startFront(front: FrontProgram, directory: string, target: string): Promise<Front> {
  const port = await freePort();
  const [command = "", ...args] = front.configure(directory, port, target);
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"] });
  await until(`${front.name} listens`, () => isListening(port));
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "close");
      child.kill("SIGKILL");
      await ended;
    },
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
