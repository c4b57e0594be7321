/** Samples of values that may be kept and shown: short, printable, and without what sounds or looks secret. */
import { ExactNumber } from "./json_text.ts";

/** What stands for a value that is not shown. */
export const MASKED = "(masked)";

/** A sample has at most about this many characters, and what looks secret is looked for in so many. */
const SAMPLE_CHARS_MAX = 64;
const LOOKED_AT_CHARS = 4 * SAMPLE_CHARS_MAX;
/** Longer names are taken as secret: whoever puts so much into a name may have put anything into it. */
const NAME_CHARS_MAX = 256;

/** Names that have one of these in them, written together or apart. */
const SECRET_PARTS: readonly string[] = [
  "password",
  "passwd",
  "passphrase",
  "passcode",
  "secret",
  "token",
  "credential",
  "authorization",
  "cookie",
  "session",
  "bearer",
  "email",
  "apikey",
  "accesskey",
  "privatekey",
  "secretkey",
  "signingkey",
  "encryptionkey",
  "creditcard",
  "cardnumber",
  "accountnumber",
];
/** Names that have one of these as a whole word: inside another word they mean nothing. */
const SECRET_WORDS = new Set(
  "auth csrf cvc cvv iban jwt otp phone pin pwd sid signature ssn totp xsrf".split(" "),
);
/** A JSON web token, a key in PEM, credentials of HTTP, a mail address. */
const LOOKS_SECRET = /\beyJ[\w-]{8}|-----BEGIN |\b(?:bearer|basic)\s|[^\s@]@[^\s@]/i;
/** Control characters, separators and what turns the direction of text around. */
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/**
 * Whether a key or a header field is likely to hold a secret or somebody's data, by its name alone.
 *
 * It errs towards yes: a masked sample costs a look at the backend, a shown one may cost more. Words are told apart by
 * case, digits and punctuation, so `apiKey`, `api_key` and `X-API-Key` are one.
 */
export function soundsSecret(name: string): boolean {
  if (name.length > NAME_CHARS_MAX) return true;
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .toLowerCase()
    .split(/[^a-z]+/);
  const together = words.join("");
  if (SECRET_PARTS.some((part) => together.includes(part))) return true;
  return words.some((word) => SECRET_WORDS.has(word) || SECRET_WORDS.has(word.replace(/s$/, "")));
}

/** A sample of a JSON value at a place that is not masked. Lists and maps show their size alone. */
export function sampleOf(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof ExactNumber) return cut(value.text);
  if (typeof value === "object" && value !== null) return `a map of ${Object.keys(value).length}`;
  if (typeof value !== "string") return JSON.stringify(value);
  return looksSecret(value) ? MASKED : printable(JSON.stringify(cut(value)));
}

/** A sample of a header field. Of a location, queries and user names are left out: they carry codes and tokens. */
export function headerSample(name: string, value: string): string {
  if (soundsSecret(name)) return MASKED;
  const shown =
    name === "location"
      ? value.replace(/[?#].*$/s, `?${MASKED}`).replace(/^([^/?#]*\/\/)[^/?#]*@/, `$1${MASKED}@`)
      : value;
  const bare = shown.replaceAll(MASKED, "").replace("//@", "//");
  return looksSecret(bare) ? MASKED : printable(cut(shown));
}

/** Text that a terminal and a log show as it is: what moves the cursor or hides is written as an escape. */
export function printable(text: string): string {
  return text
    .toWellFormed()
    .replace(UNPRINTABLE, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function looksSecret(text: string): boolean {
  return LOOKS_SECRET.test(text.slice(0, LOOKED_AT_CHARS));
}

function cut(text: string): string {
  return text.length <= SAMPLE_CHARS_MAX ? text : `${text.slice(0, SAMPLE_CHARS_MAX - 3)}...`;
}
