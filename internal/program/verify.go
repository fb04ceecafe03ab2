package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/adapters/kafka"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/policies"
	"github.com/nexusblueprint/nexus/topology"
)

// verification is one run of nexus verify.
type verification struct {
	topology                        *topology.Topology
	dir                             string
	policies, waivers, sarif, junit string
	registry                        registryAt // with --config, whose broker is judged, too
	json, facts, rules              bool
}

func verifyCommand(t *topology.Topology) *cobra.Command {
	v := verification{topology: t, dir: "."}
	c := &cobra.Command{
		Use: "verify [DIR]", Short: "Judge topology, schemas, Go source and deploy files by the policies", Args: cobra.MaximumNArgs(1),
		Long: "verify asks every policy about the topology this program is built with, its schemas against each release\n" +
			"in DIR/schemas/avro/history, the Go source of the module in DIR (default: the current folder) and the\n" +
			"deploy files below it. With --config it also asks the broker and the registry that a running system has. It exits\n" +
			"with 1 if a rule is violated; warnings are shown and violate nothing.\n\n" +
			"A violation that a waiver in DIR/" + policies.WaiversFile + " covers passes until the waiver expires.",
		Example: "  nexus verify\n  nexus verify ./myshop --policies ./myshop/policies\n  nexus verify --sarif verify.sarif --junit verify.xml\n  nexus verify --registry http://registry:8081\n  nexus verify --config nexus.yaml\n" +
			"  nexus verify --facts | jq '.source.packages[].calls'",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				v.dir = args[0]
			}
			return v.run(c)
		},
	}
	c.Flags().StringVar(&v.policies, "policies", "", "`folder` with rules of your own, in Rego")
	c.Flags().StringVar(&v.waivers, "waivers", "", "`file` of waivers (default DIR/"+policies.WaiversFile+", if it is there)")
	v.registry.flags(c, "a registry whose versions and levels are judged, too")
	c.Flags().StringVar(&v.sarif, "sarif", "", "`file` to write the verdict to, as SARIF 2.1.0")
	c.Flags().StringVar(&v.junit, "junit", "", "`file` to write the verdict to, as JUnit XML")
	c.Flags().BoolVar(&v.json, "json", false, "print the verdict as JSON")
	c.Flags().BoolVar(&v.facts, "facts", false, "print the facts that rules are asked about, as JSON, and judge nothing")
	c.Flags().BoolVar(&v.rules, "rules", false, "list the rules, with those of --policies, and judge nothing")
	c.MarkFlagsMutuallyExclusive("json", "facts", "rules")
	return c
}

func (v *verification) run(c *cobra.Command) error {
	p, err := v.load(c)
	if err != nil {
		return err
	}
	if v.rules {
		return listRules(c.OutOrStdout(), p.Rules())
	}
	waivers, err := v.readWaivers(p.Rules())
	if err != nil {
		return err
	}
	files, err := v.openReports()
	defer files.close()
	if err != nil {
		return err
	}
	if faults := v.topology.Faults(); len(faults) > 0 {
		return Violated{&system.FaultsError{Gate: "topology", Faults: faults}}
	}
	facts, err := policies.Gather(c.Context(), v.topology.Describe(), v.dir)
	if err != nil {
		return err
	}
	var unreached error
	if v.registry.named() {
		if err := v.askRegistry(c.Context(), &facts); err != nil {
			return err
		}
	}
	if v.registry.file != "" {
		if unreached, err = v.askBroker(c.Context(), &facts); err != nil {
			return err
		}
	}
	if v.facts {
		return printJSON(c.OutOrStdout(), facts)
	}
	verdict, err := p.Judge(c.Context(), facts)
	if err != nil {
		return err
	}
	verdict = verdict.Waive(waivers, time.Now())
	judged := report(c, verdict, v.json)
	if err := v.write(files, verdict, p.Rules()); err != nil {
		return fmt.Errorf("writing the verdict: %w", err)
	}
	if judged != nil {
		return judged
	}
	return unreached
}

func (v *verification) load(c *cobra.Command) (*policies.Policies, error) {
	if v.policies != "" {
		if _, err := os.ReadDir(v.policies); err != nil {
			return nil, fmt.Errorf("reading the policies of --policies: %w", err)
		}
	}
	return policies.Load(c.Context(), v.policies)
}

func (v *verification) readWaivers(rules []policies.Rule) ([]policies.Waiver, error) {
	file := v.waivers
	if file == "" {
		file = filepath.Join(v.dir, policies.WaiversFile)
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && v.waivers == "" {
		return nil, nil
	}
	if info, no := os.Stat(v.dir); v.waivers == "" && no == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is a file: name the folder of a Go module: nexus verify DIR", v.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the waivers: %w", err)
	}
	waivers, err := policies.ParseWaivers(text, rules)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return waivers, nil
}

