/** A worker under pressure: what it has goes on, what is new is turned away, and running out of files is survived. */
import { afterEach, expect, test } from "vitest";
import { GET, OK, PlaneStage } from "../support/plane.ts";
import { answering } from "../support/wire.ts";

let stage = new PlaneStage();
afterEach(async () => {
  await stage.close();
  stage = new PlaneStage();
});

test("under the worst pressure connections go on, new ones hear 503 with Retry-After, until it is over", async () => {
  const legacy = await stage.backend(answering(OK));
  const started = await stage.plane({ legacy: [legacy.port] });
  const one = stage.client(started.port);
  one.send(GET);
  await one.sees(/ok$/);
  started.plane.feel({ lagMs: 0, utilization: 0.5, heap: 0.96, files: 0 });
  expect(started.plane.pressure).toBe("connections");
  const refused = stage.client(started.port);
  refused.send(GET);
  const text = await refused.seesEnd();
  expect(text).toMatch(/^HTTP\/1\.1 503 [^]*\r\nRetry-After: 1\r\n[^]*Connection: close\r\n/);
  expect(started.listener.refused).toBe(1);
  one.send(GET);
  await one.sees(/ok[^]*ok$/);
  started.pass(1_000);
  started.plane.feel({ lagMs: 0, utilization: 0.5, heap: 0.2, files: 0 });
  const again = stage.client(started.port);
  again.send(GET);
  await again.sees(/ok$/);
});
