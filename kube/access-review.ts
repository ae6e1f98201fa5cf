/**
 * Whether the bearer of a token may read a path of ours: asks the API server who bears it (TokenReview) and what it may
 * (SubjectAccessReview on a nonResourceURL), and remembers the answers for a short time. Tokens are kept as hashes only.
 * The API server away: whoever was allowed lately stays so for a while; about others nothing can be said.
 */
import { createHash } from "node:crypto";
import type { Clock } from "../sys/clock.ts";
import { KubeError, type KubeClient } from "./client.ts";
import { subjectAccessReviews, tokenReviews, type TokenReview } from "./objects.ts";

export type AccessVerdict =
  | { readonly kind: "allowed" }
  /** 401: nobody that the API server knows. */
  | { readonly kind: "unknown"; readonly message: string }
  /** 403: known, and not allowed. */
  | { readonly kind: "forbidden"; readonly message: string }
  /** 503: can't be told now. */
  | { readonly kind: "unavailable"; readonly message: string };

/** An answer is used for so long without asking again (milliseconds): who is allowed, who is not. */
const ALLOWED_MS = 60_000;
const REFUSED_MS = 10_000;
/** While nothing can be asked, who was allowed stays so for this long after the last answer. */
const HELD_MS = 600_000;
/** Answers remembered of each kind; the oldest is forgotten. Refusals are kept apart, so that they push out nobody who is allowed. */
const MAX_REMEMBERED = 256;
/** Tokens asked about at a time: fewer than a speaker has requests to the API server at once, so that made-up tokens hold up nothing else. */
const MAX_ASKING = 4;
/** Both questions together take no longer (milliseconds): a scrape waits 10 s. */
const ASK_TIMEOUT_MS = 5_000;
/** Who was allowed lately waits no longer for the next answer. */
const HELD_WAIT_MS = 1_000;

interface Remembered {
  readonly verdict: AccessVerdict;
  /** When it was given. */
  readonly at: number;
}

export interface AccessReviewOptions {
  readonly client: Pick<KubeClient, "create">;
  readonly clock: Clock;
  /** What is guarded, e.g. "/metrics". */
  readonly path: string;
}

export class AccessReview {
  readonly #options: AccessReviewOptions;
  readonly #allowed = new Map<string, Remembered>();
  readonly #refused = new Map<string, Remembered>();
  readonly #asking = new Map<string, Promise<AccessVerdict>>();

  constructor(options: AccessReviewOptions) {
    this.#options = options;
  }

  /** Judges the value of an Authorization header; undefined when the request has none. Never rejects. */
  async judge(authorization: string | undefined): Promise<AccessVerdict> {
    const token = /^bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
    if (token === undefined) return { kind: "unknown", message: "A token is needed: send a ServiceAccount's as the header 'Authorization: Bearer TOKEN'." };
    const key = createHash("sha256").update(token).digest("base64");
    const now = this.#options.clock.now();
    const allowed = this.#allowed.get(key);
    if (allowed !== undefined && now - allowed.at < ALLOWED_MS) return allowed.verdict;
    const refused = this.#refused.get(key);
    if (refused !== undefined && now - refused.at < REFUSED_MS) return refused.verdict;
    const asked = this.#askOnce(key, token);
    if (allowed === undefined || now - allowed.at >= HELD_MS) return asked;
    const verdict = await this.#within(HELD_WAIT_MS, asked);
    return verdict === undefined || verdict.kind === "unavailable" ? allowed.verdict : verdict;
  }

  #askOnce(key: string, token: string): Promise<AccessVerdict> {
    const running = this.#asking.get(key);
    if (running !== undefined) return running;
    if (this.#asking.size >= MAX_ASKING) return Promise.resolve({ kind: "unavailable", message: "Too many tokens are being looked at; try again." });
    const asked = this.#ask(token)
      .then((verdict) => {
        this.#remember(key, verdict);
        return verdict;
      })
      .finally(() => this.#asking.delete(key));
    this.#asking.set(key, asked);
    return asked;
  }

  #remember(key: string, verdict: AccessVerdict): void {
    // That nothing could be asked says nothing about the token.
    if (verdict.kind === "unavailable") return;
    const [table, other] = verdict.kind === "allowed" ? [this.#allowed, this.#refused] : [this.#refused, this.#allowed];
    other.delete(key);
    table.delete(key);
    table.set(key, { verdict, at: this.#options.clock.now() });
    const oldest = table.keys().next().value;
    if (table.size > MAX_REMEMBERED && oldest !== undefined) table.delete(oldest);
  }

  async #ask(token: string): Promise<AccessVerdict> {
    const answer = this.#review(token).catch((error: unknown): AccessVerdict => ({ kind: "unavailable", message: this.#whyNot(error) }));
    const verdict = await this.#within(ASK_TIMEOUT_MS, answer);
    return verdict ?? { kind: "unavailable", message: `The API server did not say within ${ASK_TIMEOUT_MS / 1000} s whether this token may read ${this.#options.path}.` };
  }

  /** The answer, or undefined when it takes longer. */
  async #within<T>(ms: number, answer: Promise<T>): Promise<T | undefined> {
    let timer: { cancel(): void } | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = this.#options.clock.after(ms, () => resolve(undefined));
    });
    try {
      return await Promise.race([answer, late]);
    } finally {
      timer?.cancel();
    }
  }

  async #review(token: string): Promise<AccessVerdict> {
    const { client, path } = this.#options;
    const { status } = await client.create(tokenReviews, { metadata: { name: "" }, spec: { token } });
    const user = status?.user;
    if (status?.authenticated !== true || user?.username === undefined) return { kind: "unknown", message: "The API server does not accept this token; it may have expired." };
    return this.#authorize({ ...user, username: user.username }, { client, path });
  }

  async #authorize(user: NonNullable<NonNullable<TokenReview["status"]>["user"]> & { username: string }, { client, path }: { client: Pick<KubeClient, "create">; path: string }): Promise<AccessVerdict> {
    const { username, uid, groups, extra } = user;
    const who = { user: username, ...(uid === undefined ? {} : { uid }), ...(groups === undefined ? {} : { groups }), ...(extra === undefined ? {} : { extra }) };
    const { status } = await client.create(subjectAccessReviews, { metadata: { name: "" }, spec: { ...who, nonResourceAttributes: { path, verb: "get" } } });
    if (status?.allowed === true) return { kind: "allowed" };
    return { kind: "forbidden", message: `${username} may not read ${path}: bind it to a ClusterRole with the verb "get" on the nonResourceURL "${path}".` };
  }

  #whyNot(error: unknown): string {
    const reason = error instanceof Error ? error.message : String(error);
    if (error instanceof KubeError && error.code === 403) return `Herald itself may not ask who bears this token (create tokenreviews and subjectaccessreviews): ${reason}`;
    return `The API server can't be asked whether this token may read ${this.#options.path}: ${reason}`;
  }
}
