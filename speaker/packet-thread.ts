/**
 * The packet thread: a worker that builds the sockets and the machines, and then never comes back to Node's event loop.
 * Messages reach it by a port that it reads itself, facts leave by another; an error ends the thread, and with it the process.
 */

import { receiveMessageOnPort, workerData } from "node:worker_threads";

import { systemClock } from "../sys/clock.ts";
import { openEventFd } from "../sys/event-fd.ts";
import { Heartbeat } from "../sys/heartbeat.ts";
import { watchInterfaces } from "../sys/interfaces.ts";
import { openArpSocket } from "../sys/packet-socket.ts";
import { trimHeap } from "../sys/libc.ts";
import { createPoller } from "../sys/poll.ts";
import { systemRandom } from "../sys/random.ts";
import { Driver } from "./driver.ts";
import { StandaloneElector } from "./elector.ts";
import type { PacketThreadAnswer, PacketThreadData } from "./packet-thread-handle.ts";
import type { PacketThreadMessage } from "./table-queue.ts";

const data = workerData as PacketThreadData;
const heartbeat = new Heartbeat(data.heartbeat);
const wake = openEventFd();
heartbeat.setWakeFd(wake.fd);
const interfaces = watchInterfaces();
const post = (answer: PacketThreadAnswer): void => data.facts.postMessage(answer);

const driver = new Driver(
  { exclude: data.excludeInterfaces.map((source) => new RegExp(source)) },
  {
    clock: systemClock,
    random: systemRandom,
    poller: createPoller(),
    interfaces,
    wake,
    openSocket: (interfaceIndex) => openArpSocket(interfaceIndex),
    // The port carries what the handle sends, and nothing else has its other end.
    receive: () => receiveMessageOnPort(data.messages)?.message as PacketThreadMessage | undefined,
    post,
    sliceTaken: () => post({ kind: "sliceTaken" }),
    beat: () => heartbeat.beat(),
    trimHeap,
    elector: new StandaloneElector(data.node),
  },
);
driver.run();
interfaces.close();
// The eventfd stays open: the main thread may be about to write to it, and closes it when this thread has ended.
data.messages.close();
data.facts.close();
