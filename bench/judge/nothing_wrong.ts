/** Rows about days on which nothing is wrong: how often the judge acts all the same. */
import { Road, SECOND_MS, type Traffic } from "./road.ts";
import { bounded, type Row } from "./row.ts";

const DAY_SECONDS = 86_400;

/** Days of equal backends, each a stage with a fresh budget. After a rollback the next stage begins at once. */
const nothingWrong =
  (rps: number, weight: number): Row =>
  ({ nullDays }, chance) => {
    const traffic: Traffic = { rps, weight, legacyRate: 0.001, candidateRate: 0.001 };
    const road = new Road(chance);
    road.begin({ ...traffic, weight: Math.min(weight, 0.5) });
    if (weight === 1) road.run(3600, SECOND_MS, { ...traffic, weight: 0.5 }, () => {});
    let rollbacks = 0;
    let holds = 0;
    let before = "none";
    for (let day = 0; day < nullDays; day++) {
      road.beginStage();
      before = "none";
      road.run(Math.min(1, nullDays - day) * DAY_SECONDS, SECOND_MS, traffic, ({ action }) => {
        if (action === "hold" && before === "none") holds++;
        before = action;
        if (action !== "rollback") return;
        rollbacks++;
        road.beginStage();
        before = "none";
      });
    }
    return bounded(`nothing wrong, ${rps} rps, ${100 * weight} %: in ${nullDays} days`, [
      { name: "rollbacks", value: rollbacks, most: 1 },
      { name: "holds", value: holds, most: 15 },
    ]);
  };

/** The rows, in order. */
export const nullRows: readonly Row[] = [
  nothingWrong(5, 0.05),
  nothingWrong(50, 0.05),
  nothingWrong(50, 0.25),
  nothingWrong(50, 0.5),
  nothingWrong(5000, 0.05),
  nothingWrong(20_000, 0.05),
  nothingWrong(50, 1),
];
