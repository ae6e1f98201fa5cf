#!/usr/bin/env bash
# The CNI plugin of the full lab: ptp, in a network namespace whose IPv6 addresses can be used at once. Otherwise every
# pod waits a second or two until the kernel has found nobody else with its address.
if [[ $CNI_COMMAND == ADD ]]; then
  nsenter --net="$CNI_NETNS" bash -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad' 2>/dev/null
fi
exec "${0%/*}/ptp"
