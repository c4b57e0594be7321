/** The image and the manifests, each tried as far as it can be without Docker and without a cluster. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
  chmodSync,
  mkdirSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { killNow } from "../src/control/process.ts";
import { readSettings, type Settings } from "../src/settings.ts";
import { startBackend } from "./support/crossfade.ts";
import {
  checkHealth,
  childrenOf,
  freshVolume,
  startContainer,
  userOf,
  whyNoNamespace,
  type Container,
} from "./support/deploy_container.ts";
import { buildImage, type Image } from "./support/deploy_image.ts";
import {
  Manifests,
  portNames,
  readYaml,
  type NetworkSpec,
  type PodContainer,
  type Selector,
  type ServiceSpec,
  type Workload,
} from "./support/deploy_manifests.ts";
import { makeDirectory } from "./support/directory.ts";
import { freePort } from "./support/fleet_stage.ts";
import { until } from "./support/wait.ts";

const REPOSITORY = join(import.meta.dirname, "..");
const KUBERNETES = join(REPOSITORY, "config/deploy/kubernetes");

/** What the files may have without Node: they have 18 MB, of which 17 are packages. */
const IMAGE_BYTES_MAX = 30_000_000;
/** After the last deadline of a drain, what is left is killed this much later. */
const DRAIN_SLACK_MS = 2_000;

function settingsOf(path: string, env: Record<string, string> = {}): Settings {
  const read = readSettings({ fileName: path, fileText: readFileSync(path, "utf8"), env, flags: {} });
  if (!read.ok) throw new Error(read.problems.map((problem) => JSON.stringify(problem)).join("\n"));
  return read.settings;
}

/** How long a stop may take by the settings, in milliseconds. */
function stopMs({ plane: { drain } }: Settings): number {
  return Math.max(drain.deadlineMs, drain.tunnelsMs) + DRAIN_SLACK_MS;
}

/** Programs that are used where they are. */
const [KUBECTL, REDIS] = ["kubectl", "redis-server"] as const;

function hasProgram(name: string): boolean {
  return spawnSync(name, ["--version"]).error === undefined;
}

