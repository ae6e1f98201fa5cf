/** The Secret that encrypts the speakers' membership protocol: made once, by whichever controller comes first. */
import { KubeError, type KubeClient } from "../kube/client.ts";
import { deployments, type OwnerReference, secrets } from "../kube/objects.ts";
import { type Clock, sleep } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";

/** Bytes of the key. */
export const SECRET_BYTES = 16;

/** Waits while the API server is away: doubling from the first to the second (milliseconds). */
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 10_000;
/** Wait after a refusal (milliseconds): rights may come later than the controller. */
const REFUSED_RETRY_MS = 60_000;

export interface MemberlistSecretOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly namespace: string;
  readonly name: string;
  /** Deployment that owns the Secret, so that it goes with it; empty means no owner. */
  readonly deployment: string;
  /** `SECRET_BYTES` bytes that nobody can guess. */
  readonly randomBytes: () => Uint8Array;
}

/**
 * Creates the Secret when it is absent: its key `secretkey` is the random bytes as unpadded base64 text. An API server
 * that is away, or refuses, is tried until it is done, for the speakers can't start without the Secret. Never rejects: a
 * controller without the right to write Secrets still gives addresses, which the log says.
 */
export async function ensureMemberlistSecret(options: MemberlistSecretOptions): Promise<void> {
  const { clock, log, name } = options;
  let isRefusalTold = false;
  for (let waitMs = FIRST_RETRY_MS; ; waitMs = Math.min(2 * waitMs, MAX_RETRY_MS)) {
    try {
      return await ensureOnce(options);
    } catch (error) {
      if (isPassing(error)) {
        if (waitMs === FIRST_RETRY_MS) log.warn("memberlistSecretDelayed", { name, error });
        await sleep(clock, waitMs);
        continue;
      }
      if (!isRefusalTold) log.error("memberlistSecretNotCreated", { name, error });
      isRefusalTold = true;
      await sleep(clock, REFUSED_RETRY_MS);
    }
  }
}

/** @throws KubeError */
async function ensureOnce(options: MemberlistSecretOptions): Promise<void> {
  const { client, log, namespace, name } = options;
  try {
    await client.get(secrets, { namespace, name });
    return;
  } catch (error) {
    if (!(error instanceof KubeError && error.code === 404)) throw error;
  }
  const owner = await findOwner(options);
  const text = Buffer.from(options.randomBytes()).toString("base64").replace(/=+$/, "");
  try {
    await client.create(secrets, {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { namespace, name, ...(owner === undefined ? {} : { ownerReferences: [owner] }) },
      // The API takes the data in base64, once more.
      data: { secretkey: Buffer.from(text).toString("base64") },
    });
    log.info("memberlistSecretCreated", { name });
  } catch (error) {
    // Another replica was faster.
    if (!(error instanceof KubeError && error.reason === "AlreadyExists")) throw error;
  }
}

/** Whether asking again later may help: no answer, too busy, broken. */
function isPassing(error: unknown): boolean {
  return error instanceof KubeError && (error.code === 0 || error.code === 429 || error.code >= 500);
}

/** @throws KubeError when asking again may help. */
async function findOwner({ client, log, namespace, name, deployment }: MemberlistSecretOptions): Promise<OwnerReference | undefined> {
  if (deployment === "") {
    log.warn("memberlistSecretWithoutOwner", { name, reason: "no --deployment given" });
    return undefined;
  }
  try {
    const { metadata } = await client.get(deployments, { namespace, name: deployment });
    return metadata.uid === undefined ? undefined : { apiVersion: "apps/v1", kind: "Deployment", name: deployment, uid: metadata.uid };
  } catch (error) {
    if (isPassing(error)) throw error;
    log.warn("memberlistSecretWithoutOwner", { name, deployment, error });
    return undefined;
  }
}
