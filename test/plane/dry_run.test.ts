/** Copies of requests that may write: sent only where a backend has proved, on that connection, that it pretends. */
import { createHmac } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { DEFAULT_COMPARE } from "../../src/domain/compare_policy.ts";
import type { MirrorPolicy } from "../../src/domain/route.ts";
import { OK, type TestPlane } from "../support/plane.ts";
import { ShadowStage, allOf, compared, settled, type Mirrored } from "../support/shadow_stage.ts";
import { until } from "../support/wait.ts";
import type { RawBackend } from "../support/wire.ts";

let stage = new ShadowStage();
afterEach(async () => {
  await stage.close();
  stage = new ShadowStage();
});

const SECRET = "a secret of two";
const POST = "POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody";
const QUESTION = /^OPTIONS \/\.well-known\/crossfade\/dry-run HTTP\/1\.1\r\n/;
const LINE = /Crossfade-Dry-Run: v1 ([\w-]+) ([0-9]+) ([0-9a-f]{64})\r\n/;

function hash(word: string, nonce = "", expires = "", secret = SECRET): string {
  return createHmac("sha256", secret).update(`${word}\n${nonce}\n${expires}`).digest("hex");
}

/** A backend in dry-run mode, as anybody would write one; `proof` may spoil what it says. */
function pretending(proof: (nonce: string, expires: string) => string = proofOf): RawBackend["script"] {
  return ({ socket }, piece) => {
    if (!QUESTION.test(piece)) {
      if (piece.endsWith("body")) socket.write(OK);
      return;
    }
    const [, nonce = "", expires = "", signature] = LINE.exec(piece) ?? [];
    expect(signature).toBe(hash("crossfade dry-run ask v1", nonce, expires));
    socket.write(`HTTP/1.1 204 No Content\r\n${proof(nonce, expires)}\r\n`);
  };
}

function proofOf(nonce: string, expires: string): string {
  return `Crossfade-Dry-Run: v1 ${hash("crossfade dry-run proof v1", nonce, expires)}\r\n`;
}

async function writing(
  script: RawBackend["script"],
  mirror: Partial<MirrorPolicy> = {},
  dryRunSecret: string | null = SECRET,
): Promise<Mirrored> {
  const mirrored = await stage.mirrored(script, { writes: ["POST"], ...mirror });
  mirrored.legacy.script = ({ socket }, piece) => void (piece.endsWith("body") && socket.write(OK));
  mirrored.started.plane.dryRun.configure(dryRunSecret);
  return mirrored;
}

async function post({ port }: TestPlane): Promise<void> {
  const one = stage.client(port);
  one.send(POST);
  await one.seesEnd();
}

describe("a request that may write", () => {
  test("has no copy unless its route says so", async () => {
    const { started, shadow } = await writing(pretending(), { writes: ["PUT"] });
    await post(started);
    expect(await settled(started)).toEqual({});
    expect(shadow.connections).toHaveLength(0);
  });

  test("has a copy, marked and signed, on a connection whose backend has proved that it pretends", async () => {
    const { started, shadow, legacy } = await writing(pretending());
    for (let i = 1; i <= 3; i++) {
      await post(started);
      expect(await settled(started)).toEqual({ sampled: i, answered: i });
    }
    expect(shadow.connections).toHaveLength(1);
    const [question = "", ...copies] = shadow.received.split(/(?=POST )/);
    expect(question).toMatch(QUESTION);
    expect(copies).toHaveLength(3);
    for (const copy of copies) {
      const [, nonce, expires, signature] = LINE.exec(copy) ?? [];
      expect(signature).toBe(hash("crossfade dry-run ask v1", nonce, expires));
      expect(copy).toMatch(/Crossfade-Shadow: 1\r\n[^]*body$/);
    }
    expect(new Set([question, ...copies].map((text) => LINE.exec(text)?.[1])).size).toBe(4);
    expect(legacy.received).not.toContain("Dry-Run");
  });

  test("asks again when the proof is old", async () => {
    const { started, shadow } = await writing(pretending());
    const keepAlive = POST.replace("Connection: close\r\n", "");
    const one = stage.client(started.port);
    one.send(keepAlive);
    await settled(started);
    started.pass(29_000);
    one.send(keepAlive);
    await until("both are copied", () => shadow.received.split("POST ").length === 3);
    await settled(started);
    started.pass(1_001);
    one.send(keepAlive);
    await until("the third is copied", () => shadow.received.split("POST ").length === 4);
    expect(await settled(started)).toEqual({ sampled: 3, answered: 3 });
    expect(shadow.received.split("OPTIONS ").length).toBeGreaterThan(2);
  });

  test("never brings the header that signs copies along from a client", async () => {
    const { started, legacy, shadow } = await writing(pretending());
    const one = stage.client(started.port);
    one.send(
      POST.replace("Host: h", "Host: h\r\nCrossfade-Dry-Run: v1 forged\r\nCrossfade_Dry_Run: v1 forged"),
    );
    await one.seesEnd();
    await settled(started);
    expect(legacy.received + shadow.received).not.toContain("forged");
  });

  test("is compared, but goes to legacy once", async () => {
    const compare = { ...DEFAULT_COMPARE, noisePercent: 100 };
    const { started, legacy } = await writing(pretending(), { compare });
    await post(started);
    const { pairs, noise } = await compared(started, 1);
    expect([pairs.matched, allOf(noise)]).toEqual([1, 0]);
    expect(legacy.received.split("POST ")).toHaveLength(2);
  });
});

describe("no copy is sent", () => {
  test.each<[string, RawBackend["script"]]>([
    ["answers nothing to the question", pretending(() => "")],
    [
      "signs with another secret",
      pretending(
        (nonce, expires) =>
          `Crossfade-Dry-Run: v1 ${hash("crossfade dry-run proof v1", nonce, expires, "other")}\r\n`,
      ),
    ],
    [
      "sends the question back",
      pretending(
        (nonce, expires) => `Crossfade-Dry-Run: v1 ${hash("crossfade dry-run ask v1", nonce, expires)}\r\n`,
      ),
    ],
    ["says it twice", pretending((nonce, expires) => proofOf(nonce, expires).repeat(2))],
    ["refuses", ({ socket }) => void socket.write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")],
    ["closes", ({ socket }) => void socket.end()],
    ["sends rubbish", ({ socket }) => void socket.end("rubbish\r\n\r\n")],
  ])("to a backend that %s", async (_, script) => {
    const { started, shadow } = await writing(script);
    await post(started);
    expect(await settled(started)).toEqual({ sampled: 1, unproved: 1 });
    await post(started);
    expect(await settled(started)).toEqual({ sampled: 2, unproved: 2 });
    expect(shadow.connections).toHaveLength(1);
    expect(shadow.received).not.toContain("POST");
    started.pass(5_000);
    await post(started);
    await settled(started);
    expect(shadow.connections.length + shadow.received.split("OPTIONS ").length).toBeGreaterThan(3);
    expect(shadow.received).not.toContain("POST");
  });

  test("to a backend that proves it too late", async () => {
    const { started, shadow } = await writing(() => {});
    await post(started);
    await until("it is asked", () => shadow.received.endsWith("\r\n\r\n"));
    started.pass(10_000);
    expect(await settled(started)).toEqual({ sampled: 1, timeout: 1 });
    expect(shadow.received).not.toContain("POST");
  });

  test("without a secret", async () => {
    const { started, shadow } = await writing(pretending(), {}, null);
    await post(started);
    expect(await settled(started)).toEqual({ sampled: 1, unproved: 1 });
    expect(shadow.connections).toHaveLength(0);
  });
});
