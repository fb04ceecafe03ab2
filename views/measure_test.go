package views

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkViews_follow measures what following costs: 10,000 commands/s for 10 s, each with event (200 bytes), table
// record and outcome, in a transaction every 10 ms, 8 partitions, 10,000 aggregates. All three views run in a process of
// their own; the broker's share is what this process uses more than without them.
func BenchmarkViews_follow(b *testing.B) {
	const seconds, perTxn, txns = 10, 100, 100
	for b.Loop() {
		r := newRig(b, kafkatest.Kfake(b))
		p := r.producer()
		load := func() time.Duration {
			before := cpu(b)
			began := time.Now()
			for i := range seconds * txns {
				r.commands(p, i*perTxn, perTxn)
				<-time.After(time.Until(began.Add(time.Duration(i+1) * time.Second / txns)))
			}
			if took := time.Since(began); took > seconds*1100*time.Millisecond {
				b.Logf("the load took %v", took)
			}
			return cpu(b) - before
		}
		alone := load()
		text, err := json.Marshal(childConfig{Context: r.topo.Context, Dir: r.dir, Addrs: r.broker.Addrs})
		if err != nil {
			b.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+string(text))
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		<-time.After(3 * time.Second) // it reads what the first load has left
		caughtUp := cpuOf(b, cmd.Process.Pid)
		followed := load()
		<-time.After(200 * time.Millisecond)
		used := cpuOf(b, cmd.Process.Pid) - caughtUp
		idle := cpuOf(b, cmd.Process.Pid)
		<-time.After(3 * time.Second)
		idle = cpuOf(b, cmd.Process.Pid) - idle
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		per := func(d time.Duration) float64 { return float64(d.Microseconds()) / (seconds * perTxn * txns) }
		b.ReportMetric(per(caughtUp), "catchup-µs/command")
		b.ReportMetric(per(used), "views-µs/command")
		b.ReportMetric(per(followed-alone), "broker-µs/command")
		b.ReportMetric(idle.Seconds()/3*100, "idle-%")
		b.ReportMetric(0, "ns/op")
		var u syscall.Rusage
		if ps, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			u = *ps
		}
		b.ReportMetric(float64(u.Maxrss)/1024, "peak-MB")
	}
}

// cpuOf reads what another process has used from /proc, in ticks of 10 ms.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// commands commits what n commands leave behind.
func (r *rig) commands(p *producer, from, n int) {
	padding := strings.Repeat("x", 150)
	p.begin()
	for i := range n {
		id := fmt.Sprint("order-", (from+i)%10_000)
		command := fmt.Sprintf("0197f3a0-0000-7000-8000-%012d", from+i)
		for _, rec := range []*kgo.Record{
			r.event(id, int64((from+i)/10_000)+1, padding), r.table(id, 1, padding), r.outcome(id, &platform.Outcome{
				CommandID: command, CommandType: "shop.order.PlaceOrder", Version: 1,
				Events: []platform.OutcomeEvent{{Type: "shop.order.OrderPlaced", Version: 1}},
			}),
		} {
			p.cl.Produce(context.Background(), rec, nil)
		}
	}
	p.commit()
}

// BenchmarkOutcomes_latency measures the time from the end of a commit to the outcome in the hands of its waiter, among
// 300 others who wait.
func BenchmarkOutcomes_latency(b *testing.B) {
	r := newRig(b, kafkatest.Kfake(b))
	o := NewOutcomes(r.config(r.openStore()))
	r.start(o)
	p := r.producer()
	for i := range 300 {
		defer o.Expect(fmt.Sprint("other", i)).Cancel()
	}
	var worst, sum time.Duration
	n := 0
	for b.Loop() {
		id := fmt.Sprint("c", n)
		n++
		e := o.Expect(id)
		p.begin()
		p.put(r.outcome(id, &platform.Outcome{CommandID: id}))
		p.commit()
		committed := time.Now()
		<-e.C()
		took := max(0, time.Since(committed))
		sum, worst = sum+took, max(worst, took)
		e.Cancel()
	}
	b.ReportMetric(float64(sum.Microseconds())/float64(n), "µs-after-commit")
	b.ReportMetric(float64(worst.Microseconds()), "µs-worst")
}
