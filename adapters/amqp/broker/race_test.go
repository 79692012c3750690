//go:build race

package broker_test

// The race detector drops pooled values at random, so allocations are not counted.
const raceEnabled = true
