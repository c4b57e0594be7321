/** The listening sockets: bound or inherited once, then handed to every worker by descriptor. */
import { lookup } from "node:dns/promises";
import { closeSync, lstatSync, renameSync, rmSync } from "node:fs";
import { BoundSocket, connect, isIP } from "node:net";
import type { BoundSocketOptions } from "node:net";
import { readListening } from "../shared/messages.ts";

/** Where Crossfade listens. `text` is what workers are told: the address as the settings write it, and its options. */
export type ListenAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number; readonly text: string }
  | { readonly kind: "unix"; readonly path: string; readonly text: string }
  /** A socket that the program is started with, by its name there. */
  | { readonly kind: "inherited"; readonly name: string; readonly text: string };

/**
 * What became of binding. Nothing is held when it failed.
 *
 * `inUse`: somebody listens there already, perhaps workers that outlived their control process.
 */
export type Binding =
  | { readonly ok: true; readonly sockets: ListeningSockets }
  | { readonly ok: false; readonly inUse: boolean; readonly detail: string };

/** The kernel's bound for the path of a Unix socket on Linux (sockaddr_un), less its final zero. */
const UNIX_PATH_BYTES_MAX = 107;

/** A Unix socket is bound under this extra name and then moved over its real one. */
const NEW_SUFFIX = ".n";

/**
 * A listening socket that this process was started with.
 *
 * `names`: what settings may call it, such as `fd:web` or `0.0.0.0:8080`. `actual`: its real address.
 */
export interface InheritedSocket {
  readonly fd: number;
  readonly names: readonly string[];
  readonly actual: string;
}

/** A socket that is held: bound here, or inherited. */
interface HeldSocket {
  readonly socket: Pick<BoundSocket, "fd" | "close">;
  readonly actual: string;
}

/** Descriptors of bound sockets. Nobody accepts on them here: the workers do. */
export class ListeningSockets {
  readonly #bound: readonly HeldSocket[];

  constructor(bound: readonly HeldSocket[]) {
    this.#bound = bound;
  }

  /** One descriptor per address, in the order of the settings. */
  descriptors(): number[] {
    return this.#bound.map(({ socket }) => socket.fd());
  }

  /** The real addresses: `host:port` with the port that the system chose for 0, or `unix:path`. */
  addresses(): string[] {
    return this.#bound.map(({ actual }) => actual);
  }

  /** Each with its real address, as another control process may inherit them. */
  lend(): { readonly fd: number; readonly actual: string }[] {
    return this.#bound.map(({ socket, actual }) => ({ fd: socket.fd(), actual }));
  }

  /** Gives up these copies; workers keep theirs. Unix paths stay where they are. */
  close(): void {
    for (const { socket } of this.#bound) socket.close();
  }
}

/**
 * Binds every address or none. Names are resolved first: `localhost` is 127.0.0.1, others are looked up.
 *
 * An address that an inherited socket is for is not bound: that socket is used. Those that none is for are closed, so
 * that no client waits where nobody accepts.
 */
export async function bindSockets(
  addresses: readonly ListenAddress[],
  inherited: readonly InheritedSocket[] = [],
): Promise<Binding> {
  const bound: HeldSocket[] = [];
  const used = addresses.map((address) => inheritedFor(address, inherited));
  for (const socket of inherited) if (!used.includes(socket)) closeSync(socket.fd);
  for (const [index, address] of addresses.entries()) {
    const ready = used[index];
    try {
      if (ready !== undefined) bound.push(held(ready));
      else bound.push(await bind(address));
    } catch (error) {
      new ListeningSockets(bound).close();
      const inUse = error instanceof Error && "code" in error && error.code === "EADDRINUSE";
      const detail = inUse ? "the address is in use" : error instanceof Error ? error.message : String(error);
      return { ok: false, inUse, detail: `cannot listen on ${address.text}: ${detail}` };
    }
  }
  return { ok: true, sockets: new ListeningSockets(bound) };
}

/** The first socket that is for an address. Two of one name cannot be told apart, so neither is. */
function inheritedFor(
  address: ListenAddress,
  inherited: readonly InheritedSocket[],
): InheritedSocket | undefined {
  const name = readListening(address.text).address;
  const [first, second] = inherited.filter(({ names }) => names.includes(name));
  return second === undefined ? first : undefined;
}

function held({ fd, actual }: InheritedSocket): HeldSocket {
  return { socket: { fd: () => fd, close: () => closeSync(fd) }, actual };
}

function bind(address: ListenAddress): Promise<HeldSocket> {
  if (address.kind === "tcp") return bindTcp(address);
  if (address.kind === "unix") return bindUnix(address);
  throw new Error(
    "the program was not started with exactly one socket of this name; see LISTEN_FDNAMES (FileDescriptorName=)",
  );
}

/** Removes the Unix sockets among the addresses: nobody listens there any more. */
export function removePaths(addresses: readonly ListenAddress[]): void {
  for (const address of addresses) if (address.kind === "unix") rmSync(address.path, { force: true });
}

async function bindTcp(address: ListenAddress & { kind: "tcp" }) {
  const literal = address.host.replace(/^\[(.*)\]$/, "$1");
  const host = isIP(literal) ? literal : await resolve(literal);
  const socket = new BoundSocket({ host, port: address.port });
  const { port } = socket.address();
  return { socket, actual: host.includes(":") ? `[${host}]:${port}` : `${host}:${port}` };
}

async function resolve(name: string): Promise<string> {
  if (name === "localhost") return "127.0.0.1";
  return (await lookup(name)).address;
}

async function bindUnix({ path }: ListenAddress & { kind: "unix" }) {
  if (Buffer.byteLength(path + NEW_SUFFIX) > UNIX_PATH_BYTES_MAX) {
    throw new Error(`the path is longer than ${UNIX_PATH_BYTES_MAX - NEW_SUFFIX.length} bytes`);
  }
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined && !found.isSocket()) {
    throw new Error("there is a file that is not a socket; move it away");
  }
  if (found !== undefined && (await isAnswered(path))) {
    throw Object.assign(new Error("somebody listens there"), { code: "EADDRINUSE" });
  }
  rmSync(path + NEW_SUFFIX, { force: true });
  const options: BoundSocketOptions & { readonly path: string } = { path: path + NEW_SUFFIX };
  const socket = new BoundSocket(options);
  // Moving replaces a stale socket in one step, and leaves the closing of this handle, which removes
  // the name it was bound under, without effect on a path that workers still serve.
  renameSync(path + NEW_SUFFIX, path);
  return { socket, actual: `unix:${path}` };
}

/** Whether somebody accepts on a Unix socket. A socket whose process died refuses. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolveAnswer) => {
    const probe = connect({ path });
    probe.once("connect", () => {
      probe.destroy();
      resolveAnswer(true);
    });
    // EAGAIN: a full backlog belongs to a listener.
    probe.once("error", (error) => resolveAnswer("code" in error && error.code === "EAGAIN"));
  });
}
