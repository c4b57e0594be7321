/** Every vector of the corpus, whole and cut in every way: the verdict is the rule's, and the cut changes nothing. */
import { describe, expect, test } from "vitest";
import { FAULTS, type FaultCode } from "../../../src/base/fault.ts";
import { piecesOf, requestVectors, responseVectors, textOf } from "../../support/corpus.ts";
import type { RequestVector, ResponseVector } from "../../support/corpus.ts";
import { readRequests, readResponse, type RequestVerdict } from "../../support/message_reader.ts";
import { seededRandom } from "../../support/random.ts";

/** Up to this length every place to cut is tried; of longer texts a sample, with both ends of it. */
const EVERY_CUT_BYTES = 700;
const CUTS_SAMPLED = 60;
const SEED = 20_260_101;

/** The places at which a text is cut in two. */
function cutsOf(text: string): number[] {
  const all = text.length - 1;
  if (text.length <= EVERY_CUT_BYTES) return Array.from({ length: Math.max(0, all) }, (_, i) => i + 1);
  const random = seededRandom(SEED);
  const limits = [8192, 8193, 8194, 32_767, 32_768, 65_535, 65_536].filter((place) => place < text.length);
  return [1, all, ...limits, ...Array.from({ length: CUTS_SAMPLED }, () => 1 + random.draw(all))];
}

function expectedOf(vector: RequestVector): unknown[] {
  return vector.expect.map((one) => {
    if ("waits" in one) return one;
    if ("status" in one) return expect.objectContaining(one);
    return {
      method: one.method,
      target: textOf(one.target),
      framing: one.framing ?? "none",
      body: textOf(one.body ?? ""),
      keepAlive: one.keepAlive ?? true,
    };
  });
}

/** What the backend's bytes say, as far as the vector's verdict tells: framing towards the client may differ. */
function summaryOf(vector: ResponseVector): unknown {
  const { expect: wanted } = vector;
  if ("cut" in wanted) return { fault: wanted.fault };
  if ("fault" in wanted) return { fault: wanted.fault };
  return expect.objectContaining({
    status: wanted.status,
    body: textOf(wanted.body),
    reusable: wanted.reusable ?? true,
  });
}

const requests = requestVectors();
const responses = responseVectors();

describe("the corpus", () => {
  test("has at least 400 vectors, each with a name of its own and a section of an RFC", () => {
    expect(requests.length + responses.length).toBeGreaterThanOrEqual(400);
    for (const vectors of [requests, responses]) {
      expect(new Set(vectors.map(({ name }) => name)).size).toBe(vectors.length);
      for (const { rfc } of vectors) expect(rfc).toMatch(/^(?:9110|9112|3986|6265|6455|7239) [\d.]+$/);
    }
  });

  test("has a vector for every rule that one message can break", () => {
    const rules = new Set([...requests, ...responses].map(({ rule }) => rule));
    // Early answers (36) need two sides; 42 holds for every refusal.
    const missing = Array.from({ length: 41 }, (_, i) => i + 1).filter((rule) => !rules.has(rule));
    expect(missing).toEqual([36]);
  });

  test("names for every refusal a fault of that status", () => {
    const refusals = [...requests.flatMap((one) => one.expect), ...responses.map((one) => one.expect)];
    for (const one of refusals) {
      if (!("status" in one) || !("fault" in one) || one.fault === undefined) continue;
      expect(FAULTS[one.fault as FaultCode].status).toBe(one.status);
    }
  });
});

describe("a request", () => {
  test.each(requests.filter(({ pending }) => pending === undefined))("$file: $name", (vector) => {
    const text = textOf(vector.raw);
    const whole = readRequests([text]);
    expect(whole).toEqual(expectedOf(vector));
    const differing: [number | "bytes", RequestVerdict[]][] = [];
    for (const cut of ["bytes" as const, ...cutsOf(text)]) {
      const verdicts = readRequests(piecesOf(text, cut));
      if (JSON.stringify(verdicts) !== JSON.stringify(whole)) differing.push([cut, verdicts]);
    }
    expect(differing).toEqual([]);
  });
});

describe("a response", () => {
  test.each(responses.filter(({ pending }) => pending === undefined))("$file: $name", (vector) => {
    const text = textOf(vector.raw);
    const method = vector.request?.method ?? "GET";
    const read = (pieces: readonly string[]) => readResponse(pieces, method, vector.then === "end");
    const whole = read([text]);
    // What a reset means is the socket's to tell.
    if (vector.then === "reset") expect(whole).toEqual({ waits: true });
    else expect(whole).toEqual(summaryOf(vector));
    const differing = ["bytes" as const, ...cutsOf(text)].filter(
      (cut) => JSON.stringify(read(piecesOf(text, cut))) !== JSON.stringify(whole),
    );
    expect(differing).toEqual([]);
  });
});
