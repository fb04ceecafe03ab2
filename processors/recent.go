package processors

import (
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// envelope is platform.Envelope with the recent commands left as they are
// encoded: nearly every command only drops the oldest and adds its own, so none
// but the one that is asked for is decoded.
type envelope struct {
	Version             int64
	At                  avro.Millis
	Fold                int32
	EventsSinceSnapshot int64
	BytesSinceSnapshot  int64
	Hash                platform.Sha256
	recent              [][]byte // oldest first; parts of the record that was read
}

// AppendAvro appends what platform.Envelope's does.
func (e *envelope) AppendAvro(dst []byte) []byte {
	head := platform.Envelope{
		Version: e.Version, At: e.At, Fold: e.Fold,
		EventsSinceSnapshot: e.EventsSinceSnapshot, BytesSinceSnapshot: e.BytesSinceSnapshot, Hash: e.Hash,
	}
	dst = head.AppendAvro(dst)
	if len(e.recent) == 0 {
		return dst
	}
	dst = avro.AppendLong(dst[:len(dst)-1], int64(len(e.recent))) // in place of the empty list's end
	for _, r := range e.recent {
		dst = append(dst, r...)
	}
	return append(dst, 0)
}

// ReadAvro reads what platform.Envelope's does.
func (e *envelope) ReadAvro(r *avro.Reader) {
	e.Version = r.Long()
	e.At = avro.Millis(r.Long())
	e.Fold = r.Int()
	e.EventsSinceSnapshot = r.Long()
	e.BytesSinceSnapshot = r.Long()
	r.Fixed(e.Hash[:])
	e.recent = make([][]byte, 0, ports.RememberedMax+1)
	for n := r.Block(rememberedMin); n > 0; n = r.Block(rememberedMin) {
		for ; n > 0 && r.OK(); n-- {
			e.recent = append(e.recent, rawRemembered(r))
		}
	}
}

// rememberedMin is the least length of an encoded platform.Remembered.
const rememberedMin = 23

// rawRemembered steps over a platform.Remembered and returns it as it is encoded.
func rawRemembered(r *avro.Reader) []byte {
	start := *r
	r.Raw() // command id
	r.Raw() // command type
	r.Skip(len(platform.BodyHash{}))
	r.Long() // kind
	r.Raw()  // code
	r.Raw()  // detail
	r.Long() // version
	for n := r.Block(1); n > 0; n = r.Block(1) {
		for ; n > 0 && r.OK(); n-- {
			r.Raw() // event type
		}
	}
	return start.Until(r)
}

// find returns the recent command of an id, nil if there is none.
func (e *envelope) find(commandID string) (*platform.Remembered, error) {
	for _, raw := range e.recent {
		r := avro.NewReader(raw)
		if string(r.Raw()) == commandID { // the id is the first field
			found := new(platform.Remembered)
			return found, found.DecodeAvro(raw)
		}
	}
	return nil, nil
}

// remember adds a command in the place of the oldest.
func (e *envelope) remember(r *platform.Remembered) {
	if over := len(e.recent) + 1 - ports.RememberedMax; over > 0 {
		e.recent = e.recent[over:]
	}
	size := 64 + len(r.CommandID) + len(r.CommandType) + len(r.Code) + len(r.Detail)
	e.recent = append(e.recent, r.AppendAvro(make([]byte, 0, size)))
}
