/** What the rest of the program knows of logging: four levels, fields first. */

/** Writes one structured line. Never throws and never waits. */
type Write = (fields: Readonly<Record<string, unknown>>, message: string) => void;

/** A log. pino satisfies it; tests use their own. */
export interface Logger {
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
}
