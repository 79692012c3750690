package websocket

import (
	"testing"

	"pgregory.net/rapid"
)

// TestGuardSeesTheSameInEveryCut: what the guard lets pass does not depend on how the octets come, and nothing passes behind a breach.
func TestGuardSeesTheSameInEveryCut(t *testing.T) {
	octet := rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte{0x81, 0x80, 0x88, 0xc1, 0xfe, 0xff, 0x01, 0x00}))
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(octet, 0, 300).Draw(t, "octets")
		var whole, parts guard
		want, got := whole.check(all), 0
		for rest := all; len(rest) > 0 && parts.err == nil; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			got += parts.check(rest[:n])
			rest = rest[n:]
		}
		if got != want || (whole.err == nil) != (parts.err == nil) {
			t.Fatalf("%d octets pass at once (%v), %d in pieces (%v)", want, whole.err, got, parts.err)
		}
		if whole.err == nil && want != len(all) {
			t.Fatalf("%d of %d octets pass without a breach", want, len(all))
		}
	})
}
