/** What two control processes say to each other while the second takes over from the first. */
import type { Named } from "./fleet_news.ts";
import type { InheritedSocket } from "./sockets.ts";

/** Both sides must speak the same version; another one is refused, and the first goes on. */
export const HANDOVER_PROTOCOL = 1;

/** The name of the socket in the run directory on which the first waits for the second. */
export const HANDOVER_SOCKET = "upgrade.sock";

/** From the new control process to the one that serves. */
export type NewMessage =
  | { readonly type: "hello"; readonly protocol: number; readonly version: string; readonly pid: number }
  /** It needs a worker for this slot that shares sockets which only the other one's workers have. */
  | { readonly type: "spawn"; readonly worker: number; readonly file: string; readonly version: string }
  /** Its workers, which have to come to the other one should this one fail. */
  | { readonly type: "workers"; readonly workers: readonly Named[] }
  /** All its workers that serve have this revision. */
  | { readonly type: "applied"; readonly revision: number }
  /** It cannot take over; it ends now. */
  | { readonly type: "failed"; readonly reason: string }
  /** Its workers serve: it may take over. */
  | { readonly type: "ready" }
  /** It has the lock and the admin listener. */
  | { readonly type: "serving" };

/** From the control process that serves to the new one. */
export type FormerMessage =
  /**
   * The lock, the store and the admin listener are free. `workers`: who is about to come over; earlier versions do not
   * say.
   */
  { readonly type: "released"; readonly workers?: readonly Named[] };

/** What a new control process is started with, in one variable of its environment. Descriptors are its own. */
export interface Inheritance {
  /** Where the other one waits for it. */
  readonly socket: string;
  /** The directory that both must share. */
  readonly runDir: string;
  /** Its listening sockets; null when only its workers have them. */
  readonly sockets: readonly InheritedSocket[] | null;
  /** The addresses, as its workers were told them. */
  readonly listen: readonly string[];
  readonly admin: { readonly host: string; readonly port: number; readonly fd: number };
  /** Where a process listens that stays because somebody waits for its end; null without one. */
  readonly stay: string | null;
}

/** The name of that variable. */
export const INHERITANCE = "CROSSFADE_INHERITANCE";

/** The inheritance of this process, or null for an ordinary start. Only another Crossfade writes it. */
export function readInheritance(env: Readonly<Record<string, string | undefined>>): Inheritance | null {
  const written = env[INHERITANCE] ?? "";
  return written === "" ? null : (JSON.parse(written) as Inheritance);
}
