package emitters

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/nexusblueprint/nexus/ports"
)

func TestJudge_a_broker_without_room(t *testing.T) {
	err := judge(fmt.Errorf("producing: %w", kerr.PolicyViolation))
	if !errors.Is(err, ports.ErrBusUnavailable) || !errors.Is(err, ports.ErrLogFull) || !errors.Is(err, kerr.PolicyViolation) {
		t.Errorf("got %v, want ports.ErrBusUnavailable and ports.ErrLogFull over the broker's error", err)
	}
	if err := judge(kerr.NotLeaderForPartition); errors.Is(err, ports.ErrLogFull) {
		t.Errorf("got %v for an error that says nothing about room", err)
	}
}
