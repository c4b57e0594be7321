/** Routes that this instance keeps on legacy whatever the table says, because it could not be changed in time. */
import type { Logger } from "../base/logger.ts";
import type { Document, TableSpec } from "../domain/route.ts";
import { readIfThere, replaceFile } from "../store/file.ts";

/** Why a route is braked, and how the audit log shall tell it. */
export interface Brake {
  readonly route: string;
  readonly reason: string;
  /** The table that was in force. */
  readonly revision: number;
  /** Unix time in milliseconds. */
  readonly atMs: number;
}

/** As many as a table has routes. */
const BRAKES_MAX = 1000;

/**
 * The brakes that are on, kept in a file so that a restart does not release them.
 *
 * A brake is put on when the judge wants a rollback that the store cannot take. It is released when the store's table
 * gives the route's candidate nothing. It can only ever take traffic to legacy.
 */
export class Brakes {
  readonly #path: string;
  readonly #log: Logger;
  readonly #brakes = new Map<string, Brake>();

  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
    this.reload();
  }

  /** Those that are on by the file: another control process may have changed it. */
  reload(): void {
    this.#brakes.clear();
    for (const brake of this.#read()) this.#brakes.set(brake.route, brake);
  }

  /** Those that are on, oldest first. */
  list(): Brake[] {
    return [...this.#brakes.values()];
  }

  has(route: string): boolean {
    return this.#brakes.has(route);
  }

  /** The brake of a route, if it is on. */
  of(route: string): Brake | undefined {
    return this.#brakes.get(route);
  }

  /** Puts one on; the first reason stays. False when it was on. */
  put(brake: Brake): boolean {
    if (this.#brakes.has(brake.route) || this.#brakes.size >= BRAKES_MAX) return false;
    this.#brakes.set(brake.route, brake);
    this.#write();
    return true;
  }

  /** Releases one, because the table has given its route to legacy since it was put on. */
  release(route: string): void {
    if (this.#brakes.delete(route)) this.#write();
  }

  /** Releases those of routes that the table itself keeps on legacy, or does not know any more. Gives them. */
  settle(document: Document): Brake[] {
    const shares = new Map<string, number>(document.routes.map((route) => [route.id, route.candidateShares]));
    const settled = this.list().filter(({ route }) => (shares.get(route) ?? 0) === 0);
    for (const { route } of settled) this.#brakes.delete(route);
    if (settled.length > 0) this.#write();
    return settled;
  }

  #write(): void {
    try {
      replaceFile(this.#path, JSON.stringify(this.list()));
    } catch (error) {
      // It holds as long as this process lives; only a restart would forget it.
      this.#log.error({ path: this.#path, detail: textOf(error) }, "the brakes cannot be written");
    }
  }

  #read(): Brake[] {
    try {
      const text = readIfThere(this.#path);
      if (text === null) return [];
      const list: unknown = JSON.parse(text);
      if (!Array.isArray(list)) throw new TypeError("it is no list");
      return list.filter(isBrake).slice(0, BRAKES_MAX);
    } catch (error) {
      this.#log.error({ path: this.#path, detail: textOf(error) }, "the brakes cannot be read");
      return [];
    }
  }
}

/** The table that workers get: plain weights, no plans, and no candidate where a brake is on. */
export function specOf(document: Document, revision: number, brakes: Pick<Brakes, "has">): TableSpec {
  const routes = document.routes.map((route) => {
    const candidateShares = brakes.has(route.id) ? 0 : route.candidateShares;
    return { ...route, candidateShares, rollout: null };
  });
  return { backends: document.backends, routes, revision };
}

function isBrake(value: unknown): value is Brake {
  if (typeof value !== "object" || value === null) return false;
  const { route, reason, revision, atMs } = value as Partial<Record<keyof Brake, unknown>>;
  const isText = typeof route === "string" && typeof reason === "string";
  return isText && Number.isSafeInteger(revision) && Number.isSafeInteger(atMs);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
