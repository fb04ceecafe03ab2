package faults

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/programtest"
)

func TestMain(m *testing.M) {
	if race {
		programtest.Main(m, "-race")
	}
	programtest.Main(m)
}

// rounds of a scenario: n, or n times NEXUS_SOAK.
func rounds(t *testing.T, n int) int {
	t.Helper()
	if v := os.Getenv("NEXUS_SOAK"); v != "" {
		times, err := strconv.Atoi(v)
		if err != nil || times < 1 {
			t.Fatalf("NEXUS_SOAK=%s is not a number of times", v)
		}
		if times == 1 { // as in `make soak`
			times = soakTimes
		}
		return n * times
	}
	return n
}

// soakTimes is how many quick forms the long form is.
const soakTimes = 20

// seeded is the randomness of a test, whose seed it prints.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("NEXUS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("NEXUS_SEED=%s: %v", s, err)
		}
	}
	t.Logf("seed %d (set NEXUS_SEED to repeat it)", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func wait(d time.Duration) { <-time.After(d) }

// between is a random time.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)+1))
}
