package main

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/processors/engine"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// awkward is a command as no load generator would send it.
type awkward struct {
	key, id  string
	expect   platform.Expectation
	version  int64
	quantity int32
	booking  string
}

func awkwardCommands(now time.Time) (all []awkward) {
	add := func(key string, n int, expect platform.Expectation, version int64) {
		all = append(all, awkward{key, commandID(now, n), expect, version, 5, commandID(now, n)[30:]})
	}
	for n := range 12 { // more than a row remembers
		add("a", n, platform.ExpectationAny, 0)
	}
	all = append(all, all[11], all[0]) // repeated: in the row; in the memory alone
	reused := all[1]
	reused.quantity++
	all = append(all, reused)
	add("a", 20, platform.ExpectationExact, 12)
	add("a", 21, platform.ExpectationExact, 12)
	add("a", 22, platform.ExpectationAbsent, 0)
	add("b", 23, platform.ExpectationExists, 0)
	all = append(all, all[len(all)-1]) // no row to remember it
	add("b", 24, platform.ExpectationAbsent, 0)
	add("b", 25, platform.ExpectationExists, 0)
	return append(all,
		awkward{"b", commandID(now, 26), 0, 0, 0, "zero"},
		awkward{"b", commandID(now, 27), 0, 0, 3, all[len(all)-1].booking},
		awkward{"b", commandID(now.Add(-10*time.Minute), 28), 0, 0, 3, "stale"},
		awkward{"c", "import-1", 0, 0, -3, "other form"},
		awkward{"c", "import-1", 0, 0, -3, "other form"},
		awkward{"c", "import-1", 0, 0, -4, "other form"},
		awkward{"c", "import-2", 0, 0, 4, "größer"},
	)
}

func (s *stack) produceAwkward(ctx context.Context, all []awkward, at time.Time) error {
	cl, err := kgo.NewClient(s.opts(kgo.RecordPartitioner(engine.Partitioner()))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, a := range all {
		header, err := s.serde.Append(nil, &platform.CommandMetadata{
			CommandID: a.id, Expectation: a.expect, ExpectedVersion: a.version, CorrelationID: "business", CausationID: a.id, Actor: "somebody",
		})
		if err != nil {
			return err
		}
		value, err := s.serde.Append(nil, &retail.AdjustStock{Sku: a.key, Description: "TEACUP", Quantity: a.quantity, Reference: a.booking})
		if err != nil {
			return err
		}
		rec := &kgo.Record{
			Topic: s.topology.Commands(s.topology.Aggregates[0]), Key: []byte(a.key), Value: value, Timestamp: at,
			Headers: []kgo.RecordHeader{{Key: serde.MetaHeader, Value: header}},
		}
		if err := cl.ProduceSync(ctx, rec).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}

// decisions are all that a contender made, in the order of each partition.
type decisions struct {
	Events   map[int32][]string // metadata and payload, byte for byte
	Outcomes map[int32][]platform.Outcome
	Rows     map[string]retail.StockTable
}

// decisionsOf runs a contender over the commands. Sentences for people are left
// out: the peer's are shorter.
func decisionsOf(t *testing.T, r *runner, kind string, all []awkward, at time.Time) decisions {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s, err := r.openStack(ctx, "kafka", benchTopology(false), map[string]string{"message.timestamp.type": "CreateTime"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	c, err := r.startContender(ctx, s, kind, "", t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.kill()
	if err := s.produceAwkward(ctx, all, at); err != nil {
		t.Fatal(err)
	}
	if _, err := c.reach(ctx, len(all)); err != nil {
		t.Fatal(err)
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	d := decisions{map[int32][]string{}, map[int32][]platform.Outcome{}, map[string]retail.StockTable{}}
	read := func(topic string, f func(*kgo.Record) error) {
		if err := s.each(ctx, topic, f); err != nil {
			t.Fatal(err)
		}
	}
	stock := s.topology.Aggregates[0]
	read(s.topology.Events(stock), func(rec *kgo.Record) error {
		d.Events[rec.Partition] = append(d.Events[rec.Partition], string(rec.Key)+"|"+string(serde.Metadata(rec)[serde.FrameBytes:])+"|"+string(rec.Value[serde.FrameBytes:]))
		return nil
	})
	read(s.topology.Outcomes(stock), func(rec *kgo.Record) error {
		var out platform.Outcome
		if err := s.serde.Decode(rec.Value, &out); err != nil {
			return err
		}
		out.Detail = ""
		for i := range out.Faults {
			out.Faults[i].Detail = ""
		}
		d.Outcomes[rec.Partition] = append(d.Outcomes[rec.Partition], out)
		return nil
	})
	read(s.tableOf(kind), func(rec *kgo.Record) error {
		var row retail.StockTable
		if err := s.serde.Decode(rec.Value, &row); err != nil {
			return err
		}
		for i := range row.Envelope.Recent {
			row.Envelope.Recent[i].Detail = ""
		}
		d.Rows[string(rec.Key)] = row
		return nil
	})
	return d
}

// The peer is a fair one only if it does the same work: also where a command is
// repeated, refused or rejected.
func TestStreamsPeer_decides_as_the_engine_does(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{short: true, root: root, dir: t.TempDir(), log: testLog{t}}
	at := avro.MillisOf(time.Now()).Time()
	all := awkwardCommands(at)
	want := decisionsOf(t, r, kindEngine, all, at)
	count := 0
	for _, outcomes := range want.Outcomes {
		count += len(outcomes)
	}
	if count != len(all) || len(want.Rows) != 3 {
		t.Fatalf("the engine made %d outcomes of %d commands and %d rows", count, len(all), len(want.Rows))
	}
	got := decisionsOf(t, r, kindExactly, all, at)
	if !reflect.DeepEqual(got.Events, want.Events) {
		t.Errorf("events differ:\n%q\n%q", got.Events, want.Events)
	}
	for partition, outcomes := range want.Outcomes {
		if len(got.Outcomes[partition]) != len(outcomes) {
			t.Errorf("%d outcomes in partition %d, want %d", len(got.Outcomes[partition]), partition, len(outcomes))
			continue
		}
		for i, w := range outcomes {
			if g := got.Outcomes[partition][i]; !reflect.DeepEqual(g, w) {
				t.Errorf("outcome %d of partition %d:\n%+v, want\n%+v", i, partition, g, w)
			}
		}
	}
	if !reflect.DeepEqual(got.Rows, want.Rows) {
		t.Errorf("rows differ:\n%+v\n%+v", got.Rows, want.Rows)
	}
}
