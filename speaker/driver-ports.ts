/**
 * What the packet thread's loop works with: every door to the outside, so that a test can give it fakes.
 */

import type { Clock } from "../sys/clock.ts";
import type { EventFd } from "../sys/event-fd.ts";
import type { InterfaceMonitor } from "../sys/interfaces.ts";
import type { PacketSocket } from "../sys/packet-socket.ts";
import type { Poller } from "../sys/poll.ts";
import type { IpFamily } from "../wire/ip-address.ts";
import type { AgreementIo } from "./agreement-io.ts";
import type { Elector } from "./elector.ts";
import type { Random } from "./machine.ts";
import type { Neighbours } from "./neighbours.ts";
import type { PacketCounters } from "./packet-counters.ts";
import type { FromPacketThread } from "./packet-protocol.ts";
import type { PacketThreadMessage } from "./table-queue.ts";

/** The membership's sockets, as the loop sees them. */
export type AgreementDoor = Pick<AgreementIo, "owns" | "ready" | "drain" | "perform" | "timeout" | "nextTimeout" | "close">;

/** Questions by ARP, and the proof that a segment is heard. */
export type NeighbourDoor = Pick<Neighbours, "interfaces" | "interfaceOf" | "frame" | "perform" | "timeout" | "nextTimeout" | "close">;

/** What the loop works with; a test gives it fakes. */
export interface DriverPorts {
  readonly clock: Pick<Clock, "now" | "wallMs">;
  readonly random: Random;
  readonly poller: Poller;
  readonly interfaces: InterfaceMonitor;
  /** Becomes readable when messages wait. */
  readonly wake: Pick<EventFd, "fd" | "drain">;
  /** A socket for ARP, or for NDP. @throws SysError */
  openSocket(interfaceIndex: number, family: IpFamily): PacketSocket;
  /** The next message of the main thread, if one waits. */
  receive(): PacketThreadMessage | undefined;
  post(fact: FromPacketThread): void;
  /** A slice of the table has been taken in: the main thread may send another. */
  sliceTaken(): void;
  /** Called once a turn: a sign of life. */
  beat(): void;
  /** Gives memory back that a burst has left behind. May take milliseconds. */
  trimHeap(): void;
  readonly counters: PacketCounters;
  readonly elector: Elector;
  /** Only with membership. */
  readonly agreement?: AgreementDoor | undefined;
  readonly neighbours?: NeighbourDoor | undefined;
}
