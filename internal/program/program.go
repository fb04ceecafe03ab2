// Package program is the command line: a file per subcommand, each a few lines
// over the package that does the work.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nexusblueprint/nexus/topology"
)

// Options are what a program adds to the platform.
type Options struct {
	Commands []*cobra.Command
	Sample   *Sample // may be nil
}

// Exit codes, relied on by scripts.
const (
	exitFine     = 0
	exitViolated = 1 // something was judged and found wrong, or failed
	exitCannot   = 2 // it could not be done at all
)

// Violated is an error that means: it was done, and the answer is no.
type Violated struct{ Err error }

func (v Violated) Error() string { return v.Err.Error() }

// Unwrap gives the reason.
func (v Violated) Unwrap() error { return v.Err }

// ExitCode lets an error of a subcommand choose its exit code.
type ExitCode interface{ ExitCode() int }

// Run executes one command line and returns the exit code. The first interrupt
// ends it in order, the second at once.
func Run(t *topology.Topology, o Options, args []string, in io.Reader, out, errs io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the next interrupt has its usual effect
	return run(ctx, t, o, args, in, out, errs)
}

func run(ctx context.Context, t *topology.Topology, o Options, args []string, in io.Reader, out, errs io.Writer) int {
	root := command(t, o)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitFine
	}
	fmt.Fprintln(errs, "nexus:", err)
	var coded ExitCode
	var violated Violated
	switch {
	case errors.As(err, &coded):
		return coded.ExitCode()
	case errors.As(err, &violated):
		return exitViolated
	}
	return exitCannot
}

func command(t *topology.Topology, o Options) *cobra.Command {
	root := &cobra.Command{
		Use:           "nexus",
		Short:         "Event-sourced CQRS in one program",
		Long:          "nexus runs the " + t.Context + " context: commands in, events in an immutable log, read models out.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       Version(),

		PersistentPreRunE: refuseEmpty,
	}
	root.AddGroup(&cobra.Group{ID: "run", Title: "Running:"}, &cobra.Group{ID: "judge", Title: "Judging:"}, &cobra.Group{ID: "look", Title: "Looking:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", devCommand(t, o), runCommand(t))
	add("judge", checkCommand(t), doctorCommand(t), verifyCommand(t), schemasCommand(t))
	add("look", eventsCommand(t), dlqCommand(t), topologyCommand(t), versionCommand())
	root.AddCommand(o.Commands...)
	demandSubcommands(root)
	return root
}

// refuseEmpty keeps a variable that is not set, as in --registry "$REGISTRY", from
// meaning that the flag was left out: less would be judged, or something else done.
func refuseEmpty(c *cobra.Command, _ []string) (err error) {
	for _, name := range []string{"config", "data", "history", "junit", "policies", "registry", "sarif", "waivers"} {
		if f := c.Flags().Lookup(name); f != nil && f.Changed && f.Value.String() == "" {
			err = errors.Join(err, fmt.Errorf("--%s is empty: give it a value, or leave it out", name))
		}
	}
	return err
}

// demandSubcommands lets commands that only group others refuse what is none of
// them: cobra would print their help and succeed.
func demandSubcommands(c *cobra.Command) {
	for _, group := range c.Commands() {
		if !group.HasSubCommands() || group.Runnable() {
			continue
		}
		group.RunE = func(group *cobra.Command, args []string) error {
			var names []string
			for _, c := range group.Commands() {
				names = append(names, c.Name())
			}
			wanted := group.CommandPath() + " " + strings.Join(names, ", ")
			if len(args) == 0 {
				return fmt.Errorf("%s: say what; there is %s", group.CommandPath(), wanted)
			}
			return fmt.Errorf("%s: there is no %q, but %s", group.CommandPath(), args[0], wanted)
		}
		group.Args = cobra.ArbitraryArgs
	}
}
