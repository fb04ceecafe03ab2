package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/policies"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/topology"
)

// defaultRegistry is where nexus dev serves its registry.
const defaultRegistry = "http://127.0.0.1:8081"

func schemasCommand(t *topology.Topology) *cobra.Command {
	c := &cobra.Command{Use: "schemas", Short: "Check, compare and register schemas"}
	c.AddCommand(schemasCheckCommand(t), schemasDiffCommand(t), schemasRegisterCommand(t), schemasFreezeCommand(t))
	return c
}

// registryAt is a registry as a command line names it: by its address, or by a
// file of settings, with user and authorities.
type registryAt struct{ url, file string }

func (at *registryAt) flags(c *cobra.Command, usage string) {
	c.Flags().StringVar(&at.url, "registry", at.url, "`URL` of "+usage)
	c.Flags().StringVar(&at.file, "config", "", "`file` of settings of nexus run, whose registry it is, with user and authorities")
	c.MarkFlagsMutuallyExclusive("registry", "config")
}

func (at *registryAt) named() bool { return at.url != "" || at.file != "" }

// open makes the client and says where it goes; it connects nothing.
func (at *registryAt) open() (registry ports.SchemaRegistry, url string, err error) {
	settings := config.Registry{URL: at.url}
	if at.file != "" {
		all, err := loadConfig(at.file)
		if err != nil {
			return nil, "", err
		}
		if settings = all.Registry; settings.Embedded() {
			return nil, "", fmt.Errorf("%s names the embedded registry, to which a start registers by itself: name another one with --registry", at.file)
		}
	}
	registry, err = confluent.New(settings)
	return registry, settings.URL, err
}

// baseline is what today's schemas are compared with.
type baseline struct {
	history  string
	registry registryAt
}

func (b *baseline) flags(c *cobra.Command) {
	c.Flags().StringVar(&b.history, "history", filepath.Join("schemas", "avro", "history"), "`folder` with a folder per release")
	b.registry.flags(c, "a registry to compare with instead")
}

// each calls f with every older version of a schema and where it stands.
func (b *baseline) each(ctx context.Context, d topology.Description, f func(s topology.SchemaDescription, where, older string) error) error {
	if b.registry.named() {
		return eachRegistered(ctx, b.registry, d, f)
	}
	releases, err := os.ReadDir(b.history)
	if err != nil {
		return fmt.Errorf("reading the releases (name the folder with --history, or a registry with --registry or --config): %w", err)
	}
	for _, release := range releases {
		if !release.IsDir() {
			continue
		}
		for _, s := range d.Schemas {
			older, err := os.ReadFile(filepath.Join(b.history, release.Name(), s.Subject+".avsc"))
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if err := f(s, "release "+release.Name(), string(older)); err != nil {
				return err
			}
		}
	}
	return nil
}

func eachRegistered(ctx context.Context, at registryAt, d topology.Description, f func(s topology.SchemaDescription, where, older string) error) error {
	registry, _, err := at.open()
	if err != nil {
		return err
	}
	for _, s := range d.Schemas {
		versions, err := registry.Versions(ctx, s.Subject)
		if errors.Is(err, ports.ErrUnknownSchema) {
			continue
		}
		if err != nil {
			return err
		}
		for _, v := range versions {
			if err := f(s, fmt.Sprintf("version %d in the registry", v.Number), v.Text); err != nil {
				return err
			}
		}
	}
	return nil
}

// eachEdited calls f with every file that is not what its release had.
func eachEdited(history string, f func(policies.Edited)) error {
	releases, err := os.ReadDir(history)
	if err != nil {
		return err
	}
	for _, release := range releases {
		if !release.IsDir() {
			continue
		}
		edited, err := policies.Unsealed(os.DirFS(history), release.Name())
		if err != nil {
			return err
		}
		for _, e := range edited {
			f(e)
		}
	}
	return nil
}

