/** A rollout behind commands: a shop with a plan in a store, and short words for what moves it. */
import { assert } from "../../src/base/fault.ts";
import type { Commands, MoveOutcome } from "../../src/control/commands.ts";
import type { PersonEvent, Tick } from "../../src/domain/rollout_event.ts";
import type { RolloutState } from "../../src/domain/rollout_words.ts";
import { ALICE, shareOf, stageCommands, type CommandsStage } from "./commands_stage.ts";
import { CALM } from "./rollout_story.ts";

/** The author of what the machine does. */
export const MACHINE = { actor: "crossfade", reason: "" };
const PLAN = { steps: [5, 50, 100], min_requests: 1 };

/** A shop with a plan in the store, and the clock and words to move it by. */
export class Rollout {
  readonly stage: CommandsStage;

  constructor(stage: CommandsStage) {
    this.stage = stage;
  }

  static async planned(plan: object = PLAN): Promise<Rollout> {
    const stage = await stageCommands();
    await stage.commands.putRollout("shop", plan, ALICE);
    stage.store.commits = 0;
    return new Rollout(stage);
  }

  /** To the bake of the first step: 5 %. */
  static async started(plan: object = PLAN): Promise<Rollout> {
    const rollout = await Rollout.planned(plan);
    await rollout.person("start");
    await rollout.tick(1);
    assert((await rollout.share()) === 5_000, "the first step is set");
    return rollout;
  }

  person(type: PersonEvent["type"], commands: Commands = this.stage.commands): Promise<MoveOutcome> {
    const { actor, reason } = ALICE;
    return commands.moveRollout(
      "shop",
      { type, nowMs: this.stage.clock.wallMs(), reason },
      { actor, reason },
    );
  }

  async tick(afterMs: number, part: Partial<Tick> = {}): Promise<MoveOutcome> {
    this.stage.clock.advance(afterMs);
    return this.stage.commands.moveRollout("shop", (state) => this.tickFor(state, part), MACHINE);
  }

  tickFor({ stepSinceMs }: RolloutState, part: Partial<Tick> = {}): Tick {
    const nowMs = this.stage.clock.wallMs();
    const usual = {
      verdict: CALM,
      candidateRequests: 10,
      frozen: null,
      storeOk: true,
      differencesProven: true,
    };
    return { type: "tick", nowMs, stepSinceMs, ...usual, ...part };
  }

  async state(): Promise<RolloutState | undefined> {
    return (await this.stage.commands.current())?.document.rollouts[0]?.state;
  }

  share(): Promise<number | undefined> {
    return shareOf(this.stage.commands);
  }

  async audit(): Promise<{ action: string; actor: string; reason: string; difference: readonly string[] }> {
    const [entry] = await this.stage.store.history({ limit: 1 });
    if (entry === undefined) throw new Error("the store has a history");
    const { action, actor, reason, difference } = entry;
    return { action, actor, reason, difference };
  }
}
