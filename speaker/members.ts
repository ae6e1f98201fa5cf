/**
 * What the packet thread tells about the other speakers, for logs and metrics: who is a member, who was given up, and why
 * addresses came and went. Nothing here decides anything.
 */
import { Counter, Gauge } from "prom-client";
import type { Registry } from "prom-client";
import type { Logger } from "../sys/log.ts";
import type { FromPacketThread } from "./packet-protocol.ts";

type MemberFact = Extract<FromPacketThread, { kind: "member" }>;
type MemberState = MemberFact["state"];

const STATES: readonly MemberState[] = ["alive", "suspect", "dead", "left"];
const EVENTS = { alive: "memberAlive", suspect: "memberSuspect", dead: "memberDead", left: "memberLeft" } as const;
/** Members that are gone are remembered to be counted, up to so many; nodes of a cluster come and go for months. */
export const MAX_MEMBERS = 5_000;

export interface MembersOptions {
  readonly log: Logger;
  readonly registry: Registry;
  /** Whether the API's watches are alive. */
  readonly fresh: () => boolean;
}

/** See the head of the file. */
export class Members {
  readonly #log: Logger;
  readonly #states = new Map<string, MemberState>();
  readonly #changes: Counter<"state">;
  readonly #verdicts: Counter<"class">;
  readonly #taken: Counter<"reason">;
  readonly #lost: Counter<"reason">;

  constructor({ log, registry, fresh }: MembersOptions) {
    this.#log = log;
    const states = this.#states;
    registry.registerMetric(new Gauge({
      name: "herald_members",
      help: "Other speakers that this one knows, by state.",
      labelNames: ["state"],
      registers: [],
      collect() {
        for (const state of STATES) this.set({ state }, [...states.values()].filter((each) => each === state).length);
      },
    }));
    registry.registerMetric(new Gauge({
      name: "herald_api_fresh",
      help: "1 while the API server answers and every watch of the tables is open.",
      registers: [],
      collect() {
        this.set(fresh() ? 1 : 0);
      },
    }));
    const counter = <Label extends string>(name: string, help: string, label: Label): Counter<Label> => {
      const made = new Counter({ name, help, labelNames: [label], registers: [] });
      registry.registerMetric(made);
      return made;
    };
    this.#changes = counter("herald_member_changes_total", "Changes of other speakers' states, by the new state.", "state");
    this.#verdicts = counter("herald_speaker_verdicts_total", "Other speakers that were given up, by what they were found to be.", "class");
    this.#taken = counter("herald_addresses_taken_total", "Addresses that came to this node, by reason.", "reason");
    this.#lost = counter("herald_addresses_lost_total", "Addresses that left this node, by reason.", "reason");
  }

  /** Takes note of a fact. */
  take(fact: Extract<FromPacketThread, { kind: "member" | "verdict" | "handingOver" | "owned" | "lost" }>): void {
    switch (fact.kind) {
      case "member":
        return this.#member(fact);
      case "verdict":
        this.#verdicts.inc({ class: fact.class });
        this.#log.warn("speakerGivenUp", { node: fact.node, class: fact.class, silentForMs: Math.round(fact.silentForMs) });
        return;
      case "handingOver":
        this.#log.info("addressHandingOver", { address: fact.address, to: fact.to });
        return;
      case "owned":
        if (fact.reason !== "InterfacesChanged") this.#taken.inc({ reason: fact.reason });
        return;
      case "lost":
        this.#lost.inc({ reason: fact.reason });
        return;
    }
  }

  #member({ node, state, before, isHerald }: MemberFact): void {
    if (this.#states.has(node) || this.#states.size < MAX_MEMBERS) this.#states.set(node, state);
    if (state === before) return;
    this.#changes.inc({ state });
    const fields = { node, before: before ?? "unknown", isHerald };
    if (state === "suspect") this.#log.debug(EVENTS[state], fields);
    else if (state === "dead") this.#log.warn(EVENTS[state], fields);
    else this.#log.info(EVENTS[state], fields);
  }
}
