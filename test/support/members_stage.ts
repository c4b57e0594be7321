/** Instances side by side on one list in memory, each with workers that apply what a test lets them apply. */
import { Members, type OwnInstance } from "../../src/control/members.ts";
import type { AppliedOutcome } from "../../src/control/publisher.ts";
import { Sampler } from "../../src/control/sampler.ts";
import { decodeDocument } from "../../src/domain/document.ts";
import type { Route } from "../../src/domain/route.ts";
import { NO_SAMPLE } from "../../src/domain/window.ts";
import { ManualClock } from "./clock.ts";
import { keepLog, type Happening, type LogLine } from "./fleet_stage.ts";
import { MemoryCircle, MemoryInstances } from "./memory_instances.ts";
import { IDLE_WORKER } from "./snapshots.ts";

/** The own side of an instance, as a test wants it. */
export class FakeOwn implements OwnInstance {
  revision = 0;
  state: "serving" | "not ready" | "draining" = "serving";
  readonly problems: string[] = [];
  readonly #listeners = new Set<() => void>();

  apply(revision: number): void {
    this.revision = revision;
    for (const listener of this.#listeners) listener();
  }

  appliedRevision(): number {
    return this.revision;
  }

  async waitApplied(revision: number, timeoutMs: number): Promise<AppliedOutcome> {
    if (this.revision >= revision) return { applied: true, appliedMs: 0 };
    const { promise, resolve } = Promise.withResolvers<AppliedOutcome>();
    const missing = [`worker 0 has revision ${this.revision}`];
    const timer = setTimeout(() => resolve({ applied: false, missing }), timeoutMs);
    const unwatch = this.watch(() => {
      if (this.revision >= revision) resolve({ applied: true, appliedMs: 0 });
    });
    const outcome = await promise;
    clearTimeout(timer);
    unwatch();
    return outcome;
  }

  status(): ReturnType<OwnInstance["status"]> {
    return { state: this.state, servingFrom: "store", store: null, workers: [] };
  }

  warnings(): string[] {
    return this.problems;
  }

  watch(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** One instance. */
export interface StagedInstance {
  readonly members: Members;
  readonly registry: MemoryInstances;
  readonly own: FakeOwn;
  readonly sampler: Sampler;
  readonly lines: readonly LogLine[];
  /** The data of its journal's events of a type. */
  readonly events: (type: string) => Happening["data"][];
  /** Its worker answers so many more requests of the route `shop` by the backend `old`. */
  readonly serve: (requests: number) => void;
  /** The requests that its window of the last minute shows. */
  readonly shown: () => number | undefined;
}

/** A list and the instances on it. */
export class MembersStage {
  readonly clock = new ManualClock();
  readonly circle = new MemoryCircle(this.clock);
  readonly #all: Members[] = [];
  #runs = 0;

  /** An instance that is not started yet; `alone`: on a store of its own. */
  instance(id: string, registry = new MemoryInstances(this.circle), isAlone = false): StagedInstance {
    const sampler = new Sampler(this.clock);
    const own = new FakeOwn();
    const kept = keepLog();
    const happenings: Happening[] = [];
    const members = new Members({
      registry: isAlone ? null : registry,
      id,
      run: `run-${++this.#runs}`,
      pid: 7,
      version: "1.2.3",
      own,
      sampler,
      clock: this.clock,
      log: kept.log,
      journal: { append: (type, data) => void happenings.push({ type, data }) },
    });
    this.#all.push(members);
    let served = 0;
    const serve = (requests: number): void => {
      served += requests;
      const counts = { ...NO_SAMPLE, started: served, finished: served };
      sampler.report("0.1", IDLE_WORKER, [{ ...counts, route: "shop", backend: "old" }]);
    };
    sampler.report("0.1", IDLE_WORKER, []);
    return {
      members,
      registry,
      own,
      sampler,
      lines: kept.lines,
      serve,
      events: (type) => happenings.filter((event) => event.type === type).map(({ data }) => data),
      shown: () => sampler.health(shop()).backends[0]?.windows["60s"].requests,
    };
  }

  /** Instances that have heard of each other. */
  async together(...ids: string[]): Promise<StagedInstance[]> {
    const instances = ids.map((id) => this.instance(id));
    for (const { members } of instances) await members.start();
    for (const { members } of instances) await members.beat();
    return instances;
  }

  /** Two of them, a and b. */
  async pair(): Promise<[StagedInstance, StagedInstance]> {
    return (await this.together("a", "b")) as [StagedInstance, StagedInstance];
  }

  /** So much time passes, and then every one of these beats once. */
  async pass(ms: number, ...instances: StagedInstance[]): Promise<void> {
    this.clock.advance(ms);
    for (const { members } of instances) await members.beat();
  }

  async close(): Promise<void> {
    for (const members of this.#all) await members.stop();
  }
}

/** What an instance knows: ids with revisions, those whose state is unknown in brackets. */
export function known({ members }: StagedInstance): string {
  return members
    .instances()
    .map(({ id, appliedRevision, isUnknown }) => {
      const text = `${id} ${appliedRevision}`;
      return isUnknown ? `(${text})` : text;
    })
    .join(", ");
}

function shop(): Route {
  const decoded = decodeDocument({
    backends: { old: { endpoints: ["http://127.0.0.1:1"] }, fresh: { endpoints: ["http://127.0.0.1:2"] } },
    routes: [{ id: "shop", cutover: { legacy: "old", candidate: "fresh" }, split: { old: 100, fresh: 0 } }],
  });
  const route = decoded.ok ? decoded.value.routes[0] : undefined;
  if (route === undefined) throw new Error("the table of this stage is wrong");
  return route;
}