// askRegistry adds every version that the registry holds of today's schemas,
// and the levels it has for them. Schemas it lacks are no fault: CI judges
// before it registers.
func (v *verification) askRegistry(ctx context.Context, facts *policies.Facts) error {
	registry, _, err := v.registry.open()
	if err != nil {
		return err
	}
	levels := map[string]string{}
	for _, s := range facts.Topology.Schemas {
		level, err := registry.Level(ctx, s.Subject)
		if err != nil {
			return err
		}
		levels[s.Subject] = string(level)
	}
	facts.Live = &policies.Live{Registry: &policies.LiveRegistry{Levels: levels}}
	return system.CompareRegistered(ctx, registry, *facts.Topology, facts.History)
}

// askBroker adds the configuration and what its broker says. That nobody answers
// there keeps nothing else from being judged.
func (v *verification) askBroker(ctx context.Context, facts *policies.Facts) (unreached, err error) {
	settings, err := loadConfig(v.registry.file)
	if err != nil {
		return nil, err
	}
	facts.Configuration = system.ConfigurationFacts(settings)
	if settings.Bus.Embedded() { // lives in another process, which lets nobody else write
		return nil, nil
	}
	opts, err := kafka.Options(settings.Bus)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(opts, kgo.ClientID("nexus-tool"), kgo.DisableClientMetrics())...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := seconds(ctx, 10)
	defer cancel()
	var live *policies.Live
	if err := client.Ping(ctx); err != nil {
		unreached = fmt.Errorf("no broker answers at %s: %w", strings.Join(settings.Bus.Brokers(), ","), err)
		live = system.NoBroker(unreached)
	} else {
		live = system.BrokerFacts(ctx, v.topology, client, settings.Bus)
	}
	live.Registry = facts.Live.Registry
	facts.Live = live
	return unreached, nil
}

// reports are files that the verdict is written to besides the text; nil: it is not.
type reports struct{ sarif, junit *os.File }

// openReports opens the files before anything is judged: a slip in a path is
// told at once. What it has opened is the caller's to close, whatever the error.
func (v *verification) openReports() (r reports, err error) {
	if v.facts {
		return r, nil
	}
	for _, f := range []struct {
		flag, path string
		into       **os.File
	}{{"--sarif", v.sarif, &r.sarif}, {"--junit", v.junit, &r.junit}} {
		if f.path == "" {
			continue
		}
		if *f.into, err = os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE, 0o666); err != nil { //nolint:gosec // for whoever may read the folder, as os.Create
			return r, fmt.Errorf("%s: %w: name a file in a folder that is there", f.flag, err)
		}
	}
	one, err1 := r.sarif.Stat()
	other, err2 := r.junit.Stat()
	if err1 == nil && err2 == nil && os.SameFile(one, other) {
		return r, fmt.Errorf("--sarif and --junit name one file, %s: give each its own", v.junit)
	}
	for _, f := range []*os.File{r.sarif, r.junit} { // what stands there is of another run
		if err := f.Truncate(0); f != nil && err != nil && !errors.Is(err, syscall.EINVAL) { // a pipe, say
			return r, err
		}
	}
	return r, nil
}

// close ends what was not written: an empty file is no report, and those who
// upload reports refuse it.
func (r reports) close() {
	for _, f := range []*os.File{r.sarif, r.junit} {
		if f == nil {
			continue
		}
		_ = f.Close() // what was written is closed before
		if info, err := os.Lstat(f.Name()); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			_ = os.Remove(f.Name())
		}
	}
}

func (v *verification) write(r reports, verdict policies.Verdict, rules []policies.Rule) error {
	if r.sarif != nil {
		if err := errors.Join(verdict.WriteSARIF(r.sarif, rules, filepath.ToSlash(v.dir), Version()), r.sarif.Close()); err != nil {
			return err
		}
	}
	if r.junit != nil {
		return errors.Join(verdict.WriteJUnit(r.junit, rules), r.junit.Close())
	}
	return nil
}

func listRules(w io.Writer, rules []policies.Rule) error {
	for _, r := range rules {
		if _, err := fmt.Fprintf(w, "%s (%s, needs %s): %s\n  %s\n", r.ID, r.Severity, strings.Join(r.Needs, ", "), r.Title, r.Remedy); err != nil {
			return err
		}
	}
	return nil
}

func report(c *cobra.Command, v policies.Verdict, asJSON bool) error {
	out := c.OutOrStdout()
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(v); err != nil {
			return err
		}
	} else {
		for _, violation := range v.Violations {
			fmt.Fprintln(out, violation)
		}
		for _, w := range v.Waived {
			fmt.Fprintf(out, "waived until %s by %s: %s\n", w.Waiver.Expires, w.Waiver.Owner, w.Violation)
		}
		for _, w := range v.Idle {
			fmt.Fprintf(out, "a waiver of %s, of %s, covers nothing: take it out\n", w.Rule, w.Owner)
		}
		fmt.Fprintf(out, "%d rules judged, %d violations\n", len(v.Judged), v.Errors())
		for _, gap := range v.Gaps {
			fmt.Fprintln(out, gap)
		}
		for _, rule := range v.NotJudged {
			fmt.Fprintf(out, "not judged here: %s\n", rule)
		}
	}
	if !v.OK() {
		return Violated{fmt.Errorf("%d violations of the policies", v.Errors())}
	}
	return nil
}
