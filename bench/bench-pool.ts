/** The pool of the benches that run in a lab, 2,048 addresses on the nodes' own segment, and its advertisement. */
export const BENCH_POOL = `apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: bench, namespace: metallb-system}
spec: {addresses: ["172.20.248.0/21"]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: bench, namespace: metallb-system}
spec: {}
`;
