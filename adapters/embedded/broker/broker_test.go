package broker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestOpen(t *testing.T) {
	t.Run("records and offsets outlive a stop and a start", func(t *testing.T) {
		dir := t.TempDir()
		b := openBroker(t, Config{Dir: dir})
		b.createTopic(t, "orders", 2, nil)
		produce(t, b.client(t), record("orders", 0, "a", "1"), record("orders", 1, "b", "2"), record("orders", 0, "a", "3"))
		adm := kadm.NewClient(b.client(t))
		commit := kadm.Offsets{}
		commit.Add(kadm.Offset{Topic: "orders", Partition: 0, At: 2, LeaderEpoch: -1})
		if err := adm.CommitAllOffsets(t.Context(), "g", commit); err != nil {
			t.Fatal(err)
		}
		closeBroker(t, b)

		b = openBroker(t, Config{Dir: dir})
		if r := b.Report(); !r.Clean || r.Decision != NoDecision || r.CutBytes != 0 || r.IndexesRebuilt != 0 || r.LogBytes == 0 {
			t.Errorf("report of a clean start: %+v", r)
		}
		if got := values(readAll(t, b.ClientOpts(), "orders")); got != "0:1,3 1:2" {
			t.Errorf("read %s", got)
		}
		offsets, err := kadm.NewClient(b.client(t)).FetchOffsets(t.Context(), "g")
		if err != nil || offsets["orders"][0].At != 2 {
			t.Errorf("offsets %v, %v", offsets, err)
		}
		produce(t, b.client(t), record("orders", 1, "b", "4"))
		if got := values(readAll(t, b.ClientOpts(), "orders")); got != "0:1,3 1:2,4" {
			t.Errorf("read %s", got)
		}
	})
	t.Run("the folder is private", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "new")
		openBroker(t, Config{Dir: dir})
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if raw, err := os.ReadFile(filepath.Join(dir, "sasl.json")); err == nil {
			t.Errorf("the password lies on disk: %s", raw)
		}
	})
	t.Run("topics are not made by asking for them", func(t *testing.T) {
		b := openBroker(t, Config{Dir: t.TempDir()})
		cl := b.client(t, kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(1))
		if err := cl.ProduceSync(t.Context(), record("nosuch", 0, "", "x")).FirstErr(); err == nil {
			t.Error("a produce made a topic")
		}
	})
	t.Run("a second close gives the result of the first", func(t *testing.T) {
		b := openBroker(t, Config{Dir: t.TempDir()})
		closeBroker(t, b)
		closeBroker(t, b)
	})
	t.Run("all faults of the configuration are told together", func(t *testing.T) {
		_, err := Open(t.Context(), Config{Listen: "nonsense", MinFreeBytes: -1, Platform: Credentials{User: "x"}})
		for _, want := range []string{"folder", "nonsense", "negative", "password"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("no word of %q in: %v", want, err)
			}
		}
	})
}

func TestOpen_Refuses(t *testing.T) {
	t.Run("a folder that another has open, naming the process", func(t *testing.T) {
		dir := t.TempDir()
		openBroker(t, Config{Dir: dir})
		_, err := Open(t.Context(), Config{Dir: dir})
		var locked *LockedError
		if !errors.As(err, &locked) || locked.PID != os.Getpid() || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
			t.Errorf("got %v", err)
		}
	})
	for _, name := range []string{"format.json", "meta.json", "topics.json"} {
		t.Run("a folder of a newer release, by "+name, func(t *testing.T) {
			dir := t.TempDir()
			closeBroker(t, openBroker(t, Config{Dir: dir}))
			write(t, filepath.Join(dir, name), `{"version":99}`)
			before := listing(t, dir)
			if _, err := Open(t.Context(), Config{Dir: dir}); !errors.Is(err, ErrNewerFormat) || !strings.Contains(err.Error(), "99") {
				t.Errorf("got %v", err)
			}
			if after := listing(t, dir); after != before {
				t.Errorf("the folder was changed:\n%s\n%s", before, after)
			}
		})
	}
	t.Run("an address that is taken, and gives the folder free", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		dir := t.TempDir()
		_, err = Open(t.Context(), Config{Dir: dir, Listen: ln.Addr().String()})
		if !errors.Is(err, ErrAddressTaken) || !strings.Contains(err.Error(), ln.Addr().String()) || !strings.Contains(err.Error(), "another port") {
			t.Errorf("got %v", err)
		}
		openBroker(t, Config{Dir: dir})
	})
	t.Run("a log with a byte that went bad, and changes nothing", func(t *testing.T) {
		dir := t.TempDir()
		b := openBroker(t, Config{Dir: dir})
		b.createTopic(t, "orders", 1, nil)
		for i := range 5 {
			produce(t, b.client(t), record("orders", 0, "k", fmt.Sprint("value ", i)))
		}
		closeBroker(t, b)
		part, seg := lastSegment(t, dir, tp{"orders", 0})
		raw, err := os.ReadFile(seg.dat(part))
		if err != nil {
			t.Fatal(err)
		}
		raw[batchHeaderBytes+8] ^= 0xff
		write(t, seg.dat(part), string(raw))
		if _, err := Open(t.Context(), Config{Dir: dir}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "0.dat, byte 0") {
			t.Errorf("got %v", err)
		}
		if now, err := os.ReadFile(seg.dat(part)); err != nil || string(now) != string(raw) {
			t.Error("the segment was changed")
		}
	})
}

func TestStats(t *testing.T) {
	b := openBroker(t, Config{Dir: t.TempDir(), MaxLogBytes: 1 << 20})
	b.createTopic(t, "orders", 1, nil)
	produce(t, b.client(t), record("orders", 0, "k", strings.Repeat("v", 10_000)))
	s, err := b.Stats()
	if err != nil || s.LogBytes < 100 || s.FreeBytes <= 0 || s.MaxLogBytes != 1<<20 || s.MinFreeBytes != defaultMinFree || s.RefusedWrites != 0 || s.Broken != "" {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestIdle holds the broker to next to no work while nobody asks for anything.
func TestIdle(t *testing.T) {
	b := openBroker(t, Config{Dir: t.TempDir()})
	b.createTopic(t, "orders", 8, map[string]string{"cleanup.policy": "compact"})
	before := cpuTime(t)
	tick := time.NewTimer(time.Second)
	<-tick.C
	if spent := cpuTime(t) - before; spent > 30*time.Millisecond {
		t.Errorf("%v of CPU in an idle second", spent)
	}
}
