package emitters

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestJudge_a_broker_without_room(t *testing.T) {
	err := judge(fmt.Errorf("producing: %w", kerr.PolicyViolation))
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, ErrFull) || !errors.Is(err, kerr.PolicyViolation) {
		t.Errorf("got %v, want ErrUnavailable and ErrFull over the broker's error", err)
	}
	if err := judge(kerr.NotLeaderForPartition); errors.Is(err, ErrFull) {
		t.Errorf("got %v for an error that says nothing about room", err)
	}
}
