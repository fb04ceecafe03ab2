// Package nexus runs an event-sourced system: commands in, events in an
// immutable log, state in compacted group tables, read models in a search
// store, every change governed before it ships.
//
// A user's program is its topology and one call:
//
//	func main() { nexus.Main(myshop.Topology()) }
package nexus

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/nexusblueprint/nexus/internal/program"
	"github.com/nexusblueprint/nexus/topology"
)

// Sample is data that `nexus dev` fills a new data folder with.
type Sample = program.Sample

// Program is what a user brings to the platform's own program.
type Program struct {
	Topology *topology.Topology
	Commands []*cobra.Command // beside the platform's own; may be empty
	Sample   *Sample          // may be nil
}

// Main runs the program: it parses the command line, runs the subcommand and
// exits with 0 if all went well, 1 if something was found violated or failed, 2
// if it could not be done.
func (p Program) Main() {
	os.Exit(program.Run(p.Topology, program.Options{Commands: p.Commands, Sample: p.Sample}, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Main is Program.Main for a topology and commands beside the platform's own.
func Main(t *topology.Topology, commands ...*cobra.Command) {
	Program{Topology: t, Commands: commands}.Main()
}