describe("the image of the Dockerfile", () => {
  let target: string;
  let image: Image;
  const running: Container[] = [];

  beforeAll(() => {
    target = mkdtempSync(join(tmpdir(), "crossfade-image-"));
    // Its own user comes in.
    chmodSync(target, 0o755);
    image = buildImage({ repository: REPOSITORY, target, isRoot: process.getuid?.() === 0 });
  });
  afterEach(async () => {
    for (const container of running.splice(0)) await container.stop();
  });
  afterAll(() => rmSync(target, { recursive: true, force: true }));

  /** Writes the file that is mounted, and starts the container. */
  async function start(options: { isFirst: boolean; backend: string }) {
    freshVolume(image);
    const [port, adminPort] = [await freePort(), await freePort()];
    const settings = {
      listen: [{ address: `127.0.0.1:${port}` }],
      admin: { address: `127.0.0.1:${adminPort}` },
      workers: 2,
      drain: { grace: "0s", idle: "200ms", deadline: "10s", tunnels: "10s" },
      table: {
        backends: { legacy: { endpoints: [options.backend] }, new: { endpoints: ["http://127.0.0.1:9"] } },
        routes: [{ id: "shop", cutover: { legacy: "legacy", candidate: "new" } }],
      },
    };
    const config = join(image.root, image.command.at(-1) ?? "");
    mkdirSync(join(config, ".."), { recursive: true });
    writeFileSync(config, JSON.stringify(settings));
    const env = { CROSSFADE_URL: `http://127.0.0.1:${adminPort}` };
    const healthBefore = await checkHealth(image, { env });
    const container = await startContainer(image, { env, isFirst: options.isFirst });
    running.push(container);
    const isReady = () => container.said().includes('"msg":"ready"');
    await until(() => `the container is ready; it said ${container.said()}`, isReady);
    return { container, env, healthBefore, url: `http://127.0.0.1:${port}/` };
  }

  test("is made from Node 26, for a user with a number, and gets its signals itself", () => {
    expect(image.base).toMatch(/^node:26(?:\.\d+)*-bookworm-slim$/);
    expect(image.user).toMatch(/^[1-9]\d{3,}:[1-9]\d{3,}$/);
    expect(image.stopSignal).toBe("SIGTERM");
    expect(image.entrypoint).toEqual(["node", "/opt/crossfade/bin/crossfade.mjs"]);
    expect(image.command.slice(0, 2)).toEqual(["start", "--config"]);
    expect(image.healthCheck[0]).toBe("node");
    expect(image.volumes.every((volume) => volume.startsWith(`${image.workdir}/`))).toBe(true);
  });

  test("holds what it needs to run and nothing else", () => {
    const app = join(image.root, "opt/crossfade");
    const manifest = JSON.parse(readFileSync(join(REPOSITORY, "package.json"), "utf8")) as Record<
      "dependencies" | "devDependencies" | "optionalDependencies",
      Record<string, string>
    >;
    const isThere = (name: string) => existsSync(join(app, "node_modules", name));
    expect(Object.keys(manifest.dependencies).filter((name) => !isThere(name))).toEqual([]);
    const unneeded = { ...manifest.devDependencies, ...manifest.optionalDependencies };
    expect(Object.keys(unneeded).filter(isThere)).toEqual([]);
    expect(readdirSync(app).toSorted()).toEqual(["bin", "config", "node_modules", "package.json", "src"]);
    expect(readdirSync(join(app, "config"))).toEqual(["crossfade.yaml"]);
    const files = readdirSync(image.root, { recursive: true, withFileTypes: true }).filter((file) =>
      file.isFile(),
    );
    const paths = files.map((file) => join(file.parentPath, file.name));
    const own = paths.filter((path) => !path.includes("/node_modules/"));
    expect(own.filter((path) => /\.test\.|\/tests?\//.test(path))).toEqual([]);
    const bytes = paths.reduce((sum, path) => sum + readFileSync(path).length, 0);
    expect(bytes).toBeLessThan(IMAGE_BYTES_MAX);
  });

  test("serves as its own user, says that it is healthy, and ends with 0 when it is told to stop", async () => {
    const backend = await startBackend("legacy");
    try {
      const { container, env, healthBefore, url } = await start({ isFirst: false, backend: backend.url });
      expect(healthBefore).toBe(1);
      expect(await checkHealth(image, { env })).toBe(0);
      const answer = await fetch(url);
      expect(answer.status).toBe(200);
      expect(await answer.json()).toMatchObject({ name: "legacy", headers: { via: "1.1 crossfade" } });
      const uid = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${container.pid}/status`, "utf8"))?.[1];
      expect(Number(uid)).toBe(userOf(image)?.uid ?? process.getuid?.());
      const program = join(image.root, "usr/local/bin/crossfade");
      const path = `${join(process.execPath, "..")}:/usr/bin:/bin`;
      const status = execFileSync(program, ["--json", "status"], {
        encoding: "utf8",
        env: { PATH: path, ...env },
      });
      expect(status).toContain('"shop"');
      process.kill(container.pid, image.stopSignal);
      expect(await container.ended).toBe(0);
    } finally {
      await backend.stop();
    }
  });

  test("as process 1 it collects a worker that dies, starts another, and ends with 0", async ({ skip }) => {
    const reason = whyNoNamespace();
    if (reason !== null) return skip(reason);
    const { container, env } = await start({ isFirst: true, backend: "http://127.0.0.1:9" });
    expect(readFileSync(`/proc/${container.pid}/status`, "utf8")).toMatch(/^NSpid:\s+\d+\s+1$/m);
    const before = childrenOf(container.pid);
    expect(before).toHaveLength(2);
    const [victim] = before;
    killNow(victim?.pid ?? 0);
    const after = await until("another worker runs and the dead one is gone", () => {
      const children = childrenOf(container.pid);
      const isGone = !children.some(({ pid }) => pid === victim?.pid);
      return isGone && children.length === 2 ? children : null;
    });
    expect(after.filter(({ state }) => state === "Z")).toEqual([]);
    await until("it is healthy again", async () => (await checkHealth(image, { env })) === 0);
    process.kill(container.pid, image.stopSignal);
    expect(await container.ended).toBe(0);
  });

  test("as process 1 it stays when it is upgraded, and ends as the one that took over", async ({ skip }) => {
    const reason = whyNoNamespace();
    if (reason !== null) return skip(reason);
    const { container, env, url } = await start({ isFirst: true, backend: "http://127.0.0.1:9" });
    const api = `${env.CROSSFADE_URL}/v1`;
    await until(
      "both workers serve",
      async () => (await (await fetch(`${api}/fleet`)).text()).split('"serving"').length > 2,
    );
    expect(await (await fetch(`${api}/upgrade`, { method: "POST" })).text()).toContain('"after_ms"');
    await until("another one serves", () => container.said().split('"msg":"ready"').length > 2);
    expect((await fetch(url)).status).toBe(502);
    process.kill(container.pid, image.stopSignal);
    expect(await container.ended).toBe(0);
  });
});

describe("the Kubernetes manifests", () => {
  const manifests = new Manifests(KUBERNETES);
  const crossfade = manifests.one<Workload>("Deployment", "crossfade").spec;
  const { spec: pod } = crossfade.template;
  const container = pod.containers[0] as PodContainer;
  const path = join(KUBERNETES, "settings.yaml");
  const file = readYaml(path)[0] as { store: { redis: { url: string } }; run_dir: string };
  const settings = () => settingsOf(path, { CROSSFADE_REDIS_PASSWORD: "secret" });

  test("are all named by the kustomization, and its files exist", () => {
    const { resources, configMapGenerator } = manifests.kustomization;
    const generated = configMapGenerator.flatMap(({ files }) =>
      files.map((text) => text.replace(/^.*=/, "")),
    );
    const named = [...resources, ...generated, "kustomization.yaml"];
    expect(readdirSync(KUBERNETES).toSorted()).toEqual(named.toSorted());
    expect(new Set(manifests.kinds()).size).toBe(manifests.kinds().length);
  });

  test("say the same when kustomize has built them", ({ skip }) => {
    if (!hasProgram(KUBECTL)) return skip("there is no kubectl here");
    const text = execFileSync(KUBECTL, ["kustomize", KUBERNETES], { encoding: "utf8" });
    const built = parseAllDocuments(text).map((document) => document.toJS() as { kind: string });
    const generated = manifests.kustomization.configMapGenerator.map(() => "ConfigMap");
    const kinds = manifests.kinds().map((name) => name.replace(/\/.*/, ""));
    expect(built.map(({ kind }) => kind).toSorted()).toEqual([...kinds, ...generated].toSorted());
    expect(text).not.toMatch(/name: (?:crossfade|redis)-settings$/m);
  });

  test("refer to labels, ports, volumes, settings and secrets that exist", () => {
    for (const { spec } of manifests.workloads()) {
      expect(manifests.selected(spec.selector.matchLabels)).toBe(spec);
      for (const { labelSelector } of spec.template.spec.topologySpreadConstraints ?? [])
        expect(manifests.selected(labelSelector.matchLabels)).toBe(spec);
      if (spec.serviceName !== undefined) manifests.one("Service", spec.serviceName);
      checkPod(spec);
    }
    for (const { spec } of manifests.of<ServiceSpec>("Service")) {
      const ports = portNames(manifests.selected(spec.selector));
      expect(ports).toEqual(expect.arrayContaining(spec.ports.map(({ targetPort }) => targetPort)));
    }
    for (const { spec } of manifests.of<NetworkSpec>("NetworkPolicy")) {
      const ports = portNames(manifests.selected(spec.podSelector.matchLabels));
      const named = spec.ingress.flatMap((rule) => rule.ports.map(({ port }) => port));
      expect(ports.toSorted()).toEqual(named.toSorted());
      for (const { podSelector } of spec.ingress.flatMap(({ from }) => from ?? []))
        if (podSelector !== undefined) manifests.selected(podSelector.matchLabels);
    }
  });

  function checkPod(workload: Workload): void {
    const { volumes, containers } = workload.template.spec;
    const claims = workload.volumeClaimTemplates ?? [];
    const volumeNames = [...volumes.map(({ name }) => name), ...claims.map(({ metadata }) => metadata.name)];
    const settingsNames = manifests.kustomization.configMapGenerator.map(({ name }) => name);
    const used = volumes.flatMap(({ configMap }) => (configMap === undefined ? [] : [configMap.name]));
    expect(settingsNames).toEqual(expect.arrayContaining(used));
    for (const { env, volumeMounts, startupProbe, livenessProbe, readinessProbe } of containers) {
      expect(volumeMounts.map(({ name }) => name).toSorted()).toEqual(volumeNames.toSorted());
      for (const { valueFrom } of env) {
        const { name, key } = valueFrom.secretKeyRef;
        expect(manifests.one("Secret", name).stringData).toHaveProperty(key);
      }
      const asked = [startupProbe, livenessProbe, readinessProbe].map(
        ({ httpGet, tcpSocket }) => (httpGet ?? tcpSocket)?.port,
      );
      const ports = portNames(workload);
      expect(asked.filter((port) => port !== undefined && !ports.includes(port))).toEqual([]);
    }
  }

  test("let nobody be root or write to the image", () => {
    for (const { spec } of manifests.workloads()) {
      const { securityContext, containers } = spec.template.spec;
      expect(securityContext).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: "RuntimeDefault" },
      });
      expect(securityContext.fsGroup).toBe(securityContext.runAsGroup);
      for (const { securityContext: own } of containers) {
        expect(own).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        });
      }
    }
  });

  test("fit the image: its user, its volume, its ports, its configuration file", () => {
    const text = readFileSync(join(REPOSITORY, "Dockerfile"), "utf8");
    const said = (word: string) => new RegExp(`^${word} (.*)$`, "m").exec(text)?.[1];
    expect(said("USER")).toBe(`${pod.securityContext.runAsUser}:${pod.securityContext.runAsGroup}`);
    const mounts = container.volumeMounts.map(({ mountPath }) => mountPath);
    expect(mounts).toContain(said("VOLUME"));
    expect(file.run_dir.startsWith(`${said("VOLUME")}/`)).toBe(true);
    expect(said("EXPOSE")).toBe(container.ports.map(({ containerPort }) => containerPort).join(" "));
    const config = (JSON.parse(said("CMD") ?? "[]") as string[]).at(-1);
    expect(mounts.map((mount) => `${mount}/crossfade.yaml`)).toContain(config);
    expect(manifests.kustomization.configMapGenerator[0]?.files).toEqual(["crossfade.yaml=settings.yaml"]);
  });

  test("have settings that are accepted, on the ports of the pod, with the Redis of the other file", () => {
    const { listen, admin } = settings();
    const ports = [...listen.map((address) => (address.kind === "tcp" ? address.port : 0)), admin.port];
    expect(ports).toEqual(container.ports.map(({ containerPort }) => containerPort));
    const { hostname, port } = new URL(file.store.redis.url);
    const redis = manifests.one<ServiceSpec>("Service", hostname).spec;
    expect(redis.ports.map((entry) => entry.port)).toEqual([Number(port)]);
    expect(container.env.map(({ name }) => name)).toContain("CROSSFADE_REDIS_PASSWORD");
  });

  test("leave a pod the time that its drain may take", () => {
    const pauseMs = (container.lifecycle?.preStop.sleep.seconds ?? 0) * 1000;
    expect(pauseMs).toBeGreaterThan(0);
    expect(pod.terminationGracePeriodSeconds * 1000).toBeGreaterThan(pauseMs + stopMs(settings()));
  });

  test("keep all pods but one, whatever nodes are emptied", () => {
    const budget = manifests.one<{ minAvailable: number; selector: Selector }>(
      "PodDisruptionBudget",
      "crossfade",
    );
    expect(manifests.selected(budget.spec.selector.matchLabels)).toBe(crossfade);
    expect(budget.spec.minAvailable).toBe(crossfade.replicas - 1);
  });

  test("configure a Redis that starts, syncs every write and drops nothing", async ({ skip }) => {
    if (!hasProgram(REDIS)) return skip("there is no redis-server here");
    const folder = makeDirectory();
    const socketPath = join(folder, "redis.sock");
    const overrides = ["--port", "0", "--unixsocket", socketPath, "--requirepass", "secret"];
    const redis = spawn(REDIS, [join(KUBERNETES, "redis.conf"), ...overrides], {
      cwd: folder,
      stdio: "ignore",
    });
    const exit = once(redis, "exit");
    try {
      await until("Redis listens", () => existsSync(socketPath));
      const socket = connect({ path: socketPath });
      let said = "";
      socket.setEncoding("utf8").on("data", (text: string) => (said += text));
      socket.write(
        "CONFIG GET dir\r\nAUTH secret\r\nCONFIG GET append*\r\nCONFIG GET maxmemory-policy\r\nSAVE\r\n",
      );
      await until("Redis has answered", () => said.endsWith("+OK\r\n") && said.split("+OK").length === 3);
      socket.destroy();
      expect(said).toMatch(/^-NOAUTH /);
      const values = said.split("\r\n").filter((line) => /^[a-z]/.test(line));
      const value = (name: string) => values[values.indexOf(name) + 1];
      expect(["appendonly", "appendfsync", "maxmemory-policy"].map(value)).toEqual([
        "yes",
        "always",
        "noeviction",
      ]);
    } finally {
      redis.kill("SIGKILL");
      await exit;
    }
  });
});
