package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Kafka Streams with either guarantee: what the engine is compared with.
const (
	kindExactly = "Kafka Streams, exactly once"
	kindAtLeast = "Kafka Streams, at least once"
)

// streamsSettings are the peer's for throughput; README.md says why, and what
// else was tried.
func streamsSettings(kind string) map[string]string {
	guarantee := map[string]string{kindExactly: "exactly_once_v2", kindAtLeast: "at_least_once"}[kind]
	return map[string]string{
		"processing.guarantee":           guarantee,
		"num.stream.threads":             "2",
		"commit.interval.ms":             "500",
		"statestore.cache.max.bytes":     "268435456",
		"rocksdb.config.setter":          "RocksSettings",
		"replication.factor":             "1",
		"producer.batch.size":            "262144",
		"consumer.max.poll.records":      "5000",
		"buffered.records.per.partition": "5000",
	}
}

// jvmOptions of the peer.
var jvmOptions = []string{
	"-Xms1g", "-Xmx1g", "-XX:+UseParallelGC",
	"-Dorg.apache.avro.specific.use_custom_coders=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
}

// contender is an aggregate processor at work in a process of its own: the
// engine or its peer. Both are measured from outside, in the same way.
type contender struct {
	*child
	admin *kadm.Client
	group string
	began time.Time // when it was ready
	// recovered is what it says of its own start: seconds until it ran.
	recovered recovered
}

type recovered struct {
	Seconds  float64
	Restored int64
}

// startContender returns when it handles records. It keeps its local state in
// the folder; instance may be empty for the only engine of a run.
func (r *runner) startContender(ctx context.Context, s *stack, kind, instance, dir string, more map[string]string) (*contender, error) {
	c := &contender{admin: kadm.NewClient(s.client), group: s.topology.Group(s.topology.Aggregates[0])}
	var err error
	if kind == kindEngine {
		cfg := subjectConfig{Kind: kind, Broker: s.addr, Registry: s.registry, Dir: dir, Instance: instance}
		c.child, err = spawn(ctx, "subject", cfg, r.profileOf(kind), false)
	} else {
		c.child, err = r.spawnStreams(ctx, s, kind, dir, more)
	}
	if err != nil {
		return nil, err
	}
	if err := c.next(&c.recovered); err != nil {
		return nil, err
	}
	c.began = time.Now()
	return c, nil
}

// spawnStreams starts the program in peers/streams.
func (r *runner) spawnStreams(ctx context.Context, s *stack, kind, dir string, more map[string]string) (*child, error) {
	classes, err := r.buildStreams(ctx)
	if err != nil {
		return nil, err
	}
	settings, jvm := streamsSettings(kind), slices.Clone(jvmOptions)
	maps.Copy(settings, map[string]string{
		"application.id": s.topology.Group(s.topology.Aggregates[0]), "bootstrap.servers": s.addr, "state.dir": dir,
		"partitions": fmt.Sprint(s.topology.PartitionCount()),
	})
	for _, name := range s.topology.Subjects() {
		if id, ok := s.serde.ID(name); ok {
			settings["schema."+name] = fmt.Sprint(id)
		}
	}
	maps.Copy(settings, more)
	for _, word := range strings.Fields(r.streams) {
		if name, value, ok := strings.Cut(word, "="); ok && !strings.HasPrefix(word, "-") {
			settings[name] = value
			continue
		}
		jvm = append(jvm, word)
	}
	args := append(slices.Clone(jvm), "-cp", classes, "Peer")
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, name+"="+settings[name])
	}
	return launch(kind, exec.CommandContext(ctx, "java", args...), false) //nolint:gosec // the module's own program
}

// buildStreams compiles the peer, if need be, and returns its class path.
func (r *runner) buildStreams(ctx context.Context) (string, error) {
	//nolint:gosec // the module's own script
	cmd := exec.CommandContext(ctx, "bash", filepath.Join(r.root, "benchmarks/peers/streams/build.sh"))
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("building the Kafka Streams peer: %w: %s", err, said.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// reachEvery is how often a contender's committed offsets are asked for.
const reachEvery = 10 * time.Millisecond

// reach waits until n commands are committed.
func (c *contender) reach(ctx context.Context, n int) (at snapshot, err error) {
	err = poll(ctx, reachEvery, func() (bool, error) {
		at.Records, err = committed(ctx, c.admin, c.group)
		return at.Records >= int64(n), errors.Join(err, c.failed())
	})
	if err != nil {
		return at, err
	}
	at.Seconds = time.Since(c.began).Seconds()
	cpu, err := cpuOf(c.cmd.Process.Pid)
	if err != nil {
		return at, err
	}
	at.CPU = cpu.Seconds()
	at.PeakBytes, err = statusBytes(c.cmd.Process.Pid, "VmHWM")
	return at, err
}

// failed is the error of an end that nobody asked for.
func (c *contender) failed() error {
	select {
	case <-c.ended:
		return c.failure()
	default:
		return nil
	}
}

// committed counts the commands that a group is done with: their topic begins
// at 0 and holds no markers.
func committed(ctx context.Context, admin *kadm.Client, group string) (n int64, err error) {
	offsets, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return 0, err
	}
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.Err == nil {
			n += o.At
		}
	})
	return n, nil
}
