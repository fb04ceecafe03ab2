package bodyhash

import (
	"encoding/hex"
	"testing"

	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// The sum is part of the log's format: a changed one would make every
// repetition of a recorded command look like another command.
func TestSum_is_pinned(t *testing.T) {
	sum := Sum("shop.order.PlaceOrder", platform.ExpectationExact, 7, []byte("body"))
	const pinned = "14457d700df23203c47ad9a29895dd0a"
	if got := hex.EncodeToString(sum[:]); got != pinned {
		t.Errorf("sum %s, the log has %s", got, pinned)
	}
}

func TestSum_differs_in_each_part(t *testing.T) {
	seen := map[platform.BodyHash]string{}
	for name, sum := range map[string]platform.BodyHash{
		"base":             Sum("a.B", platform.ExpectationExact, 1, []byte("x")),
		"type":             Sum("a.C", platform.ExpectationExact, 1, []byte("x")),
		"expectation":      Sum("a.B", platform.ExpectationExists, 1, []byte("x")),
		"expected version": Sum("a.B", platform.ExpectationExact, 2, []byte("x")),
		"body":             Sum("a.B", platform.ExpectationExact, 1, []byte("y")),
		"shifted border":   Sum("a.Bx", platform.ExpectationExact, 1, nil),
	} {
		if other, twice := seen[sum]; twice {
			t.Errorf("%s and %s make the same sum", name, other)
		}
		seen[sum] = name
	}
}
