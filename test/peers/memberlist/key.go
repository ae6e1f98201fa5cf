package main

import "crypto/sha256"

// deriveKey makes the key that MetalLB makes of its secret: the text followed by the hash of nothing, cut at 32 bytes.
// An empty secret is no key.
func deriveKey(secret string) []byte {
	if secret == "" {
		return nil
	}
	return sha256.New().Sum([]byte(secret))[:32]
}
