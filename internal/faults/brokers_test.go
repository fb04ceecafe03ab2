package faults

import (
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/soak"
)

// The only broker goes away, cleanly and not, and comes back on its data.
func (s *stage) restarts(t *testing.T) {
	random := soak.Seeded(t)
	s.whole(t)
	tr := s.traffic(t, s.front)
	finish := s.load(t, s.front)
	for round := range soak.Rounds(t, 2) {
		tr.goesOn(t, 10)
		wait(between(random, 0, 500*time.Millisecond))
		how, end := "killed", s.kafka.Kill
		if round%2 == 0 {
			how, end = "stopped", s.kafka.Stop
		}
		s.silence(t, tr, "the broker, "+how, func() { end(t, 1) })
		s.kafka.Start(t, 1)
		s.recovers(t, tr)
	}
	finish()
	tr.stop(t)
	s.verdict(t, s.front)
}

// Of three brokers one may be away. With two away nothing is acknowledged, because
// it might be lost, and all that was is there when they are back.
func TestThreeBrokers(t *testing.T) {
	random := soak.Seeded(t)
	kafka := kafkatest.Three(t)
	s := newStage(t, kafka)
	tr := s.traffic(t, s.front)
	finish := s.load(t, s.front)
	for range soak.Rounds(t, 1) {
		tr.goesOn(t, 10)
		away := random.Perm(3)
		first, second := away[0]+1, away[1]+1
		kafka.Kill(t, first)
		s.recovers(t, tr)
		tr.goesOn(t, 50)
		t.Logf("broker %d of three is killed, and writes go on", first)

		kafka.Kill(t, second)
		s.silence(t, tr, "two of three brokers, killed", func() {})
		kafka.Start(t, first)
		kafka.Start(t, second)
		kafka.Whole(t)
		s.recovers(t, tr)
	}
	finish()
	tr.stop(t)
	s.verdict(t, s.front)
}
