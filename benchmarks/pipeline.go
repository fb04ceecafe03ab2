package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// pipelineRates are tried from the first on, until one holds.
var pipelineRates = []int{10_000, 8_000, 6_000, 4_000, 2_000}

// A fresh Elasticsearch compiles itself for half a minute: until then its rounds take three times as long.
const pipelineWarm, pipelineWarmShort = 40 * time.Second, time.Second

// benchPipeline is steady on Kafka, Apicurio and Elasticsearch: where the two cores end before the first rate, it looks for
// one that they hold.
func benchPipeline(ctx context.Context, r *runner) (rep report, err error) {
	var run *steadyRun
	carried := 0
	for _, rate := range pick(r, pipelineRates, []int{500}) {
		if run, err = r.pipelineRun(ctx, rate); err != nil {
			return rep, err
		}
		if run.holds() {
			carried = rate
			break
		}
	}
	rep.claims = append([]claim{atLeast("commands/s that all of it carries", "%.0f", 10_000, float64(carried))}, run.claims()...)
	rep.notes = []string{run.conditions() + fmt.Sprintf(" Before it %v at the same rate, which warm the servers up. One `nexus run` with all roles, Kafka, Apicurio Registry and Elasticsearch "+
		"as `make stack-up` starts them, fresh for each rate, and the load generator: all on the same cores. The rates, from the first until one loses nothing and shows the hot document, and by the platform's "+
		"word the keyed ones, within two seconds (p99): %v.", pick(r, pipelineWarm, pipelineWarmShort), pipelineRates)}
	return rep, nil
}

func (s *steadyRun) holds() bool {
	return s.lost() == 0 && quantile(s.seen.visible, 0.99) < 2 && quantile(s.seen.keyedLag, 0.99) < 2
}

// pipelineRun is one rate on fresh servers.
func (r *runner) pipelineRun(ctx context.Context, rate int) (run *steadyRun, err error) {
	servers := &stack{}
	defer func() { err = errors.Join(err, servers.close()) }()
	addresses := map[string]string{}
	for _, script := range []string{"kafka.sh", "registry.sh", "elasticsearch.sh"} {
		if addresses[script], err = servers.startServer(ctx, r, script); err != nil {
			return nil, err
		}
	}
	dir, err := r.temp("run")
	if err != nil {
		return nil, err
	}
	config, folder := filepath.Join(dir, "nexus.yaml"), filepath.Join(dir, "data")
	registry := fmt.Sprintf("http://%s/apis/ccompat/v7", addresses["registry.sh"])
	if err := r.nexus(ctx, "schemas", "register", "--registry", registry); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("listen: 127.0.0.1:0\ndata: %s\nbus: kafka://%s\nregistry: %s\nsearch: elasticsearch+http://%s\n",
		folder, addresses["kafka.sh"], registry, addresses["elasticsearch.sh"])
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	d, err := r.startNexus(ctx, folder, "run", "--config", config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	return r.steadyRun(ctx, d, rate, pick(r, pipelineWarm, pipelineWarmShort))
}
