import { describe, expect, it } from "vitest";
import { parseCommand } from "./cli-command.ts";

describe("the lab's command line", () => {
  it("has defaults", () => {
    expect(parseCommand(["up"])).toEqual({ verb: "up", args: [], name: "lab", nodes: 3, ms: 300 });
    expect(parseCommand([]).verb).toBe("help");
  });

  it("takes its options anywhere", () => {
    expect(parseCommand(["partition", "node1", "--from=node2,control", "node3", "--name", "x"])).toEqual({
      verb: "partition", args: ["node1", "node3"], name: "x", nodes: 3, ms: 300, from: ["node2", "control"],
    });
  });

  it("knows how long and how much", () => {
    expect(parseCommand(["pause", "node1", "--ms", "50"])).toMatchObject({ verb: "pause", args: ["node1"], ms: 50 });
    expect(parseCommand(["loss", "2.5"])).toMatchObject({ verb: "loss", args: ["2.5"] });
  });

  it("knows the kinds of labs", () => {
    expect(parseCommand(["up", "--full"])).toMatchObject({ verb: "up", full: { family: "ipv4", proxyMode: "iptables", driver: "namespaces" } });
    expect(parseCommand(["up", "--full", "--family=ipv6", "--proxy-mode", "nftables"])).toMatchObject({ full: { family: "ipv6", proxyMode: "nftables" } });
    expect(parseCommand(["up", "--kind", "--nodes", "2"])).toMatchObject({ nodes: 2, full: { driver: "kind" } });
  });

  it("leaves to kubectl and exec what follows their first argument", () => {
    expect(parseCommand(["kubectl", "--name", "x", "get", "pods", "--name", "y"])).toMatchObject({ name: "x", args: ["get", "pods", "--name", "y"] });
    expect(parseCommand(["exec", "client", "curl", "--name", "y"])).toMatchObject({ name: "lab", args: ["client", "curl", "--name", "y"] });
    expect(parseCommand(["kubectl", "-n", "a", "get", "--help"])).toMatchObject({ args: ["-n", "a", "get", "--help"] });
  });

  it.each([
    [["frob"], /no verb 'frob'/],
    [["constructor"], /no verb 'constructor'/],
    [["up", "x"], /takes no 'x'/],
    [["poweroff"], /needs the name of a node/],
    [["loss"], /needs a number/],
    [["loss", "node1"], /takes one number/],
    [["loss", "2", "3"], /takes one number/],
    [["exec"], /needs the name of a host/],
    [["herald", "restart"], /start and stop/],
    [["up", "--nodes"], /--nodes needs a value/],
    [["up", "--full", "--kind"], /not both/],
    [["up", "--family", "ipv6"], /say '--full' too/],
    [["up", "--full", "--family", "ipv5"], /ipv4 or ipv6/],
    [["up", "--full", "--proxy-mode", "ipvs"], /iptables or nftables/],
    [["down", "--full"], /is for 'up'/],
  ])("refuses %j with a sentence", (argv, message) => {
    expect(() => parseCommand(argv)).toThrow(message);
  });
});
