/** Programs that tests start: whether they are installed, and what starts them. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Whether a program is on the PATH. */
export function isInstalled(program: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch (error) {
      if (error instanceof Error && "code" in error) return false;
      throw error;
    }
  });
}

/** Why tests that need a program cannot run here, or null when they can. */
export function missing(program: string): string | null {
  return isInstalled(program) ? null : `${program} is not installed`;
}
