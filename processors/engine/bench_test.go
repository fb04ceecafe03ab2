package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lovoo/goka"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/processors/engine"
)

// measured is what a benchmarked process says of itself.
type measured struct {
	Seconds, CPU  float64 // from ready to the last commit
	MaxRSS        int64   // bytes
	Commits, Keys int64
	AllocBytes    uint64
	Allocs        uint64
}

// bench runs the processor until c.Total records are committed.
func (c childConfig) bench(ctx context.Context, p *goka.Processor, e *engine.Engine) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	if c.CPUProfile != "" {
		f, err := os.Create(c.CPUProfile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	began, cpu := time.Now(), cpuTime()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	go func() { ended <- p.Run(ctx) }()
	for e.Stats().Records < int64(c.Total) {
		select {
		case err := <-ended:
			return fmt.Errorf("ended early: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	runtime.ReadMemStats(&after)
	m := measured{
		Seconds: time.Since(began).Seconds(), CPU: (cpuTime() - cpu).Seconds(), Commits: e.Stats().Commits, Keys: e.Stats().TableRecords,
		AllocBytes: after.TotalAlloc - before.TotalAlloc, Allocs: after.Mallocs - before.Mallocs,
	}
	cancel()
	err := <-ended
	m.MaxRSS = peakRSS()
	text, _ := json.Marshal(m)
	if werr := os.WriteFile(c.Dir+".json", text, 0o644); err == nil {
		err = werr
	}
	return err
}

// peakRSS in bytes. getrusage would answer with the parent's if that is larger.
func peakRSS() (n int64) {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &n); err == nil {
			return n << 10
		}
	}
	return 0
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDrain processes commands that wait in the topic, in a process of its own
// beside the broker. Run it with -benchtime=1x; ENGINE_PROFILE=FILE profiles it.
func BenchmarkDrain(b *testing.B) {
	for _, broker := range []struct {
		name string
		open func(testing.TB) *kafkatest.Broker
	}{
		{"kfake", func(t testing.TB) *kafkatest.Broker { return kafkatest.Kfake(t) }},
		{"kafka", kafkatest.Kafka},
	} {
		for _, c := range []struct {
			name      string
			total     uint64
			keys, pad int
			min, max  time.Duration
		}{
			{"200k commands of 10k keys, 16 bytes, 20ms", 200_000, 10_000, 0, 20 * time.Millisecond, 20 * time.Millisecond},
			{"1M commands of 100k keys, 16 bytes, 100ms", 1_000_000, 100_000, 0, 100 * time.Millisecond, 100 * time.Millisecond},
			{"1M commands of 100k keys, 16 bytes, default", 1_000_000, 100_000, 0, 0, 0},
			{"1M commands of 100k keys, 200 bytes, default", 1_000_000, 100_000, 184, 0, 0},
		} {
			b.Run(broker.name+"/"+c.name, func(b *testing.B) {
				br := broker.open(b)
				for range b.N {
					n := namesOf(fmt.Sprint(br.Prefix, b.N, "."))
					n.create(b, br, 8)
					n.produce(b, br, 1, c.total, c.keys, 0)
					dir := filepath.Join(b.TempDir(), "store")
					p := spawn(b, br, childConfig{
						Names: n, ID: "bench", Dir: dir, Min: c.min, Max: c.max, Pad: c.pad, Bench: true, Total: c.total,
						CPUProfile: os.Getenv("ENGINE_PROFILE"),
					})
					if code := p.waitFor(4 * time.Minute); code != 0 {
						b.Fatalf("the process ended with %d", code)
					}
					text, err := os.ReadFile(dir + ".json")
					must(b, err)
					var m measured
					must(b, json.Unmarshal(text, &m))
					if got := n.countEvents(b, br); got != int(c.total) {
						b.Fatalf("%d events", got)
					}
					total := float64(c.total)
					b.ReportMetric(total/m.Seconds, "cmd/s")
					b.ReportMetric(m.CPU/total*1e6, "cpu-µs/cmd")
					b.ReportMetric(float64(m.AllocBytes)/total, "B/cmd")
					b.ReportMetric(float64(m.Allocs)/total, "allocs/cmd")
					b.ReportMetric(float64(m.MaxRSS)/(1<<20), "rss-MiB")
					b.ReportMetric(float64(m.Commits), "commits")
					b.ReportMetric(float64(m.Keys), "table-records")
					b.ReportMetric(0, "ns/op")
				}
			})
		}
	}
}
