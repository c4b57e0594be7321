/** What flags and the environment say instead of the settings file, or beside it. */
import { z } from "zod";
import { examine } from "./domain/examine.ts";
import { Findings } from "./domain/problems.ts";
import { text } from "./domain/schema_parts.ts";
import { faultOf, readHostPort } from "./settings_address.ts";
import { problemElsewhere, type FileProblem } from "./settings_file.ts";
import { workerCountSchema } from "./settings_workers.ts";

const DRY_RUN_SECRET = "CROSSFADE_DRY_RUN_SECRET";
const SECRET_CHARS_MIN = 16;

/** What the command line says; it wins over the environment, which wins over the file. */
export interface SettingsFlags {
  readonly adminAddress?: string | undefined;
  readonly workers?: string | undefined;
  readonly logLevel?: string | undefined;
}

/** Everything that settings are made of. */
export interface SettingsInput {
  readonly fileName: string;
  readonly fileText: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly flags: SettingsFlags;
  /** Gives the text of a file that the settings name, or throws. Without it no such file can be read. */
  readonly readText?: (path: string) => string;
}

/** Where the admin API is. */
export const adminAddressSchema = text(faultOf(readHostPort));

/** How much the program says of itself. */
export const logLevelSchema = z.enum(["debug", "info", "warn", "error"]);

/** A value that a flag or an environment variable gives instead of the file, and the name of that one. */
export interface Override<Value> {
  readonly source: string;
  readonly value: Value;
}

/** All of them. */
export interface Overrides {
  readonly adminAddress: Override<string> | undefined;
  readonly workers: Override<"auto" | number> | undefined;
  readonly logLevel: Override<z.output<typeof logLevelSchema>> | undefined;
  /** By what backends prove that they only pretend to write. It stands in the environment alone. */
  readonly dryRunSecret: string | undefined;
}

/** Reads flags and environment; what is wrong with them is added to `problems`. */
export function readOverrides({ env, flags }: SettingsInput, problems: FileProblem[]): Overrides {
  const read = <Schema extends z.ZodType>(
    schema: Schema,
    path: string,
    sources: readonly (readonly [string, string | undefined])[],
  ): Override<z.output<Schema>> | undefined => {
    let found: Override<z.output<Schema>> | undefined;
    for (const [source, written] of sources) {
      if (written === undefined || written === "") continue;
      const findings = new Findings();
      const value = examine(schema, /^\d+$/.test(written) ? Number(written) : written, [], findings);
      for (const { message } of findings.list()) problems.push(problemElsewhere(source, path, message));
      if (value !== undefined) found ??= { source, value };
    }
    return found;
  };
  return {
    dryRunSecret: readSecret(env, problems),
    adminAddress: read(adminAddressSchema, "/admin/address", [
      ["--admin-address", flags.adminAddress],
      ["CROSSFADE_ADMIN_ADDRESS", env["CROSSFADE_ADMIN_ADDRESS"]],
    ]),
    workers: read(workerCountSchema, "/workers", [
      ["--workers", flags.workers],
      ["CROSSFADE_WORKERS", env["CROSSFADE_WORKERS"]],
    ]),
    logLevel: read(logLevelSchema, "/log/level", [
      ["--log-level", flags.logLevel],
      ["CROSSFADE_LOG_LEVEL", env["CROSSFADE_LOG_LEVEL"]],
    ]),
  };
}

function readSecret(env: SettingsInput["env"], problems: FileProblem[]): string | undefined {
  const secret = env[DRY_RUN_SECRET];
  if (secret === undefined || secret === "") return undefined;
  if (secret.length >= SECRET_CHARS_MIN) return secret;
  const message = `a secret of fewer than ${SECRET_CHARS_MIN} characters can be guessed; use a longer one`;
  problems.push(problemElsewhere(DRY_RUN_SECRET, "", message));
  return undefined;
}
