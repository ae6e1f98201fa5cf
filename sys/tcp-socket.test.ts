import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { makeVethPair, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import { inNetworkNamespace } from "./network-namespace.ts";
import { createPoller } from "./poll.ts";
import { SysError } from "./sys-error.ts";
import { FakeTcpNetwork } from "./tcp-socket-fake.ts";
import { connectTcp, listenTcp } from "./tcp-socket.ts";
import type { AcceptedTcpStream, TcpListener, TcpStream } from "./tcp-socket.ts";

/** Two hosts on one segment: the server may listen, the client connects. A third address belongs to nobody. */
interface Subject {
  listen(port: number): TcpListener;
  connect(port: number): TcpStream;
  connectToNobody(): TcpStream;
  close(): void;
}

/** Tries until there is a result; a real socket may have to be waited for. */
function until<Result>(socket: { readonly fd: number }, attempt: () => Result | undefined, writable = false): Result {
  const end = performance.now() + 5_000;
  do {
    const result = attempt();
    if (result !== undefined) return result;
    if (socket.fd < 0) break;
    const poller = createPoller();
    poller.add(socket.fd, writable ? { writable: true } : { readable: true });
    poller.wait(50);
  } while (performance.now() < end);
  throw new Error("nothing came");
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function read(stream: TcpStream): string {
  const buffer = new Uint8Array(1024);
  return until(stream, () => {
    const length = stream.receive(buffer);
    return length === undefined ? undefined : new TextDecoder().decode(buffer.subarray(0, length));
  });
}

/** The error's code that a call ends in, sooner or later. */
function failure(stream: TcpStream, call: () => unknown, writable = false): string {
  return until(stream, () => {
    try {
      call();
      return undefined;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      return error.code;
    }
  }, writable);
}

function suite(open: () => Subject): void {
  let subject: Subject;
  let listener: TcpListener;
  beforeEach(() => {
    subject = open();
    listener = subject.listen(0);
  });
  afterEach(() => subject.close());

  const join = (): { readonly client: TcpStream; readonly server: AcceptedTcpStream } => {
    const client = subject.connect(listener.endpoint.port);
    until(client, () => (client.connected() === "connected" ? true : undefined), true);
    return { client, server: until(listener, () => listener.accept()) };
  };

  test("nobody waits to be accepted at first", () => {
    expect(listener.endpoint.port).toBeGreaterThan(1023);
    expect(listener.accept()).toBeUndefined();
  });

  test("bytes flow both ways, and each side ends by itself", () => {
    const { client, server } = join();
    expect(server.connected()).toBe("connected");
    expect(server.peer.address).not.toBe(listener.endpoint.address);
    expect(server.peer.port).toBeGreaterThan(1023);
    expect(server.receive(new Uint8Array(10))).toBeUndefined();
    expect(client.send(bytes("--question").subarray(2))).toBe(8);
    client.endWriting();
    expect(read(server)).toBe("question");
    expect(read(server)).toBe("");
    expect(server.send(bytes("answer"))).toBe(6);
    server.close();
    expect(read(client)).toBe("answer");
    expect(read(client)).toBe("");
    client.close();
  });

  test("who does not read leaves no room at last, and reading makes room", () => {
    const { client, server } = join();
    const chunk = new Uint8Array(64 * 1024).fill(7);
    let sent = 0;
    for (let taken = client.send(chunk); taken > 0; taken = client.send(chunk)) sent += taken;
    // A real peer's kernel may take a little more, a moment later.
    const buffer = new Uint8Array(64 * 1024);
    let received = 0;
    while (received < sent) received += until(server, () => server.receive(buffer));
    expect(received).toBe(sent);
    expect(until(client, () => client.send(bytes("more")) || undefined, true)).toBe(4);
  });

  test("a port where nobody listens refuses", () => {
    const { port } = listener.endpoint;
    listener.close();
    const client = subject.connect(port);
    expect(failure(client, () => client.connected(), true)).toBe("ECONNREFUSED");
    client.close();
  });

  test("a host that is not there leaves the connection pending", () => {
    const client = subject.connectToNobody();
    expect(client.connected()).toBe("pending");
    client.abort();
  });

  test("an abort resets the other side, even one that was not accepted yet", () => {
    const client = subject.connect(listener.endpoint.port);
    until(client, () => (client.connected() === "connected" ? true : undefined), true);
    client.send(bytes("perhaps lost"));
    client.abort();
    const server = until(listener, () => listener.accept());
    expect(failure(server, () => server.receive(new Uint8Array(10)))).toBe("ECONNRESET");
    server.close();
  });

  test("writing to who has closed fails at last", () => {
    const { client, server } = join();
    server.close();
    expect(["EPIPE", "ECONNRESET"]).toContain(failure(client, () => void client.send(bytes("x"))));
  });

  test("a port is free again at once, though a connection on it still dies", () => {
    const { client, server } = join();
    // Who closes first keeps the dead connection.
    server.close();
    expect(read(client)).toBe("");
    client.close();
    const { port } = listener.endpoint;
    expect(() => subject.listen(port)).toThrow("bind: EADDRINUSE");
    listener.close();
    expect(subject.listen(port).endpoint.port).toBe(port);
  });

  test("a closed one refuses to work, and closing again does nothing", () => {
    const { client, server } = join();
    client.close();
    client.close();
    client.abort();
    expect(() => client.connected()).toThrow("EBADF");
    expect(() => client.send(bytes("x"))).toThrow("EBADF");
    expect(() => client.receive(new Uint8Array(1))).toThrow("EBADF");
    expect(() => client.endWriting()).toThrow("EBADF");
    server.close();
    listener.close();
    listener.close();
    expect(() => listener.accept()).toThrow("EBADF");
  });
}

const families = [
  { family: "IPv4", client: "10.9.0.1", server: "10.9.0.2", nobody: "10.9.0.99", length: "24" },
  { family: "IPv6", client: "fd09::1", server: "fd09::2", nobody: "fd09::99", length: "64" },
];

describe.each(families)("TCP socket, fake, $family", ({ client, server, nobody }) => {
  suite(() => {
    const network = new FakeTcpNetwork();
    const [clientHost, serverHost] = [network.host(client), network.host(server)];
    return {
      listen: (port) => serverHost.listen({ address: server, port, backlog: 16 }),
      connect: (port) => clientHost.connect({ address: server, port }),
      connectToNobody: () => clientHost.connect({ address: nobody, port: 7946 }),
      close: () => {},
    };
  });
});

const why = whyNoNamespaces();
describe.skipIf(why !== undefined).each(families)(`TCP socket, real, $family${why === undefined ? "" : ` (${why})`}`, ({ client, server, nobody, length }) => {
  suite(() => {
    const pair = makeVethPair("tcp");
    pair.ip(pair.client, "address", "add", `${client}/${length}`, "dev", "eth0", ...(length === "64" ? ["nodad"] : []));
    pair.ip(pair.speaker, "address", "add", `${server}/${length}`, "dev", "eth0", ...(length === "64" ? ["nodad"] : []));
    const opened: { close(): void }[] = [];
    const keep = <Socket extends { close(): void }>(socket: Socket): Socket => {
      opened.push(socket);
      return socket;
    };
    return {
      listen: (port) => keep(inNetworkNamespace(pair.speaker, () => listenTcp({ address: server, port, backlog: 16 }))),
      connect: (port) => keep(inNetworkNamespace(pair.client, () => connectTcp({ address: server, port }))),
      connectToNobody: () => keep(inNetworkNamespace(pair.client, () => connectTcp({ address: nobody, port: 7946 }))),
      close() {
        for (const socket of opened) socket.close();
        pair.remove();
      },
    };
  });
});
