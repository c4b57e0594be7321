/** Crossfade under a service manager: sockets that it opened, and what it is told. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { BoundSocket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isRunning } from "../../src/control/process.ts";
import { startBackend, startCrossfade, type BackendProcess, type Crossfade } from "../support/crossfade.ts";
import type { CrossfadeOptions } from "../support/crossfade.ts";
import { makeDirectory } from "../support/directory.ts";
import { until } from "../support/wait.ts";

/** A manager's socket, in a language that has datagram sockets of the file system. Prints each message as a line. */
const MANAGER = `
import array, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("listening", flush=True)
while True:
    text, extra, _, _ = s.recvmsg(4096, 1024)
    for _, kind, data in extra:
        if kind == socket.SCM_RIGHTS:
            for fd in array.array("i", data[: len(data) - len(data) % 4]): os.close(fd)
    print(" ".join(text.decode().split("\\n")), flush=True)
`;

let backend: BackendProcess;
const running: Crossfade[] = [];
const children: ChildProcess[] = [];

beforeEach(async () => {
  backend = await startBackend("legacy");
});

afterEach(async () => {
  for (const crossfade of running.splice(0)) await crossfade.stop();
  for (const child of children.splice(0)) child.kill("SIGKILL");
  await backend.stop();
});

async function start(options: CrossfadeOptions): Promise<Crossfade> {
  const crossfade = await startCrossfade({ legacy: backend.url, new: backend.url }, options);
  running.push(crossfade);
  await crossfade.servingWorkers(2);
  return crossfade;
}

describe("sockets that a service manager opened", () => {
  test("are used instead of binding, by name and by address, also after an upgrade", async () => {
    const named = new BoundSocket({ host: "127.0.0.1", port: 0 });
    const addressed = new BoundSocket({ host: "127.0.0.1", port: 0 });
    const spare = new BoundSocket({ host: "127.0.0.1", port: 0 });
    const address = `127.0.0.1:${addressed.address().port}`;
    const sockets = [
      { name: "web", fd: named.fd() },
      { name: "other", fd: addressed.fd() },
      { name: "spare", fd: spare.fd() },
    ];
    const listen = [{ address: "fd:web" }, { address }];
    const crossfade = await start({ settings: { listen }, sockets });
    const urls = [named, addressed].map((socket) => `http://127.0.0.1:${socket.address().port}/`);
    const spareUrl = `http://127.0.0.1:${spare.address().port}/`;
    // Only Crossfade has them from here on.
    for (const socket of [named, addressed, spare]) socket.close();
    const statuses = () => Promise.all(urls.map(async (url) => (await fetch(url)).status));
    expect(await statuses()).toEqual([200, 200]);
    await expect(fetch(spareUrl)).rejects.toThrow("fetch failed");
    await crossfade.upgrade();
    expect(await statuses()).toEqual([200, 200]);
    crossfade.signal("SIGTERM");
    expect(await crossfade.exitCode()).toBe(0);
    await expect(fetch(urls[0] ?? "")).rejects.toThrow("fetch failed");
  });

  test("are missed with the name that was looked for", async () => {
    const socket = new BoundSocket({ host: "127.0.0.1", port: 0 });
    const sockets = [{ name: "web", fd: socket.fd() }];
    const starting = start({ settings: { listen: [{ address: "fd:wbe" }] }, sockets });
    await expect(starting).rejects.toThrow(/cannot listen on fd:wbe: .*exactly one socket of this name/);
    socket.close();
  });
});

describe("a service manager is told", () => {
  /** A directory with a program in the place of the manager's that only writes down what it is called with. */
  function standIn(): { readonly env: Record<string, string>; readonly said: () => string[] } {
    const directory = makeDirectory();
    const path = join(directory, "said");
    writeFileSync(join(directory, "systemd-notify"), `#!/bin/sh\necho "$*" >> ${path}\n`, { mode: 0o755 });
    const env = { NOTIFY_SOCKET: join(directory, "notify"), PATH: `${directory}:${process.env["PATH"]}` };
    return { env, said: () => (existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n") : []) };
  }

  test("when it serves, reloads and stops, and that an upgrade has another main process", async () => {
    const { env, said } = standIn();
    const crossfade = await start({ env });
    await until("it is ready", () => said().length === 1);
    crossfade.signal("SIGHUP");
    await until("it has reloaded", () => said().length === 3);
    const { pid } = await crossfade.upgrade();
    // Nobody has to be kept waiting: the manager follows the new one.
    expect(await crossfade.exitCode()).toBe(0);
    await until("the new one is told of twice", () => said().length === 5);
    process.kill(pid, "SIGTERM");
    await until("it has ended", () => !isRunning(pid));
    expect(said().slice(0, 3)).toEqual([
      "READY=1 STATUS=serving",
      "RELOADING=1",
      "READY=1 STATUS=settings reloaded",
    ]);
    expect(said().slice(3, 5).toSorted()).toEqual([`MAINPID=${pid} READY=1`, "READY=1 STATUS=serving"]);
    expect(said().slice(5)).toEqual(["STOPPING=1 STATUS=draining"]);
  });

  test("by its own program, over its socket", async ({ skip }) => {
    const tools = ["python3", "systemd-notify"].filter((name) => spawnSync(name, ["--version"]).error);
    if (tools.length > 0) return skip(`there is no ${tools.join(" and no ")} here`);
    const path = join(makeDirectory(), "notify");
    const manager = spawn("python3", ["-c", MANAGER, path], { stdio: ["ignore", "pipe", "inherit"] });
    children.push(manager);
    const lines: string[] = [];
    const reader = createInterface({ input: manager.stdout }).on("line", (line) => lines.push(line));
    await once(reader, "line");
    const crossfade = await start({ env: { NOTIFY_SOCKET: path } });
    await until("it is ready", () => lines.some((line) => line.includes("READY=1 STATUS=serving")));
    const { pid } = await crossfade.upgrade();
    await until("the main process is another one", () =>
      lines.some((line) => line.includes(`MAINPID=${pid}`)),
    );
    expect(await crossfade.exitCode()).toBe(0);
    expect(crossfade.lines.filter(({ msg }) => msg === "the service manager could not be told")).toEqual([]);
  });

  test("nothing where its program is missing, and the log says so", async () => {
    const crossfade = await start({ env: { NOTIFY_SOCKET: "/nowhere", PATH: makeDirectory() } });
    expect(crossfade.lines.some(({ msg }) => msg.includes("the service manager is told nothing"))).toBe(true);
  });
});
