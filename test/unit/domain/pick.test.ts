/** Who goes where: pins, identities in the route's order, issued ones, addresses and draws. */
import { describe, expect, test } from "vitest";
import { decodeDocument } from "../../../src/domain/document.ts";
import { ISSUED_COOKIE, pick, type Pick } from "../../../src/domain/pick.ts";
import { bucketOf } from "../../../src/domain/split.ts";
import { compileTable, cookieValue, findRoute, type RequestView } from "../../../src/domain/table.ts";
import { seededRandom } from "../../support/random.ts";
import { SHOP, tableWith, valueOf } from "../../support/table.ts";

const ADDRESS = "10.0.0.9";

function picked(
  keys: Readonly<Record<string, unknown>>,
  fields: Readonly<Record<string, string>> = {},
): Pick {
  const document = valueOf(decodeDocument(tableWith({ ...SHOP, split: { legacy: 50, new: 50 }, ...keys })));
  const table = compileTable({ ...document, revision: 1 });
  const view: RequestView = {
    method: "GET",
    host: "h",
    path: "/",
    query: "tester=yes&empty",
    field: (name) => fields[name],
  };
  const compiled = findRoute(table, view);
  if (compiled === null) throw new Error("the shop matches everything");
  return pick(table, compiled, view, { address: ADDRESS, random: seededRandom(7) });
}

function token(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `Bearer ${part({ alg: "none" })}.${part(claims)}.`;
}

describe("an identity", () => {
  const sticky = { keys: ["cookie:uid", "header:x-user", "claim:sub", "address"] };

  test.each([
    ["the first key that the client brings", { cookie: "a=b; uid=u1", "x-user": "u2" }, "cookie:uid", "u1"],
    ["the next one when that is missing", { cookie: "a=b", "x-user": "u2" }, "header:x-user", "u2"],
    ["the next one when that is empty", { cookie: "uid=", "x-user": "u2" }, "header:x-user", "u2"],
    ["a claim of a token", { authorization: token({ sub: "u3" }) }, "claim:sub", "u3"],
    ["a claim that is a number", { authorization: token({ sub: 42 }) }, "claim:sub", "42"],
    ["the address without any", { authorization: "Bearer not-a-token" }, "address", ADDRESS],
    ["the address when the token is broken", { authorization: "Bearer a.b.c" }, "address", ADDRESS],
  ])("is %s", (_, fields, keyFrom, key) => {
    const found = picked({ sticky }, fields);
    expect(found).toMatchObject({ why: "cohort", keyFrom, bucket: bucketOf("legacy/new", key), issued: "" });
  });

  test("is issued to a client that brings none, and is the one it is known by", () => {
    const found = picked({ sticky: { keys: ["cookie:uid", "issue"] } });
    expect(found.issued).not.toBe("");
    expect(found.bucket).toBe(bucketOf("legacy/new", found.issued));
    const back = picked({ sticky: { keys: ["issue"] } }, { cookie: `${ISSUED_COOKIE}=${found.issued}` });
    expect(back).toMatchObject({ bucket: found.bucket, issued: "" });
  });

  test("depends on the salt", () => {
    const [one, other] = ["s1", "s2"].map((salt) => picked({ sticky: { keys: ["address"], salt } }).bucket);
    expect(one).not.toBe(other);
  });

  test("of any length counts by its first 512 characters", () => {
    const found = picked({ sticky: { keys: ["header:x-user"] } }, { "x-user": "x".repeat(5000) });
    expect(found.bucket).toBe(bucketOf("legacy/new", "x".repeat(512)));
  });
});

describe("a route", () => {
  test("without keys draws for every request", () => {
    expect(picked({ sticky: { keys: [] } })).toMatchObject({ why: "draw", keyFrom: "" });
  });

  test("sends whoever meets a pin there, whatever the weights", () => {
    const pins = [
      { header: "x-pin", value: "a", to: "legacy" },
      { query: "tester", to: "new" },
    ];
    const all = { split: { legacy: 100, new: 0 }, pins };
    expect(picked(all)).toMatchObject({ why: "pin", backend: { id: "new" }, bucket: -1 });
    expect(picked(all, { "x-pin": "a" })).toMatchObject({ why: "pin", backend: { id: "legacy" } });
    expect(picked({ ...all, pins: [{ query: "nobody", to: "new" }] })).toMatchObject({ why: "cohort" });
  });

  test("sends everybody to the side that has all", () => {
    const sticky = { keys: ["header:x-user"] };
    for (let i = 0; i < 50; i++) {
      const fields = { "x-user": `u${i}` };
      expect(picked({ sticky, split: { legacy: 100, new: 0 } }, fields).backend.id).toBe("legacy");
      expect(picked({ sticky, split: { legacy: 0, new: 100 } }, fields).backend.id).toBe("new");
    }
  });
});

test.each([
  ["a=1; b=2", "b", "2"],
  ["a=1;b=2", "b", "2"],
  ["ab=1; b=2", "b", "2"],
  ["b=", "b", ""],
  ['b="q"', "b", "q"],
  ["b=x=y", "b", "x=y"],
  ["xb=1", "b", undefined],
  ["", "b", undefined],
])("the cookies %j say of %s: %j", (field, name, value) => {
  expect(cookieValue(field, name)).toBe(value);
});
