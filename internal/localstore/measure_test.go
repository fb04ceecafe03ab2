package localstore

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// BenchmarkStore_follow measures what the store's part of the views costs: for each of 300,000 commands an event under
// (aggregate, version), a place under the aggregate and an outcome under its time, in batches of 100, among 100,000
// aggregates. The CPU is the whole process's until its background work is done.
func BenchmarkStore_follow(b *testing.B) {
	const commands, perBatch, aggregates = 300_000, 100, 100_000
	for b.Loop() {
		dir := b.TempDir()
		s, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		value := make([]byte, 1<<20)
		for i := range value {
			value[i] = "abcdefghijklmnop"[rnd.IntN(16)]
		}
		some := func(n int) []byte { at := rnd.IntN(len(value) - n); return value[at : at+n] }
		before := cpu(b)
		began := time.Now()
		batch := s.NewBatch()
		for c := 0; c < commands; c += perBatch {
			for i := range perBatch {
				id := fmt.Sprint("order-", rnd.IntN(aggregates))
				batch.Set(binary.BigEndian.AppendUint64([]byte("vh1order\x00\x00\x0c"+id), uint64(c/aggregates)), some(400))
				batch.Set([]byte("vs1order\x00"+id), some(12))
				batch.Set(fmt.Appendf(nil, "vo1hour0197f3a0-0000-7000-8000-%012dorder%012d", c+i, c+i), some(170))
				if (i+1)%33 == 0 {
					if err := s.Apply(batch); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := s.Apply(batch); err != nil {
				b.Fatal(err)
			}
		}
		took := time.Since(began)
		for quiet := 0; quiet < 5; { // background work is over when it uses nothing
			was := cpu(b)
			<-time.After(100 * time.Millisecond)
			if quiet++; cpu(b)-was > 5*time.Millisecond {
				quiet = 0
			}
		}
		b.ReportMetric(float64((cpu(b)-before).Microseconds())/commands, "µs/command")
		b.ReportMetric(float64(took.Microseconds())/commands, "wall-µs/command")
		b.ReportMetric(0, "ns/op")
		var disk int64
		_ = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
			if err == nil {
				disk += info.Size()
			}
			return nil
		})
		b.ReportMetric(float64(disk)/1e6, "disk-MB")
		total := s.db.Metrics().Total()
		b.ReportMetric(total.WriteAmp(), "write-amp")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
