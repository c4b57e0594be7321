/** Samples: which names and values are masked, how long they get, and that they can be printed. */
import { describe, expect, test } from "vitest";
import { ExactNumber } from "../../../src/domain/json_text.ts";
import { headerSample, MASKED, printable, sampleOf, soundsSecret } from "../../../src/domain/mask.ts";

describe("a name", () => {
  test.each(
    [
      "password userPassword PASSWD new_password accessToken tokens id-token client_secret secrets apiKey API_KEY",
      "X-Api-Key x-apikey authorization Set-Cookie cookies sessionId sid auth jwt otp pin CVV email userEmail",
      "phones iban privateKey creditCard",
    ].flatMap((line) => line.split(" ")),
  )("%s sounds secret", (name) => {
    expect(soundsSecret(name)).toBe(true);
  });

  test.each(
    "id price author authored pinned spinning side key keys items phonetic updatedAt location 0".split(" "),
  )("%s does not", (name) => {
    expect(soundsSecret(name)).toBe(false);
  });

  test("that is very long is taken as secret", () => {
    expect(soundsSecret("x".repeat(256))).toBe(false);
    expect(soundsSecret("x".repeat(257))).toBe(true);
  });
});

describe("a sample", () => {
  test.each([
    [null, "null"],
    [true, "true"],
    [1.5, "1.5"],
    [-0, "0"],
    ["a", '"a"'],
    [[1, 2], "a list of 2"],
    [{ a: "x" }, "a map of 1"],
    [new ExactNumber("9007199254740993"), "9007199254740993e0"],
    ["see eyJhbGciOiJIUzI1NiJ9.e30.x", MASKED],
    ["-----BEGIN PRIVATE KEY-----", MASKED],
    ["Bearer x", MASKED],
    ["ann@example.com", MASKED],
    [`${"x".repeat(100)}@example.com`, MASKED],
    ["a @ b", '"a @ b"'],
    ["\u001b[31m\u202e\n\ud800", '"\\u001b[31m\\u202e\\n\\ud800"'],
  ])("of %j is %s", (value, sample) => {
    expect(sampleOf(value)).toBe(sample);
  });

  test("is short", () => {
    expect(sampleOf("x".repeat(1000))).toBe(`"${"x".repeat(61)}..."`);
    expect(headerSample("etag", "x".repeat(1000))).toHaveLength(64);
  });

  test.each([
    ["content-type", "text/html", "text/html"],
    ["x-api-key", "abc", MASKED],
    ["set-cookie", "a=b", MASKED],
    ["x-user", "ann@example.com", MASKED],
    ["location", "/items/1", "/items/1"],
    ["location", "https://h/cb?code=1#x", `https://h/cb?${MASKED}`],
    ["location", "/cb#access=1", `/cb?${MASKED}`],
    ["location", "//ann:pw@h/x", `//${MASKED}@h/x`],
    ["location", "https://ann@h/x?y", `https://${MASKED}@h/x?${MASKED}`],
    ["location", "mailto:ann@example.com", MASKED],
  ])("of the field %s: %s is %s", (name, value, sample) => {
    expect(headerSample(name, value)).toBe(sample);
  });

  test("can be printed", () => {
    expect(printable("a\u0000\u007f\u2028\ufeffb")).toBe("a\\u0000\\u007f\\u2028\\ufeffb");
  });
});
