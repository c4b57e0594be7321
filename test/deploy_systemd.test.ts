/** The units of systemd, judged by systemd itself and by what they must say. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readSettings } from "../src/settings.ts";
import { readListenAddress } from "../src/settings_address.ts";
import { readUnit } from "./support/deploy_manifests.ts";
import { makeDirectory } from "./support/directory.ts";

const REPOSITORY = join(import.meta.dirname, "..");
const SYSTEMD = join(REPOSITORY, "config/deploy/systemd");
const UNIT = join(SYSTEMD, "crossfade.service");
const ANALYZE = "systemd-analyze";

/** After the last deadline of a drain, what is left is killed this much later. */
const DRAIN_SLACK_MS = 2_000;

describe("the systemd unit", () => {
  const text = readFileSync(UNIT, "utf8");
  const unit = readUnit(text);
  const value = (key: string): string => {
    const values = unit.get("Service")?.get(key) ?? [];
    if (values.length !== 1) throw new Error(`${key} is there ${values.length} times`);
    return values[0] ?? "";
  };

  test("has the three sections, and no key twice", () => {
    expect([...unit.keys()]).toEqual(["Unit", "Service", "Install"]);
    const keys = [...unit.values()].flatMap((section) => [...section.values()]);
    expect(keys.filter((values) => values.length > 1)).toEqual([]);
  });

  test("starts the program of this repository with its settings", () => {
    const [node = "", program = "", ...words] = value("ExecStart")
      .replaceAll("/opt/crossfade", REPOSITORY)
      .split(" ");
    expect(execFileSync(node, ["--version"], { encoding: "utf8" })).toMatch(/^v26\./);
    expect(existsSync(program)).toBe(true);
    expect(words).toEqual(["start", "--config", "/etc/crossfade/crossfade.yaml"]);
    expect(value("WorkingDirectory")).toBe(`/var/lib/${value("StateDirectory")}`);
  });

  test("leaves workers alone when their control process dies, and the time to drain when it is told to stop", () => {
    expect([value("KillMode"), value("Restart"), value("OOMPolicy")]).toEqual([
      "process",
      "on-failure",
      "continue",
    ]);
    expect(value("RuntimeDirectoryPreserve")).toBe("yes");
    const fileText = readFileSync(join(REPOSITORY, "config/crossfade.yaml"), "utf8");
    const read = readSettings({ fileName: "crossfade.yaml", fileText, env: {}, flags: {} });
    if (!read.ok) throw new Error(JSON.stringify(read.problems));
    const { deadlineMs, tunnelsMs } = read.settings.plane.drain;
    const needed = Math.max(deadlineMs, tunnelsMs) + DRAIN_SLACK_MS;
    expect(Number(value("TimeoutStopSec")) * 1000).toBeGreaterThan(needed);
  });

  test("is stopped when nothing of it is left, whoever started its main process", async () => {
    const [, quoted = ""] = /^\/bin\/sh -c '(.*)'$/.exec(value("ExecStop")) ?? [];
    // Whoever is in the control group: this test, then nobody.
    const group = join(makeDirectory(), "cgroup.procs");
    writeFileSync(group, `${process.pid}\n`);
    const script = quoted.replaceAll("$$", "$").replace(/group="[^"]*"/, `group="${group}"`);
    expect(script).toContain(group);
    const main = spawn("sleep", ["60"]);
    const mainEnded = once(main, "exit");
    const stop = spawn("/bin/sh", ["-c", script], { env: { ...process.env, MAINPID: String(main.pid) } });
    const stopped = once(stop, "exit");
    expect(await mainEnded).toEqual([null, "SIGTERM"]);
    expect(stop.exitCode).toBe(null);
    writeFileSync(group, `${stop.pid}\n`);
    expect(await stopped).toEqual([0, null]);
  });

  test("counts as started when Crossfade says so, through a program that systemd did not start", () => {
    expect([value("Type"), value("NotifyAccess")]).toEqual(["notify", "all"]);
  });

  test("and its socket are units to systemd itself", ({ skip }) => {
    if (spawnSync(ANALYZE, ["--version"]).error !== undefined) return skip(`there is no ${ANALYZE} here`);
    const directory = makeDirectory();
    const copies = ["crossfade.service", "crossfade.socket"].map((name) => {
      const copy = join(directory, name);
      const unitText = readFileSync(join(SYSTEMD, name), "utf8");
      writeFileSync(copy, unitText.replaceAll("/opt/crossfade", REPOSITORY));
      return copy;
    });
    const { status, stdout, stderr } = spawnSync(ANALYZE, ["verify", ...copies], { encoding: "utf8" });
    expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: "" });
  });

  test("has a socket with the name that the settings call it by", () => {
    const socket = readUnit(readFileSync(join(SYSTEMD, "crossfade.socket"), "utf8"));
    expect(socket.get("Socket")?.get("FileDescriptorName")).toEqual(["web"]);
    expect(readListenAddress("fd:web").ok).toBe(true);
  });
});
