/** The allocator's metrics, under MetalLB's names, read when somebody scrapes. */
import { Gauge, type Registry } from "prom-client";
import type { Allocator } from "./allocator/allocator.ts";
import type { AddressCount } from "./allocator/pool-table.ts";

type Pick = (counts: { ipv4: AddressCount; ipv6: AddressCount }) => bigint;

const GAUGES: readonly { readonly name: string; readonly help: string; readonly pick: Pick }[] = [
  { name: "addresses_total", help: "Number of usable IP addresses, per pool.", pick: ({ ipv4, ipv6 }) => ipv4.total + ipv6.total },
  { name: "addresses_in_use_total", help: "Number of IP addresses in use, per pool.", pick: ({ ipv4, ipv6 }) => ipv4.inUse + ipv6.inUse },
  { name: "ipv4_addresses_total", help: "Number of usable IPv4 addresses, per pool.", pick: ({ ipv4 }) => ipv4.total },
  { name: "ipv4_addresses_in_use_total", help: "Number of IPv4 addresses in use, per pool.", pick: ({ ipv4 }) => ipv4.inUse },
  { name: "ipv6_addresses_total", help: "Number of usable IPv6 addresses, per pool.", pick: ({ ipv6 }) => ipv6.total },
  { name: "ipv6_addresses_in_use_total", help: "Number of IPv6 addresses in use, per pool.", pick: ({ ipv6 }) => ipv6.inUse },
];

const NONE: AddressCount = { total: 0n, inUse: 0n, available: 0n };

/** Adds the gauges metallb_allocator_* with label `pool`; a pool's series goes with the pool. */
export function registerAllocatorMetrics(registry: Registry, allocator: Allocator): void {
  for (const { name, help, pick } of GAUGES) {
    registry.registerMetric(new Gauge({
      name: `metallb_allocator_${name}`,
      help,
      labelNames: ["pool"],
      registers: [],
      collect() {
        this.reset();
        for (const pool of allocator.poolNames()) {
          const counts = { ipv4: allocator.count(pool, "IPv4") ?? NONE, ipv6: allocator.count(pool, "IPv6") ?? NONE };
          this.set({ pool }, Number(pick(counts)));
        }
      },
    }));
  }
  registry.registerMetric(new Gauge({
    name: "metallb_allocator_services_allocated_total",
    help: "Number of services that hold an address, per pool.",
    labelNames: ["pool"],
    registers: [],
    collect() {
      this.reset();
      for (const pool of allocator.poolNames()) this.set({ pool }, 0);
      for (const { pool } of allocator.holdings().values()) this.inc({ pool });
    },
  }));
}
