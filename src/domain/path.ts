/** Paths for matching: unreserved characters decoded, ambiguous ones refused. */

/** A segment `.` or `..`, with its dots escaped or not. */
const DOT_SEGMENT = /\/(?:\.|%2e){1,2}(?:\/|$)/i;
/** An escaped slash or backslash: backends disagree whether it separates segments. */
const ESCAPED_SLASH = /%2f|%5c/i;
const ESCAPED_UNRESERVED = /%(?:2[de]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])/gi;

/**
 * The path to match against, or null when it is ambiguous.
 *
 * Takes a raw path without query that starts with a slash and has only complete escapes. Decodes escaped letters,
 * digits, `-`, `.`, `_` and `~`, nothing else. Source: RFC 3986 sections 2.3 and 6.2.2.
 */
export function decodedPath(raw: string): string | null {
  const hasEscape = raw.includes("%");
  if (!hasEscape && !raw.includes("/.")) return raw;
  if (DOT_SEGMENT.test(raw) || (hasEscape && ESCAPED_SLASH.test(raw))) return null;
  if (!hasEscape) return raw;
  return raw.replace(ESCAPED_UNRESERVED, (escape) =>
    String.fromCharCode(Number.parseInt(escape.slice(1), 16)),
  );
}
