/** How long and how much a client connection may take. Times in milliseconds, sizes in bytes. */

/** From the first byte of a head to its last. */
export const HEAD_MS = 10_000;
/** Between two pieces of a request's body. */
export const BODY_IDLE_MS = 60_000;
/** For the client to take what waits for it. */
export const WRITE_IDLE_MS = 60_000;
/** Between two requests. */
export const KEEP_ALIVE_MS = 75_000;
/** Requests on one connection; the last one's answer closes it. */
export const REQUESTS_MAX = 10_000;
/** A connection is closed after the answer that is under way at this age, spread by a tenth. */
export const AGE_MS = 3_600_000;
/** After a refusal, reading goes on for so long and so much, so that the client sees the answer before a reset. */
export const LINGER_MS = 1_000;
/** From our goodbye on a WebSocket to its end, for the answers to it. */
export const GOODBYE_MS = 2_000;
/** See LINGER_MS. */
export const LINGER_BYTES = 64 * 1024;
/** Requests that arrive before the current one is answered are read ahead up to here. */
export const AHEAD_BYTES = 8 * 1024;
