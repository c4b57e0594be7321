/** Certificates for tests: an authority, a server on 127.0.0.1 and a client, made by openssl. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { missing } from "./installed.ts";

/** A certificate and its key, as files and as PEM text. */
export interface Certificate {
  readonly certificatePath: string;
  readonly keyPath: string;
  readonly certificate: string;
  readonly key: string;
}

/** An authority and what it has signed. The server is 127.0.0.1, ::1, `localhost` and `redis.test`. */
export interface Certificates {
  readonly authority: Certificate;
  readonly server: Certificate;
  readonly client: Certificate;
}

const PROGRAM = "openssl";
const NAMES = "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost,DNS:redis.test";

/** Why there can be no certificates here, or null. */
export function opensslMissing(): string | null {
  return missing(PROGRAM);
}

/** Makes them in a directory; they last for two days. */
export function makeCertificates(directory: string): Certificates {
  const make = (name: string, args: readonly string[]): Certificate => {
    const certificatePath = join(directory, `${name}.pem`);
    const keyPath = join(directory, `${name}.key`);
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", keyPath];
    const made = ["-out", certificatePath, "-days", "2", "-subj", `/CN=Crossfade test ${name}`];
    execFileSync(PROGRAM, ["req", "-x509", ...key, ...made, ...args], { stdio: "pipe" });
    return {
      certificatePath,
      keyPath,
      certificate: readFileSync(certificatePath, "utf8"),
      key: readFileSync(keyPath, "utf8"),
    };
  };
  const authority = make("authority", []);
  const signed = ["-CA", authority.certificatePath, "-CAkey", authority.keyPath];
  const leaf = [...signed, "-addext", "basicConstraints=critical,CA:FALSE"];
  return {
    authority,
    server: make("server", [...leaf, "-addext", NAMES]),
    client: make("client", leaf),
  };
}
