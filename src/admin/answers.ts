/** What the admin API answers: JSON with the revision as ETag, and problem documents for everything that is refused. */
import { FAULTS, type FaultCode, type Problem } from "../base/fault.ts";

/** More to say with a refusal. `members` are further members of the problem document. */
export interface RefusalDetails {
  readonly errors?: readonly Problem[];
  readonly members?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The media type of problem documents. */
export const PROBLEM_TYPE = "application/problem+json";

/** What `type` of a problem document starts with; the fault's code follows. */
const TYPE_PREFIX = "urn:crossfade:fault:";

/** After how many seconds a caller may try again what failed for a reason that passes. */
const RETRY_AFTER_SECONDS = "1";

/** The HTTP status that answers a fault on the control side. */
function statusOf(code: FaultCode): number {
  return FAULTS[code].status;
}

/** A JSON answer. With a revision it becomes the ETag. */
export function answer(body: unknown, more: { revision?: number; status?: number } = {}): Response {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (more.revision !== undefined) headers["etag"] = `"${more.revision}"`;
  return new Response(JSON.stringify(body), { status: more.status ?? 200, headers });
}

/** A refusal as a problem document. `detail` is about this case; the title is the fault's own. Source: RFC 9457. */
export function refusal(code: FaultCode, detail: string, more: RefusalDetails = {}): Response {
  const status = statusOf(code);
  const document = {
    type: TYPE_PREFIX + code,
    title: FAULTS[code].meaning,
    status,
    detail,
    code,
    errors: more.errors ?? [],
    ...more.members,
  };
  const headers: Record<string, string> = { "content-type": PROBLEM_TYPE, ...more.headers };
  if (status === 503) headers["retry-after"] = RETRY_AFTER_SECONDS;
  if (status === 401) headers["www-authenticate"] = 'Bearer realm="crossfade"';
  return new Response(JSON.stringify(document), { status, headers });
}

/** The answer to a bug: says nothing of it, because the log does. */
export function bugAnswer(): Response {
  const document = {
    type: `${TYPE_PREFIX}INTERNAL`,
    title: "Crossfade failed to answer",
    status: 500,
    detail: "This is a bug; the log of the control process has the details",
    code: "INTERNAL",
    errors: [],
  };
  return new Response(JSON.stringify(document), { status: 500, headers: { "content-type": PROBLEM_TYPE } });
}
