/** Sockets that a service manager opened: descriptors from 3 on, told of in LISTEN_FDS. */
import { readFileSync, readlinkSync } from "node:fs";
import type { InheritedSocket } from "./sockets.ts";

/** The first of them. Source: sd_listen_fds(3). */
const FIRST_FD = 3;
/** Far more than there may be addresses. */
const SOCKETS_MAX = 64;

/** The variables. Children must not take them for theirs. */
export const ACTIVATION_VARIABLES: readonly string[] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/** The sockets that this process was started with; none when the variables are meant for another one. */
export function activatedSockets(
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
): InheritedSocket[] {
  const count = Number(env["LISTEN_FDS"] ?? "");
  if (Number(env["LISTEN_PID"] ?? "") !== pid || !Number.isSafeInteger(count) || count > SOCKETS_MAX)
    return [];
  const names = (env["LISTEN_FDNAMES"] ?? "").split(":");
  return Array.from({ length: Math.max(0, count) }, (_, index) => {
    const fd = FIRST_FD + index;
    const actual = addressOf(fd);
    const name = names[index] ?? "";
    const texts = [`fd:${fd}`, ...(name === "" ? [] : [`fd:${name}`]), ...(actual === null ? [] : [actual])];
    return { fd, names: texts, actual: actual ?? `fd:${fd}` };
  });
}

/** The address of a socket as settings write it, or null where the system does not tell. Source: proc(5). */
function addressOf(fd: number): string | null {
  try {
    const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
    if (inode === undefined) return null;
    return unixAddress(inode) ?? tcpAddress("tcp", inode) ?? tcpAddress("tcp6", inode);
  } catch (error) {
    if (error instanceof Error && "code" in error) return null;
    throw error;
  }
}

function unixAddress(inode: string): string | null {
  const rows = readFileSync("/proc/self/net/unix", "latin1").split("\n");
  const row = rows.map((line) => line.trim().split(/\s+/)).find((cells) => cells[6] === inode);
  const path = row?.[7];
  return path === undefined ? null : `unix:${path}`;
}

function tcpAddress(table: "tcp" | "tcp6", inode: string): string | null {
  const rows = readFileSync(`/proc/self/net/${table}`, "latin1").split("\n");
  const row = rows.map((line) => line.trim().split(/\s+/)).find((cells) => cells[9] === inode);
  const [hex = "", port = ""] = row?.[1]?.split(":") ?? [];
  if (hex === "") return null;
  const host = hex.length === 8 ? readV4(hex) : `[${readV6(hex)}]`;
  return `${host}:${Number.parseInt(port, 16)}`;
}

/** Four bytes in the order of the machine, the last one first. */
function readV4(hex: string): string {
  return bytesOf(hex).toReversed().join(".");
}

/** Four words of four bytes, each in the order of the machine. */
function readV6(hex: string): string {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => bytesOf(word).toReversed());
  const groups = Array.from({ length: 8 }, (_, at) =>
    (((bytes[2 * at] ?? 0) << 8) | (bytes[2 * at + 1] ?? 0)).toString(16),
  );
  // The form that settings have, with its longest run of zeros left out.
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

function bytesOf(hex: string): number[] {
  return (hex.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16));
}
