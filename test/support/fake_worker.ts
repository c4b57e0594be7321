/**
 * A worker process that speaks the fleet's protocol and does what its script says; it proxies nothing.
 *
 * It answers every request with `{worker, pid, revision}` and closes. The script is `<control socket>.script.json`,
 * read again at every step, so that a test can change it while workers run.
 */
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { openChannel, type WorkerChannel } from "../../src/shared/channel.ts";
import { PROTOCOL, type ControlMessage } from "../../src/shared/messages.ts";

/** What a fake worker does differently from a good one. */
export interface FakeScript {
  /** The protocol it claims to speak. */
  readonly protocol?: number;
  /** The slot whose worker exits as soon as it has a table. */
  readonly crashing?: number;
  /** The revision it refuses. */
  readonly refused?: number;
  /** Sends no counters. */
  readonly isMute?: boolean;
  /** Answers no tables. */
  readonly isDeaf?: boolean;
  /** Says that it drains, but does not end. */
  readonly isStubborn?: boolean;
  /** Leaves its channel and does not come back. */
  readonly isLost?: boolean;
}

const RETRY_MS = 50;
const REPORT_MS = 50;
const FIRST_FD = 3;

const { values } = parseArgs({
  options: {
    socket: { type: "string", default: "" },
    worker: { type: "string", default: "" },
    version: { type: "string", default: "" },
    listen: { type: "string", multiple: true, default: [] },
  },
});

const state = { revision: 0, isListening: false, isDraining: false };
const link: { channel: WorkerChannel | null } = { channel: null };
const servers = values.listen.map(() =>
  createServer((socket) => {
    socket.on("error", () => socket.destroy());
    const body = JSON.stringify({
      worker: Number(values.worker),
      pid: process.pid,
      revision: state.revision,
    });
    socket.once("data", () => {
      socket.end(`HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    });
  }),
);

function script(): FakeScript {
  try {
    return JSON.parse(readFileSync(`${values.socket}.script.json`, "utf8")) as FakeScript;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return {};
    throw error;
  }
}

function listen(): void {
  if (state.isListening || state.isDraining) return;
  state.isListening = true;
  const waiting = servers.map((server, at) => {
    return new Promise<void>((resolve) => server.listen({ fd: FIRST_FD + at }, resolve));
  });
  void Promise.all(waiting).then(() => link.channel?.send({ type: "ready" }));
}

function drain(): void {
  state.isDraining = true;
  link.channel?.send({ type: "draining", open: 0 });
  if (script().isStubborn === true) return;
  for (const server of servers) server.close();
  link.channel?.end();
  setTimeout(() => process.exit(0), RETRY_MS);
}

function hear(message: ControlMessage): void {
  if (message.type === "drain") return drain();
  if (message.type === "spawn") {
    const argv = process.argv
      .slice(1)
      .map((word, at, words) => (words[at - 1] === "--worker" ? `${message.worker}` : word));
    const fds = values.listen.map((_, at) => FIRST_FD + at);
    spawn(process.execPath, argv, {
      detached: true,
      stdio: ["ignore", "inherit", "inherit", ...fds],
    }).unref();
  }
  if (message.type !== "table" || script().isDeaf === true) return;
  const { revision } = message.spec;
  if (script().crashing === Number(values.worker)) process.exit(1);
  if (script().refused === revision) {
    link.channel?.send({ type: "refused", revision, reason: "it is scripted" });
    return;
  }
  state.revision = revision;
  link.channel?.send({ type: "applied", revision });
  listen();
}

function report(): void {
  if (script().isLost === true) link.channel?.close("scripted");
  if (script().isMute === true) return;
  const zero = {
    connectionsAccepted: 0,
    connectionsRefused: 0,
    upstreamNow: [],
    upstreamExcess: 0,
    logLinesDropped: 0,
    fieldsDropped: 0,
    lookupsFailed: 0,
  };
  const worker = { ...zero, connectionsOpenNow: 7, loopUtilization: 0.5, rssBytes: 1 };
  link.channel?.send({ type: "counters", worker, cells: [] });
}

function open(): void {
  const socket = connect({ path: values.socket });
  socket.once("error", () => {
    // The test that this worker belongs to is over.
    if (!existsSync(dirname(values.socket))) process.exit(0);
    setTimeout(open, RETRY_MS);
  });
  socket.once("connect", () => {
    socket.removeAllListeners("error");
    const channel: WorkerChannel = openChannel(socket, {
      onMessage: hear,
      onClose() {
        link.channel = null;
        if (script().isLost !== true) setTimeout(open, RETRY_MS);
      },
    });
    link.channel = channel;
    channel.send({
      type: "hello",
      protocol: script().protocol ?? PROTOCOL,
      version: values.version,
      pid: process.pid,
      worker: Number(values.worker),
      listen: values.listen,
      revision: state.revision,
      draining: state.isDraining,
    });
    if (state.isListening) channel.send({ type: "ready" });
  });
}

process.on("SIGTERM", drain);
open();
setInterval(report, REPORT_MS);