// eachRefused calls f with every schema that the registry would not take, though we see no break: its level may be
// stricter than our rule, or its judge another.
func eachRefused(ctx context.Context, at registryAt, d topology.Description, f func(s topology.SchemaDescription, reason error)) error {
	registry, _, err := at.open()
	if err != nil {
		return err
	}
	for _, s := range d.Schemas {
		err := registry.Check(ctx, ports.Schema{Subject: s.Subject, Text: s.Schema})
		switch {
		case errors.Is(err, ports.ErrIncompatible), errors.Is(err, ports.ErrInvalidSchema):
			f(s, err)
		case err != nil:
			return err
		}
	}
	return nil
}

func schemasCheckCommand(t *topology.Topology) *cobra.Command {
	var b baseline
	c := &cobra.Command{
		Use: "check", Short: "Fail if a schema breaks with one that was released or registered", Args: cobra.NoArgs,
		Long: "check compares every schema with all its earlier versions: those of the releases, or those of a registry. A release\n" +
			"must still be what it was when it was frozen; a registry is also asked whether it would take the schema.",
		Example: "  nexus schemas check\n  nexus schemas check --registry http://registry:8081\n  nexus schemas check --config nexus.yaml",
		RunE: func(c *cobra.Command, _ []string) error {
			compared, broken := 0, 0
			seen := map[string]bool{}
			err := b.each(c.Context(), t.Describe(), func(s topology.SchemaDescription, where, older string) error {
				compared++
				reasons, err := policies.Breaks(s.Schema, older)
				for _, reason := range reasons {
					broken++
					seen[s.Subject] = true
					fmt.Fprintf(c.OutOrStdout(), "%s breaks with %s: %s\n", s.Subject, where, reason)
				}
				return err
			})
			if err == nil && !b.registry.named() {
				err = eachEdited(b.history, func(e policies.Edited) {
					broken++
					fmt.Fprintf(c.OutOrStdout(), "%s %s, in %s: put it back as it was\n", e.Subject, e.Reason, e.Release)
				})
			}
			if err == nil && b.registry.named() {
				err = eachRefused(c.Context(), b.registry, t.Describe(), func(s topology.SchemaDescription, reason error) {
					if !seen[s.Subject] {
						broken++
						fmt.Fprintf(c.OutOrStdout(), "%s would be refused by the registry: %v\n", s.Subject, reason)
					}
				})
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%d schemas, %d comparisons, %d breaks\n", len(t.Describe().Schemas), compared, broken)
			if broken > 0 {
				return Violated{fmt.Errorf("%d breaking schema changes", broken)}
			}
			return nil
		},
	}
	b.flags(c)
	return c
}

func schemasDiffCommand(t *topology.Topology) *cobra.Command {
	var b baseline
	c := &cobra.Command{
		Use: "diff", Short: "Say which schemas are new, changed or gone, and what that means for readers", Args: cobra.NoArgs,
		Example: "  nexus schemas diff\n  nexus schemas diff --registry http://registry:8081",
		RunE: func(c *cobra.Command, _ []string) error {
			d := t.Describe()
			known, same := map[string]bool{}, map[string]bool{}
			latest := map[string]func(io.Writer){}
			err := b.each(c.Context(), d, func(s topology.SchemaDescription, where, older string) error {
				known[s.Subject], same[s.Subject] = true, sameSchema(s.Schema, older)
				reasons, err := policies.Breaks(s.Schema, older)
				latest[s.Subject] = func(w io.Writer) { describeChange(w, s.Subject, where, reasons) }
				return err
			})
			if err != nil {
				return err
			}
			for _, s := range d.Schemas {
				switch {
				case !known[s.Subject]:
					fmt.Fprintf(c.OutOrStdout(), "new      %s: nobody reads it yet\n", s.Subject)
				case !same[s.Subject]:
					latest[s.Subject](c.OutOrStdout())
				}
			}
			return nil
		},
	}
	b.flags(c)
	return c
}

func describeChange(w io.Writer, subject, where string, reasons []string) {
	if len(reasons) == 0 {
		fmt.Fprintf(w, "changed  %s since %s: each side reads the other\n", subject, where)
		return
	}
	for _, reason := range reasons {
		fmt.Fprintf(w, "breaks   %s since %s: %s\n", subject, where, reason)
	}
}

func schemasRegisterCommand(t *topology.Topology) *cobra.Command {
	at, governance := registryAt{url: defaultRegistry}, config.Enforce
	c := &cobra.Command{
		Use: "register", Short: "Register every schema that a registry lacks", Args: cobra.NoArgs,
		Long: "register adds what is missing and compatible; it changes no compatibility level and removes nothing. Before the\n" +
			"first schema it judges topology and schemas by the policies, and by the versions that the registry holds: with a\n" +
			"violation nothing is registered, unless --governance=warn only shows it.\n" +
			"With --config the registry, its user and its authorities are those that nexus run uses; --registry names another.",
		Example: "  nexus schemas register --config nexus.yaml\n  nexus schemas register --registry http://registry:8081",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := config.SetGovernance(&config.Config{}, governance); err != nil {
				return fmt.Errorf("--governance: %w", err)
			}
			registry, url, err := at.open()
			if err != nil {
				return err
			}
			violated, err := judgeSchemas(c.Context(), registry, t)
			if err != nil {
				return err
			}
			if violated != nil && governance == config.Enforce {
				return Violated{fmt.Errorf("%w\nnothing is registered; mend them. --governance=%s shows them and leaves the decision to the registry", violated, config.Warn)}
			}
			if violated != nil {
				fmt.Fprintln(c.ErrOrStderr(), violated)
			}
			err = serde.New(registry, t).Register(c.Context())
			if errors.Is(err, ports.ErrIncompatible) || errors.Is(err, ports.ErrInvalidSchema) {
				return Violated{fmt.Errorf("%w\nnew schemas before it are registered; once it is mended, the next run registers the rest", err)}
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%d schemas are registered at %s\n", len(t.Subjects()), url)
			return nil
		},
	}
	at.flags(c, "the registry")
	c.Flags().StringVar(&governance, "governance", governance, "what violations of the policies do: `enforce|warn` (nothing is registered, or they are shown)")
	return c
}

// judgeSchemas judges what a start would before it registers anything.
func judgeSchemas(ctx context.Context, registry ports.SchemaRegistry, t *topology.Topology) (violated, err error) {
	if faults := t.Faults(); len(faults) > 0 {
		return nil, Violated{&system.FaultsError{Gate: "topology", Faults: faults}}
	}
	d := t.Describe()
	schemas, err := policies.ReadSchemas(d, "")
	if err != nil {
		return nil, err
	}
	history := policies.NewHistory()
	if err := system.CompareRegistered(ctx, registry, d, history); err != nil {
		return nil, err
	}
	verdict, err := policies.Judge(ctx, policies.Facts{Version: policies.FactsVersion, Topology: &d, Schemas: schemas, History: history})
	if err != nil {
		return nil, err
	}
	return system.Refusal(verdict), nil
}

func schemasFreezeCommand(t *topology.Topology) *cobra.Command {
	var history string
	c := &cobra.Command{
		Use: "freeze RELEASE", Short: "Write today's schemas down as those of a release", Args: cobra.ExactArgs(1),
		Long: "freeze writes one self-contained file per schema to HISTORY/RELEASE, and their sums to SHA256SUMS, by which nexus verify and\n" +
			"nexus schemas check find a release that was edited. A release that is there already is never changed.",
		Example: "  nexus schemas freeze 0.1.0",
		RunE: func(c *cobra.Command, args []string) error {
			dir := filepath.Join(history, args[0])
			if _, err := os.Stat(dir); err == nil {
				return Violated{fmt.Errorf("%s exists: released schemas are never changed; choose the next version", dir)}
			}
			if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a folder of the repository, for everyone to read
				return err
			}
			d := t.Describe()
			files := map[string][]byte{}
			for _, s := range d.Schemas {
				files[s.Subject+".avsc"] = indented(s.Schema)
			}
			files[policies.SumsFile] = policies.Seal(files)
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil { //nolint:gosec // the same
					return err
				}
			}
			fmt.Fprintf(c.OutOrStdout(), "%d schemas written to %s\n", len(d.Schemas), dir)
			return nil
		},
	}
	c.Flags().StringVar(&history, "history", filepath.Join("schemas", "avro", "history"), "`folder` with a folder per release")
	return c
}
