// Command benchmarks measures what the platform promises, with real code in
// processes of their own: each benchmark checks what its runs wrote before it
// gives a figure, says under which conditions it was taken, and keeps it in
// README.md beside this file. It judges figures, not code: the tests do that.
//
//	go run ./benchmarks                 everything, about two hours
//	go run ./benchmarks load orders     two of them
//	go run ./benchmarks -short          all in seconds, for a look; keeps nothing
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// bench is one named benchmark.
type bench struct {
	name, title string
	perStack    bool // runs once for each broker
	run         func(context.Context, *runner) (report, error)
}

var benches = []bench{
	{"engine", "the engine against goka on sarama, and against a bare loop", true, benchEngine},
	{"streams", "the engine against Kafka Streams", false, benchStreams},
	{"latency", "1,000 commands a second, against Kafka Streams", false, benchLatency},
	{"recovery", "a long table into a cold store, against Kafka Streams", false, benchRecovery},
	{"instances", "several instances, and the pause of a partition", false, benchInstances},
	{"cpu", "processor time of one command", false, benchCPU},
	{"history", "long histories", false, benchHistory},
	{"gate", "the schema gate and the command memory by themselves", false, benchGate},
	{"load", "six months of real orders", false, benchLoad},
	{"steady", "10,000 commands a second", false, benchSteady},
	{"pipeline", "the same on Kafka, Apicurio and Elasticsearch", false, benchPipeline},
	{"orders", "500 orders a second over HTTP", false, benchOrders},
	{"start", "start with a million commands of history", false, benchStart},
}

func main() {
	if code, is := runRole(); is {
		os.Exit(code)
	}
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	r := &runner{log: out}
	var stacks, readme string
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	flags.Usage = func() { usage(flags) }
	flags.BoolVar(&r.short, "short", false, "every benchmark in seconds; the figures mean nothing and are not kept")
	flags.IntVar(&r.pairs, "pairs", 5, "alternating runs of what is compared")
	flags.StringVar(&stacks, "stack", "kfake,kafka", "`brokers` of the benchmark engine")
	flags.StringVar(&r.streams, "streams", "", "further `settings` of the Kafka Streams peer, name=value or options of the JVM, separated by spaces: the benchmark streams then runs this peer alone; the figures are not kept")
	flags.StringVar(&r.profile, "profile", "", "take CPU profiles into this `folder`; the figures are not kept")
	flags.StringVar(&r.cache, "cache", cacheFolder(), "`folder` of the history that start starts with")
	flags.StringVar(&readme, "readme", "benchmarks/README.md", "`file` that keeps the figures, in the module's folder")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		return err
	}
	if r.root, err = moduleRoot(); err != nil {
		return err
	}
	if r.dir, err = os.MkdirTemp("", "nexus-bench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(r.dir) }()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	keep := filepath.Join(r.root, readme)
	if r.short || r.profile != "" || r.streams != "" {
		keep = ""
	}
	return r.all(ctx, chosen, strings.Split(stacks, ","), keep)
}

func usage(flags *flag.FlagSet) {
	tell(flags.Output(), "usage: go run ./benchmarks [flags] [names…]\n")
	for _, b := range benches {
		tell(flags.Output(), "  %-9s%s\n", b.name, b.title)
	}
	flags.PrintDefaults()
}

// choose finds the named benchmarks; none means all.
func choose(names []string) ([]bench, error) {
	for _, n := range names {
		if !slices.ContainsFunc(benches, func(b bench) bool { return b.name == n }) {
			return nil, fmt.Errorf("there is no benchmark %q; -h lists them", n)
		}
	}
	return slices.DeleteFunc(slices.Clone(benches), func(b bench) bool {
		return len(names) > 0 && !slices.Contains(names, b.name)
	}), nil
}

// all runs the benchmarks one after the other. One that fails has no figure and
// does not keep the others from theirs.
func (r *runner) all(ctx context.Context, chosen []bench, stacks []string, keep string) error {
	r.machine = machineNow(ctx, r.root)
	tell(r.log, "%s\n", r.machine)
	var failed []string
	for _, b := range chosen {
		variants := []string{""}
		if b.perStack {
			variants = stacks
		}
		for _, stack := range variants {
			name := strings.Trim(b.name+"-"+stack, "-")
			r.stack, r.lines = stack, nil
			tell(r.log, "\n== %s: %s\n", name, b.title)
			rep, err := b.run(ctx, r)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil && keep != "" {
				err = writeSection(keep, name, section(name, b.title, r.machine, rep, r.lines))
			}
			if err != nil {
				tell(r.log, "%s has no figure: %v\n", name, err)
				failed = append(failed, name)
				continue
			}
			tell(r.log, "%s", rep.text())
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("without a figure: %s", strings.Join(failed, ", "))
	}
	return nil
}

// cacheFolder is where make keeps what it downloads, or the user's own.
func cacheFolder() string {
	if dir := os.Getenv("NEXUS_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "nexus")
}

// moduleRoot is the folder of the module that the program is run in.
func moduleRoot() (string, error) {
	out, err := exec.CommandContext(context.Background(), "go", "env", "GOMOD").Output()
	file := strings.TrimSpace(string(out))
	if err != nil || filepath.Base(file) != "go.mod" {
		return "", fmt.Errorf("run this within the module's folder: it needs its scripts (go env GOMOD says %q)", file)
	}
	return filepath.Dir(file), nil
}
