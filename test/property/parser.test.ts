/** Node's own strict parser as a second opinion: a request that is understood here means the same to it. */
import { METHODS } from "node:http";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { requestVectors, textOf } from "../support/corpus.ts";
import { readRequests } from "../support/message_reader.ts";
import { mutated } from "../support/mutation.ts";
import { askNode, type NodeRequest } from "../support/node_parser.ts";
import { seededRandom } from "../support/random.ts";
import { RULES, WRITES_TABLES, readBlock, tableOf, writeBlock } from "../support/readme_table.ts";

const BLOCK = "stricter-than-node";
const NAMES_SHOWN = 3;
const vectors = requestVectors();

/**
 * Whether Node refuses, or does not read, what RFC 9112 and the rules allow. test/README.md lists these cases.
 *
 * `verdict`: what is understood here. `before`: the last request on the connection that Node understood.
 */
function isNodeStricter(text: string, method: string, before: NodeRequest | undefined): boolean {
  if (!METHODS.includes(method)) return true;
  // It takes what follows an upgrade for another protocol even if nobody upgrades.
  if (before?.isUpgrade === true) return true;
  // It wants no white space behind the word, where section 5.1 takes it away.
  if (/\ntransfer-encoding:[\t ]*chunked[\t ]+\r/i.test(text)) return true;
  // It wants none in chunk extensions either, where section 7.1.1 has a recipient accept it.
  if (/\n[0-9a-f]{1,13}(?:[\t ]+;|;[^\r]*[\t ])/i.test(text)) return true;
  // It counts an empty list of expectations as one.
  if (/\nexpect:[\t ]*\r/i.test(text)) return true;
  // It refuses these trailers, which rule 23 drops.
  return /\r\n0[^]*\n(?:content-length|transfer-encoding):/i.test(text);
}

/** The target as it is forwarded. Node passes the absolute form on as it is; here it becomes the origin form. */
function originOf({ url }: NodeRequest): string {
  const rest = url.replace(/^https?:\/\/[^/?]*/i, "");
  return rest === url || rest.startsWith("/") ? rest : `/${rest}`;
}

/** What Node makes of a text is what is made of it here, as far as it is understood here. */
async function compare(text: string): Promise<void> {
  const verdicts = readRequests([text]);
  const seen = await askNode(text);
  for (const [place, verdict] of verdicts.entries()) {
    if (!("method" in verdict)) return;
    const other = seen[place];
    if (isNodeStricter(text, verdict.method, seen[place - 1])) return;
    const { method, target, body } = verdict;
    const path = other === undefined ? "" : originOf(other);
    // Of OPTIONS for a whole server the vectors tell.
    if (method === "OPTIONS" && path === "/") return;
    expect({ method: other?.method, target: path, body: other?.body }).toEqual({ method, target, body });
  }
}

describe("a request that is understood means the same to Node's strict parser", () => {
  test.each(vectors.filter(({ pending }) => pending === undefined))(
    "$file: $name",
    async ({ raw, expect: due }) => {
      expect(due.length).toBeGreaterThan(0);
      await compare(textOf(raw));
    },
  );

  test("when it is put together from parts", async () => {
    const word = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/);
    const value = fc.stringMatching(/^[\x20-\x7e\x80-\xff]{0,30}$/);
    const path = fc.stringMatching(/^[A-Za-z0-9._~!$&'()*+,;=:@/-]{0,30}(?:\?[A-Za-z0-9/?=&-]{0,10})?$/);
    const chunk = fc.tuple(fc.stringMatching(/^[\x00-\xff]{1,20}$/), fc.constantFrom("", ";a", ';b="c d"'));
    const body = fc.oneof(
      fc.constant(""),
      fc.stringMatching(/^[\x00-\xff]{0,40}$/).map((text) => `Content-Length: ${text.length}\r\n\r\n${text}`),
      fc.array(chunk, { maxLength: 4 }).map((chunks) => {
        const lines = chunks.map(
          ([text, extension]) => `${text.length.toString(16)}${extension}\r\n${text}\r\n`,
        );
        return `Transfer-Encoding: chunked\r\n\r\n${lines.join("")}0\r\n\r\n`;
      }),
    );
    const request = fc
      .tuple(fc.constantFrom("GET", "POST", "PUT", "DELETE"), path, fc.array(fc.tuple(word, value)), body)
      .map(([method, target, fields, rest]) => {
        const lines = fields.map(([name, text]) => `X-${name}: ${text}\r\n`).join("");
        return `${method} /${target} HTTP/1.1\r\nHost: h\r\n${lines}${rest === "" ? "\r\n" : rest}`;
      });
    const several = fc.array(request, { minLength: 1, maxLength: 3 }).map((parts) => parts.join(""));
    await fc.assert(fc.asyncProperty(several, compare), { numRuns: 500 });
  });

  test("when it is a damaged vector", async () => {
    const texts = vectors.map(({ raw }) => textOf(raw)).filter((text) => text.length < 2000);
    const damaged = fc.tuple(fc.constantFrom(...texts), fc.nat()).map(([text, seed]) => {
      return mutated(text, texts, seededRandom(seed));
    });
    await fc.assert(fc.asyncProperty(damaged, compare), { numRuns: 5000 });
  });
});

describe("test/README.md", () => {
  test("lists by rule what Node understands and Crossfade refuses", async () => {
    const through = new Map<number, string[]>();
    for (const { name, rule = 0, raw, expect: due } of vectors) {
      const seen = await askNode(textOf(raw));
      const isThrough = due.some((one, place) => "status" in one && seen[place] !== undefined);
      if (isThrough) through.set(rule, [...(through.get(rule) ?? []), name]);
    }
    const rows = [...through]
      .toSorted(([one], [other]) => one - other)
      .map(([rule, names]) => {
        const shown = names.slice(0, NAMES_SHOWN).join("; ");
        return [`${rule}`, RULES[rule] ?? "", `${names.length}`, shown];
      });
    const table = tableOf([["rule", "what it is about", "vectors", "such as"], ...rows]);
    if (WRITES_TABLES) writeBlock(BLOCK, table);
    expect(readBlock(BLOCK)).toBe(table);
  });
});
