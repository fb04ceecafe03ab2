package shop

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

// Commands are the shop's own subcommands. They talk to a running system over
// HTTP. An error that says how the program should end has the method
// ExitCode() int: 1 where something failed, 2 where it could not be tried.
func Commands() []*cobra.Command { return []*cobra.Command{loadCommand(), figuresCommand()} }

// exitError is an error with the exit code it asks for.
type exitError struct {
	error
	code int
}

// ExitCode is what the program should end with.
func (e exitError) ExitCode() int { return e.code }

// Unwrap gives the error without its code.
func (e exitError) Unwrap() error { return e.error }

func loadCommand() *cobra.Command {
	load := &cobra.Command{Use: "load", Short: "Load data through the command path", Args: cobra.NoArgs}
	var server string
	online := &cobra.Command{
		Use:   "online-retail [FILES…]",
		Short: "Load real orders of a UK gift shop",
		Long: `Load real orders of a UK gift shop (Online Retail, Chen 2015, CC BY 4.0) as
commands over HTTP, and wait until the read models have them all.

FILES are CSV files of the dataset, plain or compressed with gzip, in the order
of their time. Without FILES it loads the six months the program ships with,
December 2010 to May 2011. Loading again changes nothing.`,
		Example: `  nexus load online-retail
  nexus load online-retail 2011-06.csv.gz 2011-07.csv.gz
  nexus load online-retail --server http://127.0.0.1:9090`,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, files []string) error {
			var sources []retailcsv.Source
			for _, f := range files {
				sources = append(sources, retailcsv.File(f))
			}
			report, err := Load(cmd.Context(), LoadOptions{Server: server, Sources: sources, Out: cmd.OutOrStdout()})
			var content *retailcsv.Error
			switch {
			case errors.As(err, &content):
				return exitError{err, 1}
			case err != nil:
				return exitError{err, 2}
			case report.Failed > 0:
				return exitError{fmt.Errorf("%d of %d commands failed", report.Failed, report.Commands()), 1}
			}
			return nil
		},
	}
	serverFlag(online, &server)
	load.AddCommand(online)
	return load
}

func figuresCommand() *cobra.Command {
	var server string
	var asJSON bool
	figures := &cobra.Command{
		Use:   "figures",
		Short: "Show the shop's totals, read back through the query API",
		Example: `  nexus figures
  nexus figures --json --server http://127.0.0.1:9090`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := ReadFigures(cmd.Context(), server)
			if err != nil {
				return exitError{err, 2}
			}
			if f.LagRecords > 0 {
				cmd.PrintErrf("the read models are %d records behind the log: the figures are not complete\n", f.LagRecords)
			}
			if asJSON {
				return f.WriteJSON(cmd.OutOrStdout())
			}
			return f.WriteTable(cmd.OutOrStdout())
		},
	}
	serverFlag(figures, &server)
	figures.Flags().BoolVar(&asJSON, "json", false, "print JSON for programs")
	return figures
}

func serverFlag(cmd *cobra.Command, server *string) {
	cmd.Flags().StringVar(server, "server", DefaultServer, "address of the running system")
}
