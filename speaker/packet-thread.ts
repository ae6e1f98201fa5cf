/**
 * The packet thread: a worker that builds the sockets and the machines, and then never comes back to Node's event loop.
 * Messages reach it by a port that it reads itself, facts leave by another; an error ends the thread, and with it the process.
 */

import { receiveMessageOnPort, workerData } from "node:worker_threads";

import { systemClock } from "../sys/clock.ts";
import { openEventFd } from "../sys/event-fd.ts";
import { watchGateways } from "../sys/gateway-monitor.ts";
import { Heartbeat } from "../sys/heartbeat.ts";
import { openIcmpSocket } from "../sys/icmp-socket.ts";
import { watchInterfaceAddresses } from "../sys/interface-addresses.ts";
import { watchInterfaces } from "../sys/interfaces.ts";
import { arpFilter, arpRequestFilter, neighborMessageFilter, openArpSocket, openNdpSocket, solicitationFilter } from "../sys/packet-socket.ts";
import { trimHeap } from "../sys/libc.ts";
import { createPoller } from "../sys/poll.ts";
import { cryptoRandom, systemRandom } from "../sys/random.ts";
import { connectTcp, listenTcp } from "../sys/tcp-socket.ts";
import { openUdpSocket } from "../sys/udp-socket.ts";
import { Agreement } from "./agreement/agreement.ts";
import { AgreementIo } from "./agreement-io.ts";
import { PROFILES } from "./detection/profiles.ts";
import { Driver } from "./driver.ts";
import type { DriverPorts } from "./driver-ports.ts";
import { metallbRank } from "./election/metallb-rank.ts";
import { MetallbElector, StandaloneElector } from "./elector.ts";
import { LAN_TIMING, WAN_TIMING } from "./membership/membership-protocol.ts";
import { Neighbours } from "./neighbours.ts";
import type { NetworkFailuresPorts } from "./network-failures.ts";
import { PacketCounters } from "./packet-counters.ts";
import type { MembershipSettings } from "./packet-protocol.ts";
import type { PacketThreadAnswer, PacketThreadData } from "./packet-thread-handle.ts";
import type { PacketThreadMessage } from "./table-queue.ts";

const data = workerData as PacketThreadData;
const heartbeat = new Heartbeat(data.heartbeat);
const wake = openEventFd();
heartbeat.setWakeFd(wake.fd);
const interfaces = watchInterfaces();
const poller = createPoller();
const counters = new PacketCounters();
const post = (answer: PacketThreadAnswer): void => data.facts.postMessage(answer);
const { membership } = data;

const driver = new Driver(
  { exclude: data.excludeInterfaces.map((source) => new RegExp(source)), nodeAddress: membership?.bindAddress },
  {
    clock: systemClock,
    random: systemRandom,
    poller,
    interfaces,
    wake,
    // Answers to our own questions are heard only where questions are asked.
    openSocket: (interfaceIndex, family) =>
      family === "IPv4"
        ? openArpSocket(interfaceIndex, membership === undefined ? arpRequestFilter : arpFilter)
        : openNdpSocket(interfaceIndex, membership === undefined ? solicitationFilter : neighborMessageFilter),
    // The port carries what the handle sends, and nothing else has its other end.
    receive: () => receiveMessageOnPort(data.messages)?.message as PacketThreadMessage | undefined,
    post,
    sliceTaken: () => post({ kind: "sliceTaken" }),
    beat: () => heartbeat.beat(),
    trimHeap,
    counters,
    ...(membership === undefined ? { elector: new StandaloneElector(data.node) } : electTogether(membership)),
  },
);
driver.run();
interfaces.close();
// The eventfd stays open: the main thread may be about to write to it, and closes it when this thread has ended.
data.messages.close();
data.facts.close();

/** The elector, and the sockets that it needs. @throws SysError with a sentence when the port is taken */
function electTogether(settings: MembershipSettings): Pick<DriverPorts, "elector" | "agreement" | "neighbours"> {
  const endpoint = { address: settings.bindAddress, port: settings.bindPort };
  const random = cryptoRandom();
  const failures: NetworkFailuresPorts = { dropped: (reason) => counters.dropped(reason), warn: (event, fields) => post({ kind: "warning", event, fields }) };
  const agreement = new Agreement(
    {
      node: data.node,
      endpoint,
      bootUnixMs: settings.bootUnixMs,
      keys: settings.keys,
      timing: settings.wan ? WAN_TIMING : LAN_TIMING,
      profile: PROFILES[settings.profile],
      failback: settings.failback,
      template: settings.template,
    },
    random,
    () => systemClock.wallMs(),
  );
  const io = new AgreementIo(
    { endpoint, icmpIdentifier: Math.floor(random.next() * 2 ** 16) },
    {
      poller,
      openUdpSocket,
      listenTcp,
      connectTcp,
      openIcmpSocket,
      ...failures,
    },
  );
  const family = settings.bindAddress.includes(":") ? "IPv6" : "IPv4";
  return {
    elector: settings.election === "metallb" ? new MetallbElector(data.node, agreement, metallbRank) : agreement,
    agreement: io,
    neighbours: new Neighbours({ addresses: watchInterfaceAddresses(), gateways: watchGateways(family), ...failures }),
  };
}
