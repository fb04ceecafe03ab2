package processors

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

func randomRemembered(rnd *rand.Rand, id string) platform.Remembered {
	r := platform.Remembered{
		CommandID: id, CommandType: "shop.AdjustStock", Kind: platform.OutcomeKind(rnd.IntN(4)),
		Code: strings.Repeat("c", rnd.IntN(3)*40), Detail: strings.Repeat("é", rnd.IntN(100)), Version: rnd.Int64(),
	}
	for range rnd.IntN(4) {
		r.EventTypes = append(r.EventTypes, "shop.StockAdjusted")
	}
	for i := range r.BodyHash {
		r.BodyHash[i] = byte(rnd.IntN(256))
	}
	return r
}

// The envelope that leaves the recent commands encoded is the generated one,
// byte for byte, before and after commands are added.
func TestEnvelope_isPlatformEnvelope(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	want := platform.Envelope{Version: 3, At: 1_700_000_000_000, Fold: 2, EventsSinceSnapshot: 500, BytesSinceSnapshot: 1 << 40}
	want.Hash[31] = 7
	got := envelope{}
	for i := range 3 * ports.RememberedMax {
		encoded := want.AppendAvro(nil)
		r := avro.NewReader(encoded)
		if got.ReadAvro(&r); r.Close("nexus.Envelope") != nil {
			t.Fatalf("with %d recent commands: %v", len(want.Recent), r.Close("nexus.Envelope"))
		}
		if again := got.AppendAvro(nil); !bytes.Equal(again, encoded) {
			t.Fatalf("with %d recent commands:\n%x, want\n%x", len(want.Recent), again, encoded)
		}
		for _, known := range want.Recent {
			found, err := got.find(known.CommandID)
			if err != nil || found == nil || fmt.Sprint(*found) != fmt.Sprint(known) {
				t.Fatalf("found %+v (%v), want %+v", found, err, known)
			}
		}
		if found, err := got.find("another"); found != nil || err != nil {
			t.Fatalf("found %+v (%v) for an id that is not there", found, err)
		}
		r2 := randomRemembered(rnd, fmt.Sprintf("id-%d", i))
		got.remember(&r2)
		want.Recent = append(want.Recent, r2)
		want.Recent = want.Recent[max(0, len(want.Recent)-ports.RememberedMax):]
		if b := got.AppendAvro(nil); !bytes.Equal(b, want.AppendAvro(nil)) {
			t.Fatalf("after %d commands:\n%x, want\n%x", i+1, b, want.AppendAvro(nil))
		}
	}
	encoded := want.AppendAvro(nil)
	for n := range encoded {
		r := avro.NewReader(encoded[:n])
		if got.ReadAvro(&r); r.Close("nexus.Envelope") == nil {
			t.Fatalf("the first %d of %d bytes were read without an error", n, len(encoded))
		}
	}
}
