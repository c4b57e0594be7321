/** Addresses in the settings: listening with PROXY headers, and whom to believe. */
import { describe, expect, test } from "vitest";
import { assert } from "../../src/base/fault.ts";
import { readSettings, restartNeeded, type Settings } from "../../src/settings.ts";
import { problemLine } from "../../src/settings_file.ts";
import { readListening, writeListening } from "../../src/shared/messages.ts";

const LISTEN = "listen: [{ address: 127.0.0.1:80, proxy_protocol: true }, { address: 'unix:/x' }]\n";

function read(fileText: string) {
  return readSettings({ fileName: "c.yaml", fileText, env: {}, flags: {} });
}

function settingsOf(fileText: string): Settings {
  const result = read(fileText);
  assert(result.ok, JSON.stringify(result));
  return result.settings;
}

/** What is wrong with a file, a line for each. */
function linesOf(fileText: string): string[] {
  const result = read(fileText);
  return result.ok ? [] : result.problems.map(problemLine);
}

describe("a listening address that takes PROXY headers", () => {
  test("is told to the workers as such", () => {
    const { listen } = settingsOf(`${LISTEN}trusted_proxies: [unix, 10.0.0.0/8]\n`);
    expect(listen.map(({ text }) => readListening(text))).toEqual([
      { isUnix: false, takesProxyHeader: true, address: "127.0.0.1:80" },
      { isUnix: true, takesProxyHeader: false, address: "unix:/x" },
    ]);
  });

  test("needs peers to believe", () => {
    const message = "proxy_protocol needs trusted_proxies: name the peers that may send the header";
    expect(linesOf(LISTEN)).toEqual([`c.yaml:1:51: /listen/0/proxy_protocol: ${message}`]);
    const wrong = linesOf(`${LISTEN}trusted_proxies: [localhost]\n`);
    expect(wrong).toEqual([expect.stringContaining('"localhost" is not a range of addresses')]);
  });

  test("is another one than without them, at the same address", () => {
    const settings = settingsOf("listen: [{ address: 127.0.0.1:80 }]\n");
    const withHeaders = settings.listen.map((one) => ({ ...one, text: writeListening(one.text, true) }));
    expect(restartNeeded(settings, { ...settings, listen: withHeaders })).toEqual(["listen"]);
    const twice = "listen: [{ address: 'h:1', proxy_protocol: true }, { address: 'h:1' }]\n";
    expect(linesOf(`${twice}trusted_proxies: [unix]\n`)).toEqual([
      "c.yaml:1:63: /listen/1/address: entry 0 of the list listens at the same address",
    ]);
  });
});

describe("trusted proxies", () => {
  test("are ranges, addresses and whoever comes over a Unix socket", () => {
    const { plane } = settingsOf(`${LISTEN}trusted_proxies: [unix, 10.0.0.0/8, "::1"]\n`);
    expect(plane.trustedProxies).toEqual(["unix", "10.0.0.0/8", "::1/128"]);
  });

  test("stand once in their list", () => {
    expect(linesOf(`${LISTEN}trusted_proxies: [unix, unix]\n`)).toEqual([
      "c.yaml:2:25: /trusted_proxies/1: the same as entry 0 of this list",
    ]);
  });
});
