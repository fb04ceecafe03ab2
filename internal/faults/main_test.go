package faults

import (
	"math/rand/v2"
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

func wait(d time.Duration) { <-time.After(d) }

// between is a random time.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)+1))
}
