/** Explanations: the router's own decision, with the reason a person needs. */
import { expect, test } from "vitest";
import { decodeDocument } from "../../../src/domain/document.ts";
import { explain, type Explanation } from "../../../src/domain/explain.ts";
import { bucketOf } from "../../../src/domain/split.ts";
import { compileTable } from "../../../src/domain/table.ts";
import { SHOP, tableWith, valueOf } from "../../support/table.ts";

function explained(
  keys: Readonly<Record<string, unknown>>,
  url: string,
  headers: readonly (readonly [string, string])[] = [],
): Explanation {
  const document = valueOf(decodeDocument(tableWith({ ...SHOP, ...keys })));
  return explain(compileTable({ ...document, revision: 3 }), { method: "get", url, headers }, "10.0.0.9");
}

test("a known client is explained by its bucket", () => {
  const keys = { split: { legacy: 75, new: 25 }, sticky: { keys: ["cookie:uid"] } };
  const found = explained(keys, "http://shop.org/a?b", [["Cookie", "uid=u1"]]);
  const bucket = bucketOf("legacy/new", "u1");
  const backend = bucket < 25_000 ? "new" : "legacy";
  expect(found).toMatchObject({ revision: 3, route: "shop", backend, bucket, key: "cookie:uid" });
  expect(found.reason).toContain(`bucket of cookie:uid is ${bucket}`);
});

test("a client that has no identity yet has no backend yet, unless one has everything", () => {
  expect(explained({ split: { legacy: 75, new: 25 } }, "http://shop.org/")).toMatchObject({
    backend: null,
    bucket: null,
    reason: "a new client gets a new identity: new in 25 % of the cases, else legacy",
  });
  expect(explained({}, "http://shop.org/")).toMatchObject({ backend: "legacy" });
});

test("a draw is explained as one", () => {
  const keys = { split: { legacy: 75, new: 25 }, sticky: { keys: [] } };
  expect(explained(keys, "/").reason).toBe(
    "every request is drawn anew: new in 25 % of the cases, else legacy",
  );
});

test("a copy is explained by the client that it depends on, or as a matter of chance", () => {
  const last = (keys: object, fields: [string, string][]): string | undefined =>
    explained({ sticky: { keys: ["cookie:uid"] }, ...keys }, "http://shop.org/", fields).steps.at(-1);
  const mirror = { to: "new", percent: 40 };
  const told = ["u1", "u2", "u3", "u4", "u5", "u6"].map((user) => {
    const isCopied = bucketOf("legacy/new", user) >= 60_000;
    const step = isCopied ? "a copy goes to new, whose answer is thrown away" : "no copy goes to new";
    expect(last({ mirror }, [["Cookie", `uid=${user}`]])).toBe(step);
    return step;
  });
  expect(new Set(told).size).toBe(2);
  expect(last({ mirror: { ...mirror, by: "random" } }, [["Cookie", "uid=u1"]])).toBe(
    "of such requests up to 40 % have a copy at new",
  );
});

test("a pin is explained as one", () => {
  const found = explained({ pins: [{ header: "x-pin", to: "new" }] }, "/", [["X-Pin", "1"]]);
  expect(found).toMatchObject({ backend: "new", bucket: null });
  expect(found.reason).toContain("pin");
});

test.each([
  ["no route matches", "http://other.org/", "404"],
  ["the path is ambiguous", "http://shop.org/a/%2e%2e/b", "400"],
  ["the URL is malformed", "http://[/", "malformed"],
])("a request that gets nowhere is told so: %s", (_, url, words) => {
  const found = explained({ match: { hosts: ["shop.org"] } }, url);
  expect(found).toMatchObject({ route: null, backend: null });
  expect(found.reason).toContain(words);
});
