import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, it, vi } from "vitest";
import type { CommandOptions, CommandResult } from "../lab.ts";
import { labFolder } from "../state.ts";
import { KindLab, type RunProgram, checkKindPossible } from "./kind-lab.ts";

const OK: CommandResult = { code: 0, stdout: "", stderr: "" };

/** A machine with Docker and kind, whose programs note what they were asked and answer by what a test says. */
class FakeMachine {
  readonly asked: string[] = [];
  readonly inputs = new Map<string, string>();
  readonly #answers: readonly (readonly [RegExp, Partial<CommandResult>])[];

  constructor(...answers: readonly (readonly [RegExp, Partial<CommandResult>])[]) {
    this.#answers = answers;
  }

  readonly run: RunProgram = async (program: string, argv: readonly string[], options?: CommandOptions) => {
    const line = [program.split("/").at(-1), ...argv].join(" ");
    this.asked.push(line);
    if (options?.input !== undefined) this.inputs.set(line, options.input);
    return { ...OK, ...this.#answers.find(([pattern]) => pattern.test(line))?.[1] };
  };

  /** What was asked since the last call. */
  take(): string[] {
    return this.asked.splice(0);
  }
}

const ADDRESSES = [/^docker inspect .*Networks.* k-worker$/, { stdout: "172.18.0.3 fc00:f853::3\n" }] as const;

describe("a lab on kind, at the door to docker and kind", () => {
  const home = mkdtempSync(join(tmpdir(), "kind-lab-"));

  beforeEach(() => {
    vi.stubEnv("XDG_STATE_HOME", home);
    // kubectl and helm are found; the fake machine plays them.
    for (const program of ["kubectl", "helm"]) writeFileSync(join(home, program), "", { mode: 0o755 });
    vi.stubEnv("KUBEBUILDER_ASSETS", home);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
  });
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  it("refuses a machine without an engine, and says what needs none", async () => {
    const machine = new FakeMachine([/^docker info/, { code: 1, stderr: "Cannot connect to the Docker daemon\nmore" }]);
    await assert.rejects(checkKindPossible(machine.run), { name: "LabUnavailable", message: /needs a Docker engine, and there is none here: Cannot connect to the Docker daemon\. 'scripts\/lab up --full' needs none/ });
    await assert.rejects(KindLab.up({ name: "k", run: machine.run }), { name: "LabUnavailable" });
    assert.ok(machine.asked.every((line) => line.startsWith("docker info")));
  });

  it("refuses a machine without kind", async () => {
    const machine = new FakeMachine([/^kind version/, { code: 127 }]);
    await assert.rejects(checkKindPossible(machine.run), { name: "LabUnavailable", message: /needs the program kind in PATH/ });
  });

  /** A lab on that machine, and nothing asked yet. */
  async function labOn(machine: FakeMachine): Promise<KindLab> {
    const lab = await KindLab.up({ name: "k", nodes: 2, proxyMode: "nftables", run: machine.run });
    machine.take();
    return lab;
  }

  it("asks kind for both families and the proxy mode, and is found again until it is down", async () => {
    const machine = new FakeMachine([/^docker inspect .*Image/, { stdout: "sha256:node\n" }]);
    const lab = await KindLab.up({ name: "k", nodes: 2, proxyMode: "nftables", run: machine.run });
    const create = `kind create cluster --name k --config - --kubeconfig ${lab.kubeconfig} --wait 120s`;
    const config = JSON.parse(machine.inputs.get(create) ?? "") as { networking: object; nodes: { role: string }[] };
    assert.deepEqual(config.networking, { ipFamily: "dual", kubeProxyMode: "nftables" });
    assert.deepEqual(config.nodes.map(({ role }) => role), ["control-plane", "worker", "worker"]);
    assert.ok(machine.asked.includes("docker run --detach --name k-client --network kind --cap-add NET_ADMIN --entrypoint sleep sha256:node infinity"));
    assert.deepEqual(KindLab.find("k", machine.run)?.nodes, ["k-worker", "k-worker2"]);
    machine.take();
    await lab.down();
    assert.deepEqual(machine.take(), ["docker rm --force k-client", "kind delete cluster --name k"]);
    assert.equal(KindLab.find("k", machine.run), undefined);
    assert.ok(!existsSync(labFolder("k").path));
  });

  it("leaves nothing when the cluster does not start", async () => {
    const machine = new FakeMachine([/^kind create/, { code: 1, stderr: "no space" }]);
    await assert.rejects(KindLab.up({ name: "k", run: machine.run }), /no space/);
    assert.deepEqual(machine.asked.slice(-2), ["docker rm --force k-client", "kind delete cluster --name k"]);
    assert.equal(KindLab.find("k", machine.run), undefined);
  });

  it("cuts the cable before the power, and gives a node its addresses back", async () => {
    const machine = new FakeMachine(ADDRESSES);
    const lab = await labOn(machine);
    await lab.powerOff("k-worker");
    assert.deepEqual(machine.take().slice(1), ["docker network disconnect kind k-worker", "docker kill k-worker"]);
    // Another command, and so another process, undoes it.
    await KindLab.find("k", machine.run)?.restore("k-worker");
    assert.deepEqual(machine.take().slice(0, 2), ["docker network connect --ip 172.18.0.3 --ip6 fc00:f853::3 kind k-worker", "docker start k-worker"]);
    await lab.restore("k-worker");
    assert.ok(!machine.take().some((line) => line.startsWith("docker network")));
    await lab.down();
  });

  it("drops what passes between a node and the API server, in both families", async () => {
    const machine = new FakeMachine([/^docker inspect .*Networks.* k-control-plane$/, { stdout: "172.18.0.2 fc00:f853::2\n" }]);
    const lab = await labOn(machine);
    await lab.dropApi("k-worker2");
    const script = machine.take().at(-1) ?? "";
    assert.match(script, /^docker exec k-worker2 sh -ec /);
    assert.match(script, /\niptables -A LAB-FAULTS -d 172\.18\.0\.2 -p tcp --dport 6443 -j DROP\n/);
    assert.match(script, /\nip6tables -A LAB-FAULTS -s fc00:f853::2 -p tcp --sport 6443 -j DROP$/);
    await lab.down();
  });

  it("refuses a host that is not there", async () => {
    const machine = new FakeMachine();
    const lab = await labOn(machine);
    assert.throws(() => lab.exec("node9", ["true"]), /no host 'node9'/);
    assert.deepEqual(machine.take(), []);
    await lab.down();
  });

  it("says when no speaker runs on a node", async () => {
    const machine = new FakeMachine([/pkill/, { code: 1 }]);
    const lab = await labOn(machine);
    await assert.rejects(lab.crashSpeaker("k-worker"), /no speaker runs on k-worker/);
    await lab.down();
  });
});
