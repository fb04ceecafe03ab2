package program

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/topology"
)

func dlqListCommand(t *topology.Topology) *cobra.Command {
	var at remote
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "List the dead letters", Args: cobra.NoArgs,
		Long: "list prints one line per dead letter: its position, when it was set aside, why, by which group, and the position\n" +
			"and key of the record that could not be handled. Letters are kept for 30 days.",
		Example: "  nexus dlq list\n  nexus dlq list --json | jq -r .reason | sort | uniq -c",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := connect(c.Context(), t, at)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			if !asJSON {
				fmt.Fprintln(w, "POSITION\tTIME\tREASON\tGROUP\tRECORD\tKEY")
			}
			err = r.deadLetters(c.Context(), t, func(rec *kgo.Record) error {
				l, _, err := readLetter(r.framer, rec)
				switch {
				case err != nil: // one that cannot be read hides none of the others
					err = errors.Join(w.Flush(), printUnreadable(c.OutOrStdout(), asJSON, rec, err))
				case asJSON:
					err = printJSON(c.OutOrStdout(), l)
				default:
					_, err = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Position, l.LastAt, l.Reason, l.Group, l.Original, l.Key)
				}
				return err
			})
			if err != nil || asJSON {
				return err
			}
			return w.Flush()
		},
	}
	at.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return c
}

// deadLetters calls f with the records of the dead-letter topic, as of now.
func (r *running) deadLetters(ctx context.Context, t *topology.Topology, f func(*kgo.Record) error) error {
	cl, err := kgo.NewClient(r.broker...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ranges, err := logread.Committed(ctx, kadm.NewClient(cl), t.DeadLetters())
	if err != nil {
		return err
	}
	return logread.Each(ctx, ranges, f, r.broker...)
}
