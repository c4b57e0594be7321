/** Routing: a request to its route, a client to its side. */
import { test } from "vitest";
import { decodeDocument } from "../../src/domain/document.ts";
import { pick } from "../../src/domain/pick.ts";
import { bucketOf } from "../../src/domain/split.ts";
import { compileTable, findRoute, type RouteTable } from "../../src/domain/table.ts";
import { parseRequestHead } from "../../src/http/parse.ts";
import { viewOf } from "../../src/plane/view.ts";
import { seededRandom } from "../../test/support/random.ts";
import { SHOP, tableWith, valueOf } from "../../test/support/table.ts";
import { routeNames } from "../proxies/contender.ts";
import { SMALL } from "../proxies/workloads.ts";

function tableOf(count: number): RouteTable {
  const routes = routeNames(count).map((id) => ({
    ...SHOP,
    id,
    match: { path: count === 1 ? "/" : `/${id}/` },
    sticky: { keys: ["cookie:uid"] },
  }));
  return compileTable({ revision: 1, ...valueOf(decodeDocument(tableWith(...routes))) });
}

const head = parseRequestHead(SMALL.request(0).toString("latin1"));
if (typeof head === "string") throw new Error(`the request is refused: ${head}`);
const view = viewOf(head);

test("a route", async ({ bench }) => {
  for (const count of [1, 200]) {
    const table = tableOf(count);
    await bench(`findRoute among ${count}`, () => findRoute(table, view)).run();
  }
});

test("a side", async ({ bench }) => {
  const table = tableOf(1);
  const compiled = findRoute(table, view);
  if (compiled === null) throw new Error("one route takes everything");
  const client = { address: "192.0.2.7", random: seededRandom(1) };
  await bench("bucketOf", () => bucketOf("legacy/new", "client-4711")).run();
  await bench("pick", () => pick(table, compiled, view, client)).run();
});
