//go:build tools

// Package helm pins the helm that the lab installs charts with. Nothing here is compiled
// into Herald; scripts/setup builds the command from its published module.
package helm

import _ "helm.sh/helm/v3/cmd/helm"
