package program

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/topology"
)

func eventsTailCommand(t *topology.Topology) *cobra.Command {
	var at remote
	var from string
	var chosen []string
	var asJSON bool
	c := &cobra.Command{
		Use: "tail", Short: "Print events as they are recorded", Args: cobra.NoArgs,
		Long: "tail prints one line per event: position, recorded time, type, aggregate and version. Events of one aggregate\n" +
			"come in their order. It goes on until it is interrupted.",
		Example: "  nexus events tail\n  nexus events tail --aggregate order,stock --from start\n  nexus events tail --json | jq .data",
		RunE: func(c *cobra.Command, _ []string) error {
			if from != "start" && from != "now" {
				return fmt.Errorf("--from %q: start and now are known", from)
			}
			aggregates, err := aggregatesOf(t, chosen)
			if err != nil {
				return err
			}
			r, err := connect(c.Context(), t, at)
			if err != nil {
				return err
			}
			return r.tail(c.Context(), t, aggregates, from == "start", asJSON, c.OutOrStdout())
		},
	}
	at.flags(c)
	aggregatesFlag(c, &chosen)
	c.Flags().StringVar(&from, "from", "now", "where to begin: start or now")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line, with the data")
	return c
}

// tail prints events until ctx ends, which is no error.
func (r *running) tail(ctx context.Context, t *topology.Topology, aggregates []topology.Aggregate, fromStart, asJSON bool, out io.Writer) error {
	cl, err := r.follow(ctx, t, aggregates, fromStart)
	if err != nil {
		return err
	}
	defer cl.Close()
	w := bufio.NewWriter(out)
	for {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for _, fe := range fetches.Errors() {
			return fmt.Errorf("reading %s/%d: %w", fe.Topic, fe.Partition, fe.Err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			rec := it.Next()
			e, err := readEvent(r.framer, rec)
			switch {
			case err != nil: // one that cannot be read hides none of the others
				err = printUnreadable(w, asJSON, rec, err)
			case asJSON:
				err = printJSON(w, e)
			default:
				e.line(w)
			}
			if err != nil {
				return errors.Join(err, w.Flush())
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
}

// follow reads the event topics on, from their start or from now.
func (r *running) follow(ctx context.Context, t *topology.Topology, aggregates []topology.Aggregate, fromStart bool) (*kgo.Client, error) {
	admin, err := kgo.NewClient(r.broker...)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	var topics []string
	for _, a := range aggregates {
		topics = append(topics, t.Events(a))
	}
	ranges, err := logread.Committed(ctx, kadm.NewClient(admin), topics...)
	if err != nil {
		return nil, err
	}
	begin := map[string]map[int32]kgo.Offset{}
	for tp, span := range ranges {
		if begin[tp.Topic] == nil {
			begin[tp.Topic] = map[int32]kgo.Offset{}
		}
		at := span.To
		if fromStart {
			at = span.From
		}
		begin[tp.Topic][tp.Partition] = kgo.NewOffset().At(at)
	}
	return kgo.NewClient(append([]kgo.Opt{kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumePartitions(begin)}, r.broker...)...)
}
