/** Fields that Crossfade adds to answers. */
import { ISSUED_COOKIE, type Pick } from "../domain/pick.ts";
import type { Route } from "../domain/route.ts";

/** A year, for the whole site, not for scripts. Not Secure: there may be no TLS in front. */
const ISSUED_ATTRIBUTES = "Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax";

/** Complete lines: the cookie that was issued, and who answered, where the route says so. */
export function addedFields({ expose }: Route, { issued, backend }: Pick, revision: number): string {
  const cookie = issued === "" ? "" : `Set-Cookie: ${ISSUED_COOKIE}=${issued}; ${ISSUED_ATTRIBUTES}\r\n`;
  if (!expose) return cookie;
  return `${cookie}Crossfade-Backend: ${backend.id}\r\nCrossfade-Revision: ${revision}\r\n`;
}
