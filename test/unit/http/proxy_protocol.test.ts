/** PROXY headers: what is read, what is refused, and what is written. */
import { describe, expect, test } from "vitest";
import { readProxyHeader, writeProxyHeader } from "../../../src/http/proxy_protocol.ts";

const SIGNATURE = "0d0a0d0a000d0a515549540a";
const NOWHERE = { address: "0.0.0.0", port: 0 };

/** A header of version 2: command and family, then the block behind the length. */
function binary(kind: string, block: string, length = block.length / 2): Buffer {
  return Buffer.from(`${SIGNATURE}${kind}${length.toString(16).padStart(4, "0")}${block}`, "hex");
}

function line(text: string) {
  return readProxyHeader(Buffer.from(text, "latin1"));
}

describe("version 1", () => {
  test("names its client, and what follows is left alone", () => {
    const header = "PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n";
    const client = { address: "192.0.2.1", port: 56_324 };
    expect(line(`${header}GET / HTTP/1.1\r\n`)).toEqual({ bytes: header.length, client });
  });

  test("gives IPv6 addresses in their shortest form, and mapped ones as IPv4", () => {
    expect(line("PROXY TCP6 2001:DB8:0:0:0:0:0:1 ::1 1 65535\r\n")).toMatchObject({
      client: { address: "2001:db8::1", port: 1 },
    });
    expect(line("PROXY TCP6 ::FFFF:192.0.2.9 ::1 0 0\r\n")).toMatchObject({
      client: { address: "192.0.2.9", port: 0 },
    });
  });

  test("of an unknown client names nobody, whatever else it says", () => {
    expect(line("PROXY UNKNOWN\r\n")).toEqual({ bytes: 15, client: null });
    expect(line("PROXY UNKNOWN ffff::1 what ever\r\n")).toEqual({ bytes: 33, client: null });
  });

  test.each([
    ["HTTP instead of a header", "GET / HTTP/1.1\r\n\r\n"],
    ["lower case", "proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n"],
    ["two spaces", "PROXY TCP4 1.2.3.4  1.2.3.4 1 1\r\n"],
    ["a tab", "PROXY\tTCP4 1.2.3.4 1.2.3.4 1 1\r\n"],
    ["a space before the end", "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n"],
    ["a line feed alone", "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n"],
    ["a carriage return alone", "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\rG"],
    ["a missing port", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"],
    ["a port with a leading zero", "PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n"],
    ["a port over 65535", "PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n"],
    ["an address with a leading zero", "PROXY TCP4 1.2.3.04 1.2.3.4 1 1\r\n"],
    ["a short address", "PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n"],
    ["an address of the other family", "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n"],
    ["two families", "PROXY TCP4 1.2.3.4 ::1 1 1\r\n"],
    ["an address with a zone", "PROXY TCP6 fe80::1%lo ::1 1 1\r\n"],
    ["an address in brackets", "PROXY TCP6 ::1]/[ ::1 1 1\r\n"],
    ["another family", "PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n"],
    ["a line of 108 bytes", `PROXY UNKNOWN ${"x".repeat(92)}\r\n`],
    ["a line that does not end", `PROXY UNKNOWN ${"x".repeat(93)}`],
  ])("refuses %s", (_, text) => {
    expect(line(text)).toBe("bad");
  });

  test("may have 107 bytes", () => {
    expect(line(`PROXY UNKNOWN ${"x".repeat(91)}\r\n`)).toEqual({ bytes: 107, client: null });
  });
});

describe("version 2", () => {
  const v4 = "c00002010a000001dc0401bb";
  const v6 = `20010db8${"0".repeat(23)}1${"0".repeat(31)}100010002`;

  test("names its client, and passes over what follows the addresses", () => {
    const client = { address: "192.0.2.1", port: 56_324 };
    expect(readProxyHeader(binary("2111", v4))).toEqual({ bytes: 28, client });
    const withExtra = binary("2111", `${v4}04000401020304`);
    expect(readProxyHeader(withExtra)).toEqual({ bytes: 35, client });
    expect(readProxyHeader(binary("2121", v6))).toEqual({
      bytes: 52,
      client: { address: "2001:db8::1", port: 1 },
    });
  });

  test("of the proxy itself or without a family names nobody", () => {
    expect(readProxyHeader(binary("2000", ""))).toEqual({ bytes: 16, client: null });
    expect(readProxyHeader(binary("20ff", "0102"))).toEqual({ bytes: 18, client: null });
    expect(readProxyHeader(binary("2100", "010203"))).toEqual({ bytes: 19, client: null });
  });

  test("may have 536 bytes", () => {
    const block = v4 + "00".repeat(508);
    expect(readProxyHeader(binary("2111", block))).toMatchObject({ bytes: 536 });
    expect(readProxyHeader(binary("2111", `${block}00`))).toBe("bad");
  });

  test.each([
    ["another version", binary("1111", v4)],
    ["another command", binary("2211", v4)],
    ["datagrams", binary("2112", v4)],
    ["Unix sockets", binary("2131", "00".repeat(216))],
    ["an unknown family", binary("2141", v4)],
    ["addresses that are too short", binary("2111", v4.slice(2))],
    ["a length that promises too much", binary("2111", v4, 521)],
    ["another signature", Buffer.from("\r\n\r\n\0\r\nQUIT\r", "latin1")],
  ])("refuses %s", (_, bytes) => {
    expect(readProxyHeader(bytes)).toBe("bad");
  });
});

describe("a written header", () => {
  test("is the one of the specification", () => {
    const client = { address: "192.0.2.1", port: 56_324 };
    const to = { address: "10.0.0.1", port: 443 };
    const text = writeProxyHeader("v1", client, to).toString("latin1");
    expect(text).toBe("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n");
    const hex = writeProxyHeader("v2", client, to).toString("hex");
    expect(hex).toBe(`${SIGNATURE}2111000cc00002010a000001dc0401bb`);
  });

  test("between two families is IPv6", () => {
    const text = writeProxyHeader("v1", { address: "192.0.2.1", port: 0 }, { address: "::1", port: 80 });
    expect(text.toString("latin1")).toBe("PROXY TCP6 ::ffff:192.0.2.1 ::1 0 80\r\n");
  });

  test("leaves out the zone of a local address", () => {
    const text = writeProxyHeader("v1", { address: "fe80::1%eth0", port: 0 }, { address: "::1", port: 80 });
    expect(text.toString("latin1")).toBe("PROXY TCP6 fe80::1 ::1 0 80\r\n");
  });

  test("for a client without an address says that it is unknown", () => {
    const client = { address: "unix", port: 0 };
    expect(writeProxyHeader("v1", client, NOWHERE).toString("latin1")).toBe("PROXY UNKNOWN\r\n");
    expect(writeProxyHeader("v2", client, NOWHERE).toString("hex")).toBe(`${SIGNATURE}21000000`);
  });
});
