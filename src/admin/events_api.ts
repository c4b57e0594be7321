/** The endpoint that streams what happens: changes of the table, and the fleet. */
import { refusal } from "./answers.ts";
import { endpoint, noQuery, type Endpoint } from "./endpoint.ts";
import { SUBSCRIBERS_MAX, type EventStreams } from "./event_stream.ts";

/** The longest Last-Event-ID that can be one of ours. */
const EVENT_ID_LENGTH_MAX = 64;

const HEADERS = {
  "content-type": "text/event-stream",
  // Buffering proxies in front would hold events back.
  "x-accel-buffering": "no",
};

/** GET /v1/events. */
export function eventsApi(streams: EventStreams): Endpoint[] {
  return [
    endpoint({
      method: "get",
      path: "/v1/events",
      access: "viewer",
      summary: "What happens, as server-sent events; Last-Event-ID resumes",
      query: noQuery,
      answers: {
        200: {
          description: "An endless stream; an event `gap` says that some were missed",
          type: "text/event-stream",
        },
      },
      faults: ["TOO_MANY_WAITING"],
      handle({ request, bindings }) {
        // The answer to HEAD has no body, so nobody would ever end its stream.
        if (request.method === "HEAD") return new Response(null, { headers: HEADERS });
        const lastEventId = request.headers.get("last-event-id");
        const body = streams.open({
          lastEventId:
            lastEventId === null || lastEventId === "" ? null : lastEventId.slice(0, EVENT_ID_LENGTH_MAX),
          ...(bindings.closing === undefined ? {} : { closing: bindings.closing }),
          ...(bindings.cut === undefined ? {} : { cut: bindings.cut }),
        });
        if (body === null)
          return refusal("TOO_MANY_WAITING", `${SUBSCRIBERS_MAX} callers listen to the events already`);
        return new Response(body, { headers: HEADERS });
      },
    }),
  ];
}
