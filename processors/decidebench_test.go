package processors

import (
	"fmt"
	"testing"

	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/shop"
)

// BenchmarkDecide is one command of an aggregate that is well known: decoded,
// decided, folded, its event, outcome and state encoded.
func BenchmarkDecide(b *testing.B) {
	stock, _ := shop.Topology().Aggregate("stock")
	d := &decider{
		aggregate: stock, framer: testFramer{}, checkState: func(string, int) error { return nil },
		remembered: func(int32, string) (*platform.Outcome, error) { return nil, nil },
	}
	frame := func(c *platform.CommandMetadata) []byte {
		framed, err := testFramer{}.Append(nil, c)
		if err != nil {
			b.Fatal(err)
		}
		return framed
	}
	const perKey = 10
	var inputs [1000]input
	for i := range inputs {
		command, err := testFramer{}.Append(nil, adjust("mug", 1, fmt.Sprint("reference ", i%perKey)))
		if err != nil {
			b.Fatal(err)
		}
		meta := frame(&platform.CommandMetadata{CommandID: fmt.Sprintf("0199%08d-0000-4000-8000-000000000000", i), Actor: "me", CorrelationID: "c"})
		inputs[i] = input{source: source{key: "mug", value: command, headers: map[string][]byte{serde.MetaHeader: meta}, timestamp: start}, at: start}
	}
	var table []byte
	b.ReportAllocs()
	for i := range b.N {
		in := inputs[i%len(inputs)]
		if i%perKey > 0 {
			in.table = table
		}
		eff := d.decide(in)
		if eff.outcome == nil || eff.outcome.Kind != platform.OutcomeKindAccepted {
			b.Fatalf("%+v", eff)
		}
		table = eff.table
	}
}
