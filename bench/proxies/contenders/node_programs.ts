/** Contenders that are Node programs of their own, and what is no contender: no proxy at all. */
import { readFileSync } from "node:fs";
import { startProgram, type Contender, type Ports, type Running, type Setup } from "../contender.ts";
import { NAMES } from "../results.ts";
import type { NodeOrder } from "./node_work.ts";

const HTTP_PROXY_3 = new URL("http_proxy_3.ts", import.meta.url).pathname;
const UNDICI = new URL("undici.ts", import.meta.url).pathname;
const RELAY = new URL("relay.ts", import.meta.url).pathname;
const READER = new URL("reader.ts", import.meta.url).pathname;

function start(name: string, program: string, setup: Setup, ports: Ports): Promise<Running> {
  const { mirrorPercent, hasLog } = setup;
  return startProgram(name, (directory, port) => {
    const order: NodeOrder = { port, ports, mirrorPercent, hasLog, directory };
    return [process.execPath, program, JSON.stringify(order)];
  });
}

function isPlain({ workers, routes, shifts }: Setup): boolean {
  return workers === 1 && routes === 1 && !shifts;
}

function versionOf(name: string): string {
  const path = new URL(`../../../node_modules/${name}/package.json`, import.meta.url);
  return (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;
}

/** The proxy library. */
export const HTTP_PROXY_3_CONTENDER: Contender = {
  name: "http-proxy-3",
  version: versionOf("http-proxy-3"),
  takes: isPlain,
  start: (setup, ports) => start("http-proxy-3", HTTP_PROXY_3, setup, ports),
};

/** What one would write oneself. */
export const UNDICI_CONTENDER: Contender = {
  name: "node:http + undici",
  version: versionOf("undici"),
  takes: isPlain,
  start: (setup, ports) => start("undici", UNDICI, setup, ports),
};

/** The least that passing bytes on costs in Node. It does none of the work. */
export const FLOOR: Contender = {
  name: "floor in Node",
  version: process.version,
  takes: (setup) => isPlain(setup) && setup.mirrorPercent === 0,
  start: (setup, ports) => start("floor", RELAY, setup, ports),
};

/** What it costs with heads that are read and written, a split and a log: Crossfade without what makes it one. */
export const FLOOR_WITH_HEADS: Contender = {
  name: "floor with heads",
  version: process.version,
  takes: (setup) => isPlain(setup) && setup.mirrorPercent === 0,
  // It takes no bodies.
  only: [NAMES.small, "100 headers", "2 KB of cookies", "1,000 connections", NAMES.halfLoad],
  start: (setup, ports) => start("heads", READER, setup, ports),
};

/** Nothing between client and backend. */
export const NO_PROXY: Contender = {
  name: "no proxy",
  version: "-",
  takes: (setup) => isPlain(setup) && setup.mirrorPercent === 0,
  start: async (_setup, ports) => ({
    port: ports.legacy,
    pids: () => [],
    servingPids: () => [],
    [Symbol.asyncDispose]: async () => {},
  }),
};
