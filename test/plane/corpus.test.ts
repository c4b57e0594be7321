/** The corpus over real sockets, at once and byte by byte: what each rule lets through, and what it keeps out. */
import { describe, expect, test } from "vitest";
import { requestVectors, responseVectors } from "../support/corpus.ts";
import { tryAll, tryRequest, tryResponse } from "../support/corpus_stage.ts";

const requests = requestVectors();
const responses = responseVectors();
const filesOf = (vectors: readonly { readonly file: string }[]): string[] => [
  ...new Set(vectors.map(({ file }) => file)),
];

describe("requests reach the backend as the rules say, or not at all", () => {
  test.each(filesOf(requests))("%s", async (file) => {
    const vectors = requests.filter((vector) => vector.file === file);
    expect(await tryAll(vectors, tryRequest)).toEqual([]);
  });
});

describe("responses reach the client as the rules say, or as a fault", () => {
  test.each(filesOf(responses))("%s", async (file) => {
    const vectors = responses.filter((vector) => vector.file === file);
    expect(await tryAll(vectors, tryResponse)).toEqual([]);
  });
});
