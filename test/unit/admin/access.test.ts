/** Tokens, roles, and what a listener without tokens lets in. */
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  authenticate,
  isAllowed,
  strangeOrigin,
  type AdminToken,
  type Role,
} from "../../../src/admin/access.ts";

function token(name: string, role: Role, text: string): AdminToken {
  return { name, role, sha256: createHash("sha256").update(text).digest("hex") };
}

const tokens = [token("ann", "viewer", "ann-secret"), token("bob", "admin", "bob-secret")];

function request(method: string, host: string, origin?: string): Request {
  const headers = new Headers({ host });
  if (origin !== undefined) headers.set("origin", origin);
  return new Request("http://127.0.0.1:9900/v1/table", { method, headers });
}

describe("tokens", () => {
  test("a known one gives its name and role, whatever the case of the scheme", () => {
    expect(authenticate("Bearer bob-secret", tokens)).toEqual({ name: "bob", role: "admin" });
    expect(authenticate("bearer  ann-secret", tokens)).toEqual({ name: "ann", role: "viewer" });
  });

  test.each([
    null,
    "",
    "Bearer",
    "Bearer ",
    "Bearer bob-secret ",
    "Bearer bob-secre",
    "Bearer bob-secret x",
    "Basic bob-secret",
    "bob-secret",
    `Bearer ${tokens[1]?.sha256}`,
    `Bearer ${"x".repeat(10_000)}`,
    "Bearer b\u00f6b",
  ])("%j is nobody", (field) => {
    expect(authenticate(field, tokens)).toBeNull();
  });

  test("a token whose hash is malformed lets nobody in", () => {
    const broken: AdminToken[] = [
      { name: "x", role: "admin", sha256: "" },
      { name: "y", role: "admin", sha256: "zz" },
    ];
    expect(authenticate("Bearer x", broken)).toBeNull();
    expect(authenticate(null, broken)).toBeNull();
  });

  test("without tokens everybody is the loopback admin", () => {
    expect(authenticate(null, [])).toEqual({ name: "loopback", role: "admin" });
  });
});

test("a role allows what the lesser roles do", () => {
  const roles: Role[] = ["viewer", "operator", "admin"];
  for (const [rank, role] of roles.entries()) {
    expect(isAllowed(role, "anyone")).toBe(true);
    for (const [needed, access] of roles.entries()) expect(isAllowed(role, access)).toBe(rank >= needed);
  }
});

describe("where a request without tokens comes from", () => {
  test.each([
    "localhost",
    "LOCALHOST:9900",
    "127.0.0.1",
    "127.0.0.1:9900",
    "127.1.2.3:1",
    "[::1]",
    "[::1]:9900",
  ])("%s is a loopback name or literal", (host) => {
    expect(strangeOrigin(request("PUT", host))).toBeNull();
  });

  test.each([
    "evil.example",
    "evil.example:9900",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "x127.0.0.1",
    "10.0.0.1",
    "[::2]",
    "0.0.0.0",
    "127.0.0.1:9900:1",
  ])("%s is refused on reads too, because a page can point its own name at 127.0.0.1", (host) => {
    expect(strangeOrigin(request("GET", host))).toContain("loopback");
  });

  test.each(["https://evil.example", "null", "http://127.0.0.1:9901", "http://localhost:9900"])(
    "a page of origin %s may change nothing",
    (origin) => {
      for (const method of ["PUT", "POST", "DELETE"]) {
        expect(strangeOrigin(request(method, "127.0.0.1:9900", origin))).toContain("another origin");
      }
      expect(strangeOrigin(request("GET", "127.0.0.1:9900", origin))).toBeNull();
    },
  );

  test("a page of the admin's own origin may", () => {
    expect(strangeOrigin(request("PUT", "127.0.0.1:9900", "http://127.0.0.1:9900"))).toBeNull();
  });
});
