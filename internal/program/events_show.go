package program

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/topology"
)

func eventsShowCommand(t *topology.Topology) *cobra.Command {
	var at remote
	var asJSON bool
	c := &cobra.Command{
		Use: "show POSITION | AGGREGATE ID", Short: "Print one event, or all of one aggregate, with their data", Args: cobra.RangeArgs(1, 2),
		Long: "show prints what the log holds, decoded by the schema each event was written with: one event by its position\n" +
			"(topic/partition/offset), or every event of one aggregate.",
		Example: "  nexus events show shop.order.events/3/18422\n  nexus events show order 536365\n  nexus events show stock 22423 --json | jq .data.quantity",
		RunE: func(c *cobra.Command, args []string) error {
			r, err := connect(c.Context(), t, at)
			if err != nil {
				return err
			}
			show := func(rec *kgo.Record) error {
				e, err := readEvent(r.framer, rec)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(c.OutOrStdout(), e)
				}
				return e.print(c.OutOrStdout())
			}
			if len(args) == 1 {
				return r.showPosition(c.Context(), t, args[0], show)
			}
			return r.showAggregate(c.Context(), t, args[0], args[1], show)
		},
	}
	at.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return c
}

// place is a position of one record.
type place struct {
	logread.TopicPartition
	offset int64
}

func parsePlace(text string) (p place, err error) {
	parts := strings.Split(text, "/")
	if len(parts) == 3 {
		var partition int64
		partition, err = strconv.ParseInt(parts[1], 10, 32)
		p.Topic, p.Partition = parts[0], int32(partition)
		if err == nil {
			p.offset, err = strconv.ParseInt(parts[2], 10, 64)
		}
	}
	if len(parts) != 3 || err != nil || p.Partition < 0 || p.offset < 0 {
		return p, fmt.Errorf("%q is no position: want topic/partition/offset such as shop.order.events/3/18422", text)
	}
	return p, nil
}

// at calls f with the record at a place.
func (r *running) at(ctx context.Context, p place, f func(*kgo.Record) error) error {
	span, err := r.span(ctx, p.TopicPartition)
	if err != nil {
		return err
	}
	if p.offset < span.From || p.offset >= span.To {
		return Violated{fmt.Errorf("%s has the offsets %d to %d: there is nothing at %d", p.TopicPartition, span.From, span.To-1, p.offset)}
	}
	found := false
	err = logread.Each(ctx, map[logread.TopicPartition]logread.Range{p.TopicPartition: {From: p.offset, To: p.offset + 1}}, func(rec *kgo.Record) error {
		found = true
		return f(rec)
	}, r.broker...)
	if err == nil && !found {
		return Violated{fmt.Errorf("%s holds no record at %d: it is the mark of a transaction, or belongs to one that was aborted", p.TopicPartition, p.offset)}
	}
	return err
}

// span is what is committed of one partition.
func (r *running) span(ctx context.Context, tp logread.TopicPartition) (logread.Range, error) {
	cl, err := kgo.NewClient(r.broker...)
	if err != nil {
		return logread.Range{}, err
	}
	defer cl.Close()
	ranges, err := logread.Committed(ctx, kadm.NewClient(cl), tp.Topic)
	if err != nil {
		return logread.Range{}, err
	}
	span, there := ranges[tp]
	if !there {
		return span, Violated{fmt.Errorf("there is no partition %s", tp)}
	}
	return span, nil
}

func (r *running) showPosition(ctx context.Context, t *topology.Topology, text string, show func(*kgo.Record) error) error {
	p, err := parsePlace(text)
	if err != nil {
		return err
	}
	for _, a := range t.Aggregates {
		if t.Events(a) == p.Topic {
			return r.at(ctx, p, show)
		}
	}
	return fmt.Errorf("%s holds no events: name a topic such as %s", p.Topic, t.Events(t.Aggregates[0]))
}

// showAggregate reads the one partition that the aggregate's events are on.
func (r *running) showAggregate(ctx context.Context, t *topology.Topology, name, id string, show func(*kgo.Record) error) error {
	a, err := aggregateOf(t, name)
	if err != nil {
		return err
	}
	partition := kgo.StickyKeyPartitioner(nil).ForTopic("").Partition(&kgo.Record{Key: []byte(id)}, int(t.PartitionCount()))
	tp := logread.TopicPartition{Topic: t.Events(a), Partition: int32(partition)}
	span, err := r.span(ctx, tp)
	if err != nil {
		return err
	}
	found := false
	err = logread.Each(ctx, map[logread.TopicPartition]logread.Range{tp: span}, func(rec *kgo.Record) error {
		if string(rec.Key) != id {
			return nil
		}
		found = true
		return show(rec)
	}, r.broker...)
	if err == nil && !found {
		return Violated{fmt.Errorf("there is no %s %q; ids are exact and case-sensitive", name, id)}
	}
	return err
}

// print prints all of an event for people.
func (e event) print(w io.Writer) error {
	none := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	fmt.Fprintf(w, "%s\n", e.Position)
	for _, f := range []struct{ name, value string }{
		{"type", e.Type},
		{"aggregate", e.AggregateType + " " + e.AggregateID},
		{"version", strconv.FormatInt(e.Version, 10)},
		{"time", e.At},
		{"id", e.ID},
		{"command", e.CommandID},
		{"correlation", e.CorrelationID},
		{"causation", e.CausationID},
		{"actor", e.Actor},
		{"previous hash", e.PreviousHash},
	} {
		fmt.Fprintf(w, "  %-14s %s\n", f.name, none(f.value))
	}
	var data bytes.Buffer
	if err := json.Indent(&data, e.Data, "  ", "  "); err != nil {
		return errors.Join(fmt.Errorf("event at %s", e.Position), err)
	}
	_, err := fmt.Fprintf(w, "  %s\n", data.Bytes())
	return err
}
