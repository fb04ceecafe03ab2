// Package soak says how long the tests that kill and disturb go on, and by what chance.
package soak

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Rounds is how many rounds a test makes: n, or n times NEXUS_SOAK.
func Rounds(t testing.TB, n int) int {
	t.Helper()
	v := os.Getenv("NEXUS_SOAK")
	if v == "" {
		return n
	}
	times, err := strconv.Atoi(v)
	if err != nil || times < 1 {
		t.Fatalf("NEXUS_SOAK=%s is not a number of times", v)
	}
	return n * times
}

// Seeded is a source of chance whose seed is in the test's log; NEXUS_SEED repeats it.
func Seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if v := os.Getenv("NEXUS_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("NEXUS_SEED=%s: %v", v, err)
		}
	}
	t.Logf("seed %d (set NEXUS_SEED to repeat it)", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
