/** Binding the listening sockets: all of them or none, by name or number, on ports and paths. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { assert } from "../../../src/base/fault.ts";
import { bindSockets, removePaths, type ListenAddress } from "../../../src/control/sockets.ts";
import { freePort } from "../../support/fleet_stage.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "crossfade-sockets-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

function tcp(host: string, port = 0): ListenAddress {
  return { kind: "tcp", host, port, text: `${host}:${port}` };
}

function unix(name: string): ListenAddress & { readonly kind: "unix" } {
  const path = join(directory, name);
  return { kind: "unix", path, text: `unix:${path}` };
}

/** The real addresses, after which nothing is held any more. */
async function addressesOf(addresses: readonly ListenAddress[]): Promise<string[]> {
  const binding = await bindSockets(addresses);
  assert(binding.ok, "they can be bound");
  const descriptors = binding.sockets.descriptors();
  expect(new Set(descriptors).size).toBe(addresses.length);
  binding.sockets.close();
  return binding.sockets.addresses();
}

describe("sockets are bound", () => {
  test("on numbers and on the local name, with the port that the system chose", async () => {
    const [literal, name] = await addressesOf([tcp("127.0.0.1"), tcp("localhost")]);
    expect(literal).toMatch(/^127\.0\.0\.1:[1-9]\d*$/);
    expect(name).toMatch(/^127\.0\.0\.1:[1-9]\d*$/);
  });

  test("on a path, which stays until it is removed", async () => {
    const address = unix("s");
    expect(await addressesOf([address])).toEqual([address.text]);
    expect(statSync(address.path).isSocket()).toBe(true);
    removePaths([address]);
    expect(existsSync(address.path)).toBe(false);
  });

  test("on a path whose socket nobody answers any more", async () => {
    await addressesOf([unix("s")]);
    expect(await addressesOf([unix("s")])).toEqual([unix("s").text]);
  });
});

describe("sockets are not bound", () => {
  test("where somebody listens, and then none of the others is", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    const free = await freePort();
    const binding = await bindSockets([tcp("127.0.0.1", free), tcp("127.0.0.1", port)]);
    await new Promise((resolve) => other.close(resolve));
    const detail = `cannot listen on 127.0.0.1:${port}: the address is in use`;
    expect(binding).toEqual({ ok: false, inUse: true, detail });
    expect(await addressesOf([tcp("127.0.0.1", free)])).toEqual([`127.0.0.1:${free}`]);
  });

  test("on a path where somebody listens", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen({ path: unix("s").path }, resolve));
    const binding = await bindSockets([unix("s")]);
    await new Promise((resolve) => other.close(resolve));
    expect(binding).toMatchObject({ ok: false, inUse: true });
  });

  test("on a path where there is a file, which stays", async () => {
    const address = unix("file");
    writeFileSync(address.path, "precious");
    expect(await bindSockets([address])).toMatchObject({
      ok: false,
      inUse: false,
      detail: expect.stringContaining("a file that is not a socket"),
    });
    expect(existsSync(address.path)).toBe(true);
  });

  test("on a path that is too long for the system", async () => {
    const binding = await bindSockets([unix("x".repeat(107))]);
    expect(binding).toMatchObject({
      ok: false,
      inUse: false,
      detail: expect.stringContaining("longer than"),
    });
  });
});
