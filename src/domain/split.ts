/** Who goes where: a client's bucket from its key, and the backend of a bucket. */
import { SHARES_TOTAL } from "./route.ts";

/** FNV-1a, 32 bit: offset basis and prime. */
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/**
 * The bucket of a client, 0 to SHARES_TOTAL - 1: its hash modulo SHARES_TOTAL.
 *
 * Every worker, instance and restart agrees. Not cryptographic: a client that chooses its key can choose its bucket.
 */
export function bucketOf(salt: string, key: string): number {
  return hashOf(salt, key) % SHARES_TOTAL;
}

/** 32 bits, from FNV-1a over the low bytes of `salt`, a zero byte and `key`, then murmur3's finalizer. */
export function hashOf(salt: string, key: string): number {
  let hash = fnv(FNV_OFFSET, salt);
  hash = Math.imul(hash, FNV_PRIME);
  hash = fnv(hash, key);
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  hash ^= hash >>> 16;
  return hash >>> 0;
}

/** Whether a bucket is in the cohort: it is below the candidate's weight, so a growing weight only adds clients. */
export function isInCohort(bucket: number, candidateShares: number): boolean {
  return bucket < candidateShares;
}

function fnv(start: number, text: string): number {
  let hash = start;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ (text.charCodeAt(i) & 0xff), FNV_PRIME);
  }
  return hash;
}
