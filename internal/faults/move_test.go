package faults

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/internal/soak"
)

// All scenarios of one broker share it, and the orders that are loaded: each ends
// with a verdict over everything that happened before it, too.
func TestOneBroker(t *testing.T) {
	s := newStage(t, kafkatest.Dedicated(t))
	t.Run("instances join and leave", s.joinAndLeave)
	t.Run("instances are killed", s.kills)
	t.Run("an instance sleeps past its timeouts and wakes up", s.zombie)
	t.Run("two processes have one name", s.twins)
	t.Run("each aggregate is linearizable", s.histories)
	t.Run("links are slow, silent and cut", s.links)
	t.Run("the broker is stopped and killed", s.restarts)
}

// Partitions move every few seconds, by members that come and go cleanly.
func (s *stage) joinAndLeave(t *testing.T) {
	random := soak.Seeded(t)
	guests := []*programtest.Process{s.guest(t, "guest-1"), s.guest(t, "guest-2")}
	s.whole(t)
	tr := s.traffic(t, s.front)
	finish := s.load(t, s.front)
	moves, first := 0, generation(s.back)
	for range soak.Rounds(t, 4) {
		guest := guests[random.IntN(len(guests))]
		here := []*programtest.Process{s.back}
		if !guest.Runs() {
			run(t, guest)
		} else {
			guest.Stop(t)
		}
		for _, g := range guests {
			if g.Runs() {
				here = append(here, g)
			}
		}
		s.shared(t, here...)
		moves++
		tr.goesOn(t, 5)
		wait(between(random, 0, time.Second))
	}
	settle(t, guests...)
	s.shared(t, s.back)
	tr.goesOn(t, 5)
	finish()
	tr.stop(t)
	s.verdict(t, s.front)
	if grown := generation(s.back) - first; grown < moves {
		t.Errorf("%d instances came and went and the group's generation grew by %d: they did not move anything", moves, grown)
	}
	t.Logf("%d moves, %d commands acknowledged meanwhile", moves, tr.acked.Load())
}

// Whoever is killed is started again under its name, at once, by whatever runs it.
func (s *stage) kills(t *testing.T) {
	random := soak.Seeded(t)
	s.whole(t)
	tr := s.traffic(t, s.front)
	finish := s.load(t, s.front)
	before := s.aborts(t)
	victims := []*programtest.Process{s.back, s.front, s.mirror}
	n, aborted := soak.Rounds(t, 6), 0
	// Kills that meet no transaction prove nothing: go on until one has.
	for round := 0; round < n || aborted == 0 && round < 3*n; round++ {
		victim := victims[round%len(victims)]
		tr.goesOn(t, 1)
		wait(between(random, 0, 500*time.Millisecond))
		missed := tr.missed.Load()
		victim.Kill(t)
		switch victim { // the proof for the processors is in the log, see below
		case s.front:
			programtest.Eventually(t, "a client misses the gateway that was killed", func() bool { return tr.missed.Load() > missed })
		case s.mirror:
			s.behind(t)
		}
		run(t, victim)
		tr.goesOn(t, 10)
		if round >= n-1 {
			aborted = s.aborts(t) - before
		}
	}
	finish()
	tr.stop(t)
	s.verdict(t, s.front)
	t.Logf("%d kills or more, in turn of processors, gateway and sink, left %d markers of aborted transactions, and %d answers were missed", n, aborted, tr.missed.Load())
	if aborted == 0 {
		t.Error("no kill met a transaction: this proves nothing")
	}
}

// behind waits until the read models lag and stand still, for want of a sink.
func (s *stage) behind(t *testing.T) {
	t.Helper()
	programtest.Eventually(t, "the read models fall behind", func() bool {
		a := ask(t.Context(), http.MethodGet, s.front.API()+"/api/queries/products?limit=1", "")
		return a.status == http.StatusOK && number(a.body["lagRecords"]) > 10
	})
}

// The sleeper's partitions go to another. When it wakes up it must not go on where it
// was, for what it had open was aborted. If it hears of that before it has joined its
// group again it cannot tell a sleep from a twin, and ends; else it begins anew.
func (s *stage) zombie(t *testing.T) {
	for range soak.Rounds(t, 1) {
		sleeper := s.guest(t, "sleeper")
		s.whole(t)
		run(t, sleeper)
		s.shared(t, s.back, sleeper)
		tr := s.traffic(t, s.front)
		finish := s.load(t, s.front)
		before := s.aborts(t)
		tr.goesOn(t, 10)
		sleeper.Signal(t, syscall.SIGSTOP)
		s.shared(t, s.back)
		tr.goesOn(t, 10)
		slept := len(sleeper.Log.String())
		sleeper.Signal(t, syscall.SIGCONT)
		programtest.Eventually(t, "the sleeper ends or is in the group again", func() bool {
			return sleeper.Ended() || s.owners(stockGroup)[sleeper.Name] > 0
		})
		tr.goesOn(t, 10, sleeper) // which may be in this group and shut out of another
		finish()
		tr.stop(t)
		if !sleeper.Ended() {
			sleeper.Signal(t, syscall.SIGTERM)
		}
		code, log := sleeper.Exit(t), sleeper.Log.String()[slept:]
		switch {
		case code == 1 && strings.Contains(log, "slept past its timeouts"):
			t.Log("the sleeper was shut out")
		case code == 0 && strings.Contains(log, "msg=running"):
			t.Log("the sleeper began anew")
		default:
			t.Errorf("the sleeper ended with %d:\n%s", code, programtest.Tail(log))
		}
		s.verdict(t, s.front)
		if aborted := s.aborts(t) - before; aborted == 0 {
			t.Error("the sleeper had no transaction open: this proves little")
		}
	}
}

// Of two processes with one name the older is shut out and ends. On a busy machine it may
// have joined a group again before it hears of the younger, which is then shut out of it
// and ends, too: whoever runs it starts it again.
func (s *stage) twins(t *testing.T) {
	for range soak.Rounds(t, 1) {
		older := s.instance(t, "twin", "processors", programtest.Settings{"leaveOnStop": "true"})
		s.whole(t)
		run(t, older)
		s.shared(t, s.back, older)
		tr := s.traffic(t, s.front)
		finish := s.load(t, s.front)
		younger := s.instance(t, "twin", "processors", programtest.Settings{"leaveOnStop": "true", "data": older.Data + "-2"})
		younger.Begin(t)
		shutOut := func(p *programtest.Process) {
			if code := p.Exit(t); code != 1 || !strings.Contains(p.Log.String(), "another process runs under this instance's name") {
				t.Errorf("%s of %s ended with %d:\n%s", p.Name, p.Data, code, programtest.Tail(p.Log.String()))
			}
		}
		again := func() {
			if younger.Ended() {
				shutOut(younger)
				younger.Begin(t)
				t.Log("the younger was shut out, too")
			}
		}
		programtest.Eventually(t, "the older ends", func() bool { again(); return older.Ended() })
		shutOut(older)
		programtest.Eventually(t, "the younger is ready, in all its groups", func() bool {
			again()
			_, err := os.Stat(filepath.Join(younger.Data, "endpoints.json"))
			return err == nil
		})
		s.shared(t, s.back, younger)
		tr.goesOn(t, 10)
		settle(t, younger)
		s.shared(t, s.back)
		finish()
		tr.stop(t)
		s.verdict(t, s.front)
	}
}
