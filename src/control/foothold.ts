/** Where a fleet listens: sockets that this process holds, or that only its workers have. */
import type { Logger } from "../base/logger.ts";
import { readListening } from "../shared/messages.ts";
import { bindSockets } from "./sockets.ts";
import type { Binding, InheritedSocket, ListenAddress, ListeningSockets } from "./sockets.ts";

/** The addresses of a fleet and the sockets there. */
export class Foothold {
  /** The addresses, as workers are told them. */
  readonly listen: readonly string[];
  readonly #addresses: readonly ListenAddress[];
  readonly #log: Logger;
  #sockets: ListeningSockets | null = null;
  #isBinding = false;

  constructor(addresses: readonly ListenAddress[], log: Logger) {
    this.#addresses = addresses;
    this.#log = log;
    this.listen = addresses.map(({ text }) => text);
  }

  /** Takes inherited sockets, and binds the addresses that none of them is for. */
  async bind(inherited: readonly InheritedSocket[]): Promise<Binding> {
    const binding = await bindSockets(this.#addresses, inherited);
    if (binding.ok) this.#sockets = binding.sockets;
    return binding;
  }

  /** Binds the addresses anew after everybody died who had the sockets. Gives whether they are held now. */
  async bindAgain(): Promise<boolean> {
    if (this.#isBinding) return false;
    this.#isBinding = true;
    const binding = await this.bind([]);
    this.#isBinding = false;
    if (!binding.ok) this.#log.warn({ detail: binding.detail }, "the addresses cannot be bound yet");
    return binding.ok;
  }

  hold(sockets: ListeningSockets | null): void {
    this.#sockets = sockets;
  }

  isHeld(): boolean {
    return this.#sockets !== null;
  }

  /** One descriptor per address, or null when only workers have the sockets. */
  descriptors(): number[] | null {
    return this.#sockets?.descriptors() ?? null;
  }

  /** The sockets as another control process may inherit them, by the addresses that they are for; null without any. */
  lend(): InheritedSocket[] | null {
    const lent = this.#sockets?.lend() ?? null;
    return (
      lent?.map((socket, index) => {
        return { ...socket, names: [readListening(this.listen[index] ?? "").address] };
      }) ?? null
    );
  }

  /** Where clients connect; as the settings say it when only the workers know the rest. */
  addresses(): readonly string[] {
    return this.#sockets?.addresses() ?? this.listen;
  }

  /** Gives up this process's copies. */
  close(): void {
    this.#sockets?.close();
    this.#sockets = null;
  }
}
