/** The in-memory model keeps the contract of RouteStore, so what is compared with it is compared with the contract. */
import { ManualClock } from "../support/clock.ts";
import { MemoryData, MemoryStore } from "../support/memory_store.ts";
import { describeRouteStore } from "./route_store.ts";

const clock = new ManualClock();
let data = new MemoryData();

describeRouteStore(
  "the in-memory model",
  async () => {
    data = new MemoryData();
    return new MemoryStore(clock, data);
  },
  { clock, again: async () => new MemoryStore(clock, data) },
);
