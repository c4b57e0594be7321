/** What this instance says of itself to the others, from its fleet, its publisher and its store. */
import type { Fleet } from "./fleet.ts";
import type { MemberStatus } from "./member_word.ts";
import type { OwnInstance } from "./members.ts";
import type { Publisher } from "./publisher.ts";

/** The pieces. `source`: where the served table is from, and what is wrong with the store, null when nothing is. */
export interface OwnInstanceParts {
  readonly fleet: Pick<Fleet, "status" | "watch">;
  readonly publisher: Pick<Publisher, "readiness" | "waitApplied"> & { appliedRevision(): number };
  readonly source: () => { readonly from: MemberStatus["servingFrom"]; readonly detail: string | null };
}

/** This instance, for Members. */
export function ownInstance({ fleet, publisher, source }: OwnInstanceParts): OwnInstance {
  return {
    appliedRevision: () => publisher.appliedRevision(),
    waitApplied: (revision, timeoutMs) => publisher.waitApplied(revision, timeoutMs),
    status() {
      const { ready, reason } = publisher.readiness();
      const { from, detail } = source();
      const state = ready ? "serving" : reason === "draining" ? "draining" : "not ready";
      return { state, servingFrom: from, store: detail, workers: fleet.status() };
    },
    warnings: () => publisher.readiness().warnings,
    watch: (listener) => fleet.watch(listener),
  };
}
