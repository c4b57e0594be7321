/** The least that speaks to a Redis, so that no client under test judges itself: one command a connection. */
import { connect } from "node:net";

/** What Redis answers (RESP2). Errors in the midst of a list are text that begins with their code. */
export type RedisReply = string | number | null | readonly RedisReply[];

/** Where a Redis listens in the clear: the path of a socket, or a port of 127.0.0.1. */
export type RedisAt = string | number;

/** Who asks. Without a name it is the default user. */
export interface RedisLogin {
  readonly username?: string;
  readonly password: string;
}

/** An error that Redis answered, such as `MOVED 866 127.0.0.1:7001`. */
export class RedisAnswerError extends Error {}

/** How long a command may take: long, because it ends a test and measures nothing. */
const TIMEOUT_MS = 20_000;

/** Sends one command and gives its answer. Rejects with `RedisAnswerError`, or when the connection fails. */
export function askRedis(
  at: RedisAt,
  command: readonly (string | number)[],
  login: RedisLogin | null = null,
): Promise<RedisReply> {
  const names = login?.username === undefined ? [] : [login.username];
  const commands = login === null ? [command] : [["AUTH", ...names, login.password], command];
  return new Promise((resolve, reject) => {
    const place = typeof at === "string" ? { path: at } : { port: at, host: "127.0.0.1" };
    const socket = connect({ ...place, timeout: TIMEOUT_MS });
    let received = Buffer.alloc(0);
    const end = (settle: () => void): void => {
      socket.destroy();
      settle();
    };
    socket.on("timeout", () => end(() => reject(new Error(`Redis at ${at} has not answered ${command[0]}`))));
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`Redis at ${at} closed before it answered ${command[0]}`)));
    socket.on("data", (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      let next = 0;
      for (let index = 0; index < commands.length; index++) {
        const parsed = parseReply(received, next);
        if (parsed === null) return;
        ({ next } = parsed);
        const { reply } = parsed;
        if (reply instanceof RedisAnswerError) return end(() => reject(reply));
        if (index === commands.length - 1) end(() => resolve(reply));
      }
    });
    socket.write(Buffer.concat(commands.map(encodeCommand)));
  });
}

function encodeCommand(command: readonly (string | number)[]): Buffer {
  const words = command.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`);
  return Buffer.from(`*${command.length}\r\n${words.join("")}`);
}

interface Parsed {
  readonly reply: RedisReply | RedisAnswerError;
  readonly next: number;
}

/** Reads one reply from `place` on, or null while it is incomplete. */
function parseReply(bytes: Buffer, place: number): Parsed | null {
  const lineEnd = bytes.indexOf("\r\n", place);
  if (lineEnd === -1) return null;
  const rest = bytes.toString("utf8", place + 1, lineEnd);
  const next = lineEnd + 2;
  switch (String.fromCharCode(bytes[place] ?? 0)) {
    case "+":
      return { reply: rest, next };
    case "-":
      return { reply: new RedisAnswerError(rest), next };
    case ":":
      return { reply: Number(rest), next };
    case "$": {
      const length = Number(rest);
      if (length === -1) return { reply: null, next };
      if (bytes.length < next + length + 2) return null;
      return { reply: bytes.toString("utf8", next, next + length), next: next + length + 2 };
    }
    case "*":
      return parseList(bytes, next, Number(rest));
    default:
      throw new Error(`this is no answer of Redis: ${bytes.toString("latin1", place, place + 40)}`);
  }
}

function parseList(bytes: Buffer, start: number, length: number): Parsed | null {
  if (length === -1) return { reply: null, next: start };
  const replies: RedisReply[] = [];
  let next = start;
  for (let index = 0; index < length; index++) {
    const parsed = parseReply(bytes, next);
    if (parsed === null) return null;
    replies.push(parsed.reply instanceof RedisAnswerError ? parsed.reply.message : parsed.reply);
    ({ next } = parsed);
  }
  return { reply: replies, next };
}
