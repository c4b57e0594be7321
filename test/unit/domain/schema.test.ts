/** The page on configuration and the schemas: config/README.md names every key, with its default, and no other. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { tableSchema } from "../../../src/domain/schema.ts";
import { settingsSchema } from "../../../src/settings.ts";

/** The part of JSON Schema that the schemas use. */
interface Shape {
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Shape | boolean;
  readonly items?: Shape;
  readonly anyOf?: readonly Shape[];
  readonly default?: unknown;
}

/** Keys to defaults as the page writes them: `required`, or code; empty where the page says it in words. */
function leavesOf(shape: Shape, key = "", fallback = ""): [string, string][] {
  if (shape.properties !== undefined) {
    return Object.entries(shape.properties).flatMap(([name, inner]) => {
      const isRequired = shape.required?.includes(name) === true;
      return leavesOf(
        inner,
        key === "" ? name : `${key}.${name}`,
        isRequired ? "required" : defaultOf(inner),
      );
    });
  }
  if (typeof shape.additionalProperties === "object")
    return leavesOf(shape.additionalProperties, `${key}.NAME`);
  // What may be a map or a plain value has a row of its own, and one for each key of the map.
  const map = shape.anyOf?.find((branch) => branch.properties !== undefined);
  if (map !== undefined) return [[key, fallback], ...leavesOf(map, key)];
  if (shape.items !== undefined) return leavesOf(shape.items, `${key}[]`, fallback);
  return [[key, fallback]];
}

function defaultOf(shape: Shape): string {
  // A map that is left out gets the defaults of its keys, which have rows of their own.
  const values = [shape.default].flat().filter((value) => typeof value !== "object" && value !== undefined);
  return values.length === 0 ? "" : `\`${values.join(", ")}\``;
}

/** The rows of the page whose first cell is a key, by their section. */
function rowsOf(section: string): [string, string][] {
  const page = readFileSync(new URL("../../../config/README.md", import.meta.url), "utf8");
  const text = page.split("\n## ").find((part) => part.startsWith(`${section}\n`)) ?? "";
  const rows = text.split("\n").map((line) => line.split(" | "));
  return rows
    .filter((cells) => cells.length === 4 && cells[0]?.startsWith("| `"))
    .map(([key = "", , fallback = ""]) => [key.slice(3, -1), fallback]);
}

describe("config/README.md", () => {
  test.each([
    ["Settings", settingsSchema],
    ["Table", tableSchema],
  ])("says under %s what the schema says", (section, schema) => {
    const leaves = leavesOf(z.toJSONSchema(schema, { io: "input" }) as Shape);
    const rows = new Map(rowsOf(section));
    expect([...rows.keys()].toSorted()).toEqual(leaves.map(([key]) => key).toSorted());
    for (const [key, fallback] of leaves) {
      if (fallback !== "") expect(`${key}: ${rows.get(key)}`).toBe(`${key}: ${fallback}`);
      else
        expect(rows.get(key), `${key} has no default in the schema`).not.toMatch(/^(?:required|`[^A-Z]*`)$/);
    }
  });
});
