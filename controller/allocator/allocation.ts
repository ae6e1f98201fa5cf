/** What is asked of the allocator and what it answers. */
import type { Pool } from "../../config/config.ts";
import type { IpAddress, IpFamily } from "../../wire/ip-address.ts";
import type { SharingTerms } from "./sharing.ts";

/** Asks for the addresses of one Service. */
export interface AllocationRequest {
  /** `namespace/name` of the Service. */
  readonly service: string;
  /** One family, or both, the primary one first. */
  readonly families: readonly IpFamily[];
  /** With two families: whether one address is an acceptable answer (PreferDualStack). */
  readonly oneIsEnough: boolean;
  /** Addresses asked for by name: empty, or one per family. */
  readonly addresses: readonly IpAddress[];
  /** The pool asked for by name. */
  readonly pool?: string;
  /** Absent: it wants its addresses for itself. */
  readonly sharing?: SharingTerms;
  /** Whether the pool's serviceAllocation admits this Service. */
  readonly admits: (pool: Pool) => boolean;
}

/** Why no address was given. Each is a reason of the condition `metallb.io/AddressAssigned`, see docs/conditions.md. */
export type RefusalReason =
  | "NoPools"
  | "NoFreeAddress"
  | "UnknownPool"
  | "PoolNotAllowed"
  | "PoolHasNoSuchFamily"
  | "AddressNotInPool"
  | "AddressNotInRequestedPool"
  | "AddressesInDifferentPools"
  | "AddressInUse"
  | "SharingConflict"
  | "FamilyMismatch";

export interface Refusal {
  readonly kind: "refused";
  readonly reason: RefusalReason;
  /** For the user; without the Service's name. */
  readonly message: string;
}

export interface Assignment {
  readonly kind: "assigned";
  /** One or two, all of one pool. */
  readonly addresses: readonly IpAddress[];
  readonly pool: string;
}

export type AllocationResult = Assignment | Refusal;

/** What a Service holds. */
export interface Holding {
  /** One or two addresses, in the order of the Service's status. */
  readonly addresses: readonly IpAddress[];
  readonly pool: string;
  /** On which terms it shares them; undefined: it has them for itself. */
  readonly sharing: SharingTerms | undefined;
}
