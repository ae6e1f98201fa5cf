//go:build tools

// Package metallb pins the MetalLB that the full lab puts beside Herald. Nothing here is compiled into Herald;
// scripts/setup builds the commands from their published module. What MetalLB shares with Kubernetes has the versions of
// test/lab/kubernetes/go.mod, so that all of it is compiled once.
package metallb

import (
	_ "go.universe.tf/metallb/controller"
	_ "go.universe.tf/metallb/speaker"
)
