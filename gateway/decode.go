package gateway

import (
	"runtime/debug"
	"sync"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/bodyhash"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

// commandKind is a command type that clients may send.
type commandKind struct {
	short, full string // "PlaceOrder", "shop.order.PlaceOrder"
	aggregate   topology.Aggregate
	schema      *avro.Schema
}

// loadCommands prepares the topology's commands. Their schemas are there.
func (g *Gateway) loadCommands() {
	g.kinds = map[string]*commandKind{}
	for _, a := range g.topology.Aggregates {
		for _, full := range a.Commands() {
			short := topology.ShortName(full)
			g.kinds[short] = &commandKind{short: short, full: full, aggregate: a, schema: g.schemaOf(full)}
		}
	}
}

// decode turns a JSON body into an order that is right in itself, or says all
// that is wrong with it. A panic of the domain's code fails the command alone:
// a batch has goroutines that no other guard covers.
func (g *Gateway) decode(k *commandKind, body []byte, id string, expect expectation, trace *string) (o *order, no *problem) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error("judging a command panicked", "command", k.full, "command_id", id, "panic", p, "stack", string(debug.Stack()))
			o, no = nil, problemf(codeInternal, "the command met a defect of the server; it was logged").of(id)
		}
	}()
	return k.decode(body, id, expect, trace)
}

func (k *commandKind) decode(body []byte, id string, expect expectation, trace *string) (*order, *problem) {
	scratch := avroBuffers.Get().(*[]byte)
	defer avroBuffers.Put(scratch)
	encoded, faults := avro.JSONToAvro((*scratch)[:0], k.schema, body)
	if cap(encoded) <= scratchBytesMax {
		*scratch = encoded
	}
	if len(faults) > 0 {
		return nil, faulty(codeInvalidCommand, asFaults(faults)...).of(id)
	}
	cmd := k.aggregate.NewCommand(k.full)
	if err := cmd.DecodeAvro(encoded); err != nil {
		// The schema let it pass, so this is a defect; it must not be sent all the same.
		return nil, problemf(codeInternal, "the command could not be read back from its encoding").of(id)
	}
	if faults := k.aggregate.Validate(cmd); len(faults) > 0 {
		return nil, faulty(codeInvalidCommand, faults...).of(id)
	}
	return &order{
		kind: k, command: cmd, aggregateID: k.aggregate.ID(cmd), id: id, expect: expect, trace: trace,
		hash: bodyhash.Sum(k.full, expect.kind, expect.version, encoded),
	}, nil
}

// scratchBytesMax keeps a rare giant from staying in the pool.
const scratchBytesMax = 64 << 10

var avroBuffers = sync.Pool{New: func() any { return new([]byte) }}

func asFaults(faults []avro.Fault) []domain.Fault {
	out := make([]domain.Fault, len(faults))
	for i, f := range faults {
		out[i] = domain.Fault(f)
	}
	return out
}
