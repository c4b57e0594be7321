/** Signals: ended by, kept or answered, depending on who is there to answer. */
import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { describe, expect, test } from "vitest";
import { passOn, Signals, type Signal } from "../../src/signals.ts";

/** A process as far as signals are concerned. */
class Receiver extends EventEmitter {
  readonly pid: number;
  readonly killed: [number, Signal][] = [];

  constructor(pid: number) {
    super();
    this.pid = pid;
  }

  kill(pid: number, signal: Signal): void {
    this.killed.push([pid, signal]);
  }
}

function setUp(pid = 7): { receiver: Receiver; signals: Signals; answered: Signal[]; answer: () => void } {
  const receiver = new Receiver(pid);
  const signals = new Signals(receiver);
  const answered: Signal[] = [];
  return { receiver, signals, answered, answer: () => signals.answer((signal) => answered.push(signal)) };
}

describe("signals", () => {
  test.for<Signal>(["SIGTERM", "SIGINT", "SIGQUIT"])("end the process at first: %s", (signal) => {
    const { receiver, answered, answer } = setUp();
    receiver.emit(signal);
    expect(receiver.killed).toEqual([[7, signal]]);
    expect(receiver.listenerCount(signal)).toBe(0);
    answer();
    expect(answered).toEqual([]);
  });

  test("that would end a process are kept where they cannot: process 1 must end itself", () => {
    const { receiver, answered, answer } = setUp(1);
    receiver.emit("SIGTERM");
    answer();
    expect(receiver.killed).toEqual([]);
    expect(answered).toEqual(["SIGTERM"]);
  });

  test("that end nothing are kept from the first moment on", () => {
    const { receiver, answered, answer } = setUp();
    receiver.emit("SIGUSR2");
    receiver.emit("SIGHUP");
    answer();
    expect(receiver.killed).toEqual([]);
    expect(answered).toEqual(["SIGUSR2", "SIGHUP"]);
  });

  test("are kept, each once and in the order of their coming, until somebody answers", () => {
    const { receiver, signals, answered, answer } = setUp();
    signals.hold();
    for (const signal of ["SIGHUP", "SIGTERM", "SIGHUP", "SIGINT"]) receiver.emit(signal);
    expect(answered).toEqual([]);
    answer();
    expect(answered).toEqual(["SIGHUP", "SIGTERM", "SIGINT"]);
    receiver.emit("SIGTERM");
    expect(answered.at(-1)).toBe("SIGTERM");
    expect(answered.length).toBe(4);
  });

  test("that came too late for one to answer are answered by the next", () => {
    const { receiver, signals, answered, answer } = setUp();
    signals.answer((signal) => signals.hold(signal));
    receiver.emit("SIGTERM");
    receiver.emit("SIGHUP");
    expect(answered).toEqual([]);
    answer();
    expect(answered).toEqual(["SIGTERM", "SIGHUP"]);
  });

  test("kept for somebody who cannot answer them either are not lost", () => {
    const { receiver, signals, answered, answer } = setUp();
    signals.hold();
    receiver.emit("SIGTERM");
    receiver.emit("SIGHUP");
    signals.answer((signal) => signals.hold(signal));
    answer();
    expect(answered).toEqual(["SIGTERM", "SIGHUP"]);
  });
});

test("a signal is passed on to a process that runs, and one that has ended is no fault", async () => {
  const child = spawn("sleep", ["60"]);
  const pid = child.pid ?? 0;
  const ended = once(child, "exit");
  passOn(pid, "SIGTERM");
  expect(await ended).toEqual([null, "SIGTERM"]);
  expect(() => passOn(pid, "SIGTERM")).not.toThrow();
});
