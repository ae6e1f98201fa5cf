#!/usr/bin/env bash
# Process 1 of a node of the full lab. It runs in namespaces of its own (network, mounts, processes, host name), makes
# the machine's folders the node's, starts what a node runs, and starts it again when it ends. Killing it is the power cut.
#
#   node-init.sh NODE LAB_FOLDER DISK CONFIG LOGS    programs and flags come in the environment
set -u
node=$1 lab=$2 disk=$3 config=$4 logs=$5

# What a running system has in /run is new at every start. The lab's folder may be below it and stays visible.
run=$config/run
mkdir -p "$run"
mount -t tmpfs -o mode=755 "run-$node" "$run"
if [[ $lab == /run/* ]]; then
  mkdir -p "$run/${lab#/run/}"
  mount --bind "$lab" "$run/${lab#/run/}"
fi
mount --rbind "$run" /run
mkdir -p /run/lock /run/netns /etc/cni/net.d /var/lib/containerd /var/lib/kubelet /var/lib/cni

for folder in containerd kubelet cni; do
  mkdir -p "$disk/$folder"
  mount --bind "$disk/$folder" "/var/lib/$folder"
done
mkdir -p "$logs/$node"
mount --bind "$logs/$node" /var/log
mount --bind "$config/net.d" /etc/cni/net.d

# Pods that use the node's resolver find none: nothing of the lab asks the machine's.
mount --bind "$config/resolv.conf" "$(readlink -f /etc/resolv.conf)"
if [[ -e /etc/machine-id ]]; then mount --bind "$config/machine-id" /etc/machine-id; fi
# A kubelet would set these for the whole machine; here it sets files. A start is a boot of its own.
for file in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  if [[ -e /proc/sys/$file ]]; then
    cat "/proc/sys/$file" >"$config/${file//\//.}"
    mount --bind "$config/${file//\//.}" "/proc/sys/$file"
  fi
done
cat /proc/sys/kernel/random/uuid >"$config/boot_id"
mount --bind "$config/boot_id" /proc/sys/kernel/random/boot_id

mount --make-rshared /
hostname "$node"

# Restarts a program when it ends, as an init system does. keep NAME PROGRAM [ARGUMENTS]
keep() {
  local name=$1
  shift
  while :; do
    "$@" >>"$logs/$name-$node.log" 2>&1
    sleep 0.5
  done &
}

keep containerd "$CONTAINERD" --config "$config/containerd.toml"
until [[ -S /run/containerd/containerd.sock ]] && "$CTR" version >/dev/null 2>&1; do sleep 0.05; done
# Images survive a power cut on the disk.
if [[ ! -e $disk/images ]]; then
  for image in $IMAGES; do "$CTR" --namespace k8s.io images import "$image" >>"$logs/containerd-$node.log" 2>&1; done
  touch "$disk/images"
fi

# Both are there once the API server is.
until [[ -s $config/kubelet.kubeconfig && -s $config/kube-proxy.kubeconfig ]]; do sleep 0.05; done
read -ra kube_proxy_flags <<<"$KUBE_PROXY_FLAGS"
read -ra kubelet_flags <<<"$KUBELET_FLAGS"
keep kube-proxy "$KUBE_PROXY" "${kube_proxy_flags[@]}"
keep kubelet "$KUBELET" "${kubelet_flags[@]}"

# Orphans of every container end up here and are buried by the shell.
while :; do wait; sleep 1; done
