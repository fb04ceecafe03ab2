package system

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/adapters/embedded/broker"
)

func TestReadiness_saysThatTheDiskIsFull(t *testing.T) {
	for floor, want := range map[int64]string{1: "", 1 << 60: "free some space and try again"} {
		b, err := broker.Open(t.Context(), broker.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", MinFreeBytes: floor})
		if err != nil {
			t.Fatal(err)
		}
		name, ok, detail := logTakesWrites(b.Refusal)()
		if name != "broker" || ok != (want == "") || !strings.Contains(detail, want) {
			t.Errorf("with %d bytes to be kept free: %s %v %q, want %q", floor, name, ok, detail, want)
		}
		failed := (&System{bus: &bus{refusal: b.Refusal}}).notWritable(io.ErrUnexpectedEOF)
		if !errors.Is(failed, io.ErrUnexpectedEOF) || strings.Contains(failed.Error(), "free some space") != (want != "") {
			t.Errorf("with %d bytes to be kept free a start that failed says %q", floor, failed)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
