package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/processors/engine"
)

// A group whose offsets are gone and whose table is filled must not begin at the
// start: its commands would be counted twice. It goes on where an operator says.
func TestLostPlace_IsRefused(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		adm := kadm.NewClient(b.Client(t))
		s := openStore(t, t.TempDir())
		total := uint64(0)
		for _, lose := range []struct {
			name string
			how  func() error
		}{
			{"the whole group", func() error {
				rs, err := adm.DeleteGroups(t.Context(), n.Group)
				return errors.Join(err, rs.Error())
			}},
			{"its offsets", func() error {
				gone := kadm.TopicsSet{}
				for p := range int32(partitions) {
					gone.Add(n.Commands, p)
				}
				rs, err := adm.DeleteOffsets(t.Context(), n.Group, gone)
				return errors.Join(err, rs.Error())
			}},
		} {
			n.produce(t, b, total+1, total+400, 100, 0)
			total += 400
			r := start(t, b, newEngine(t, b, n.Group, withStore(s)), n.graph(0))
			n.drained(t, b, 20*time.Second)
			r.stop()
			at, err := adm.FetchOffsets(t.Context(), n.Group)
			must(t, err)
			must(t, lose.how())

			for _, change := range []func(*engine.Config){withStore(s), withID("b")} { // with the table here, and without
				e := newEngine(t, b, n.Group, change)
				var lost *engine.LostPlaceError
				if err := start(t, b, e, n.graph(0)).end(); err == nil || !errors.As(e.Err(), &lost) {
					t.Fatalf("%s lost: Run returned %v, Err %v", lose.name, err, e.Err())
				}
				if lost.Group != n.Group || lost.Table != n.Table || fmt.Sprint(lost.Inputs) != "["+n.Commands+"]" || !strings.Contains(e.Err().Error(), "docs/how-to/operate.md") {
					t.Errorf("%s lost: %v", lose.name, e.Err())
				}
			}
			must(t, adm.CommitAllOffsets(t.Context(), n.Group, at.Offsets()))
		}
		n.produce(t, b, total+1, total+400, 100, 0)
		r := start(t, b, newEngine(t, b, n.Group, withStore(s)), n.graph(0))
		n.drained(t, b, 20*time.Second)
		r.stop()
		n.verify(t, b, total+400, 100)
	})
}

// The rows of one partition may come from the events of all: whoever holds another one
// must not hand these events out again. Rows over inputs that never held a record do
// not come from them.
func TestLostPlace_IsThatOfTheGroup(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		n.produce(t, b, 1, 50, 1, 0) // one key: all other partitions stay empty
		r := start(t, b, newEngine(t, b, n.Group), n.graph(0))
		n.drained(t, b, 20*time.Second)
		r.stop()
		adm := kadm.NewClient(b.Client(t))
		filled := engine.PartitionOf(string(keyOf(0, 1)), partitions)
		e := newEngine(t, b, n.Group)
		_, err := newProcessor(b, e, n.graph(0))
		must(t, err)
		other := (filled + 1) % partitions
		if err := e.LostPlace(t.Context(), other, n.Commands); err != nil {
			t.Errorf("with its offset: %v", err)
		}
		rs, err := adm.DeleteGroups(t.Context(), n.Group)
		must(t, errors.Join(err, rs.Error()))
		var lost *engine.LostPlaceError
		if err := e.LostPlace(t.Context(), other, n.Commands); !errors.As(err, &lost) || lost.Partition != filled {
			t.Errorf("without it: %v", err)
		}
		unused := n.Commands + "-unused"
		b.Create(t, kafkatest.Topic{Name: unused, Partitions: partitions})
		if err := e.LostPlace(t.Context(), filled, unused); err != nil {
			t.Errorf("over an input without a record: %v", err)
		}
	})
}
