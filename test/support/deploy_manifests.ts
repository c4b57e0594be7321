/** The Kubernetes manifests and the systemd unit as data. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { assert } from "../../src/base/fault.ts";

/** Labels, as metadata and selectors write them. */
export type Labels = Readonly<Record<string, string>>;

/** A Service's or a container's port. */
interface Port {
  readonly name: string;
  readonly port: number;
  readonly targetPort: string;
  readonly containerPort: number;
}

/** A probe, by HTTP or TCP or a command. */
export interface Probe {
  readonly httpGet?: { readonly path: string; readonly port: string };
  readonly tcpSocket?: { readonly port: string };
}

/** One container of a pod. */
export interface PodContainer {
  readonly name: string;
  readonly image: string;
  readonly env: readonly {
    readonly name: string;
    readonly valueFrom: { readonly secretKeyRef: { readonly name: string; readonly key: string } };
  }[];
  readonly ports: readonly Port[];
  readonly startupProbe: Probe;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
  readonly lifecycle?: { readonly preStop: { readonly sleep: { readonly seconds: number } } };
  readonly securityContext: {
    readonly allowPrivilegeEscalation: boolean;
    readonly readOnlyRootFilesystem: boolean;
    readonly capabilities: { readonly drop: readonly string[] };
  };
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}

/** What a workload makes pods from. */
export interface PodTemplate {
  readonly metadata: { readonly labels: Labels };
  readonly spec: {
    readonly terminationGracePeriodSeconds: number;
    readonly securityContext: {
      readonly runAsNonRoot: boolean;
      readonly runAsUser: number;
      readonly runAsGroup: number;
      readonly fsGroup: number;
      readonly seccompProfile: { readonly type: string };
    };
    readonly topologySpreadConstraints?: readonly { readonly labelSelector: Selector }[];
    readonly containers: readonly PodContainer[];
    readonly volumes: readonly { readonly name: string; readonly configMap?: { readonly name: string } }[];
  };
}

/** The usual form of a selector. */
export interface Selector {
  readonly matchLabels: Labels;
}

/** A Deployment or StatefulSet. */
export interface Workload {
  readonly replicas: number;
  readonly selector: Selector;
  readonly serviceName?: string;
  readonly template: PodTemplate;
  readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[];
}

/** One document of a manifest. `Spec` is what its kind has. */
export interface Manifest<Spec> {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: Spec;
  readonly stringData?: Labels;
}

/** A Service. */
export interface ServiceSpec {
  readonly type?: string;
  readonly selector: Labels;
  readonly ports: readonly Port[];
}

/** A NetworkPolicy. */
export interface NetworkSpec {
  readonly podSelector: Selector;
  readonly ingress: readonly {
    readonly ports: readonly { readonly port: string }[];
    readonly from?: readonly { readonly podSelector?: Selector }[];
  }[];
}

/** The kustomization. */
export interface Kustomization {
  readonly resources: readonly string[];
  readonly configMapGenerator: readonly { readonly name: string; readonly files: readonly string[] }[];
  readonly images: readonly { readonly name: string; readonly newTag: string }[];
}

/** Every document of a YAML file. Throws with the file's name and the place of what is wrong. */
export function readYaml(path: string): unknown[] {
  return parseAllDocuments(readFileSync(path, "utf8")).map((document) => {
    const [problem] = "errors" in document ? [...document.errors, ...document.warnings] : [];
    if (problem !== undefined) throw new Error(`${path}: ${problem.message}`);
    return document.toJS() as unknown;
  });
}

/** The names of all ports of a workload's containers. */
export function portNames(workload: Workload): string[] {
  return workload.template.spec.containers.flatMap(({ ports }) => ports.map(({ name }) => name));
}

/** Every resource that a kustomization names, by kind and name. */
export class Manifests {
  readonly kustomization: Kustomization;
  readonly #all: readonly Manifest<unknown>[];

  constructor(folder: string) {
    this.kustomization = readYaml(join(folder, "kustomization.yaml"))[0] as Kustomization;
    this.#all = this.kustomization.resources.flatMap(
      (name) => readYaml(join(folder, name)) as Manifest<unknown>[],
    );
  }

  /** Every resource of a kind. */
  of<Spec>(kind: string): Manifest<Spec>[] {
    return this.#all.filter((manifest) => manifest.kind === kind) as Manifest<Spec>[];
  }

  /** The one resource of this kind and name. */
  one<Spec>(kind: string, name: string): Manifest<Spec> {
    const found = this.of<Spec>(kind).filter(({ metadata }) => metadata.name === name);
    assert(found.length === 1, `one ${kind} is called ${name}`);
    return found[0] as Manifest<Spec>;
  }

  kinds(): string[] {
    return this.#all.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
  }

  workloads(): Manifest<Workload>[] {
    return [...this.of<Workload>("Deployment"), ...this.of<Workload>("StatefulSet")];
  }

  /** The workload whose pods a selector finds. Throws unless it is exactly one. */
  selected(labels: Labels): Workload {
    const found = this.workloads().filter(({ spec }) =>
      Object.entries(labels).every(([key, value]) => spec.template.metadata.labels[key] === value),
    );
    assert(found.length === 1, `${JSON.stringify(labels)} selects the pods of one workload`);
    return (found[0] as Manifest<Workload>).spec;
  }
}

/** A unit file: section, key, every value of that key. Throws at a line that is none of these. */
export function readUnit(text: string): ReadonlyMap<string, ReadonlyMap<string, readonly string[]>> {
  const sections = new Map<string, Map<string, string[]>>();
  let keys: Map<string, string[]> | null = null;
  text.split("\n").forEach((line, place) => {
    if (line === "" || /^[#;]/.test(line)) return;
    const section = /^\[(\w+)\]$/.exec(line)?.[1];
    const [, key, value] = /^([A-Z]\w+)=(.*)$/.exec(line) ?? [];
    if (section !== undefined && !sections.has(section)) {
      keys = new Map();
      sections.set(section, keys);
    } else if (keys !== null && key !== undefined && value !== undefined) {
      keys.set(key, [...(keys.get(key) ?? []), value]);
    } else throw new Error(`line ${place + 1}: ${line}`);
  });
  return sections;
}
