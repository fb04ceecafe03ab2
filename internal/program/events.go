package program

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

func eventsCommand(t *topology.Topology) *cobra.Command {
	c := &cobra.Command{Use: "events", Short: "Look at events, take them out, and restore a system from them"}
	c.AddCommand(eventsTailCommand(t), eventsShowCommand(t), eventsExportCommand(t), eventsImportCommand(t))
	return c
}

// aggregatesFlag chooses aggregate types.
func aggregatesFlag(c *cobra.Command, chosen *[]string) {
	c.Flags().StringSliceVar(chosen, "aggregate", nil, "aggregate `type`, several with commas (default all)")
}

func aggregatesOf(t *topology.Topology, chosen []string) ([]topology.Aggregate, error) {
	if len(chosen) == 0 {
		return t.Aggregates, nil
	}
	var found []topology.Aggregate
	for _, name := range chosen {
		a, err := aggregateOf(t, name)
		if err != nil {
			return nil, err
		}
		found = append(found, a)
	}
	return found, nil
}

func aggregateOf(t *topology.Topology, name string) (topology.Aggregate, error) {
	a, known := t.Aggregate(name)
	if known {
		return a, nil
	}
	var names []string
	for _, a := range t.Aggregates {
		names = append(names, a.Name())
	}
	return a, fmt.Errorf("there is no aggregate type %q: %s are known", name, strings.Join(names, ", "))
}

// event is an event as tools show it: the API's shape, and where it stands.
type event struct {
	Position      string          `json:"position"`
	ID            string          `json:"id"`
	Type          string          `json:"type"`
	AggregateType string          `json:"aggregateType"`
	AggregateID   string          `json:"aggregateId"`
	Version       int64           `json:"version"`
	At            string          `json:"at"`
	CommandID     string          `json:"commandId"`
	CorrelationID string          `json:"correlationId"`
	CausationID   string          `json:"causationId"`
	Actor         string          `json:"actor"`
	Tenant        *string         `json:"tenant,omitempty"`
	Traceparent   *string         `json:"traceparent,omitempty"`
	PreviousHash  string          `json:"previousHash"`
	Data          json.RawMessage `json:"data"`
}

func position(r *kgo.Record) string { return fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset) }

// readEvent decodes a record of an events topic.
func readEvent(framer *serde.Serde, r *kgo.Record) (e event, err error) {
	var m platform.Metadata
	if err := framer.Decode(serde.Metadata(r), &m); err != nil {
		return e, fmt.Errorf("metadata of the event at %s: %w", position(r), err)
	}
	if e.Data, err = framer.JSON(r.Value); err != nil {
		return e, fmt.Errorf("event at %s: %w", position(r), err)
	}
	schema, err := framer.Schema(binary.BigEndian.Uint32(r.Value[1:])) // it has a frame: it was read
	if err != nil {
		return e, fmt.Errorf("event at %s: %w", position(r), err)
	}
	e.Position, e.Type = position(r), topology.ShortName(schema.Name())
	e.ID, e.AggregateType, e.AggregateID, e.Version, e.At = m.EventID.String(), m.AggregateType, m.AggregateID, m.Version, m.At.String()
	e.CommandID, e.CorrelationID, e.CausationID, e.Actor = m.CommandID, m.CorrelationID, m.CausationID, m.Actor
	e.Tenant, e.Traceparent, e.PreviousHash = m.Tenant, m.Traceparent, fmt.Sprintf("%x", m.PreviousHash)
	return e, nil
}

// line prints an event on one line, in columns of a fixed order.
func (e event) line(w io.Writer) {
	fmt.Fprintf(w, "%s  %s  %s  %s %s  v%d\n", e.Position, e.At, e.Type, e.AggregateType, e.AggregateID, e.Version)
}

// printJSON prints one value on one line.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// printUnreadable prints a record that cannot be decoded, on one line.
func printUnreadable(w io.Writer, asJSON bool, r *kgo.Record, why error) error {
	if asJSON {
		return printJSON(w, map[string]string{"position": position(r), "unreadable": why.Error()})
	}
	_, err := fmt.Fprintf(w, "%s  unreadable: %v\n", position(r), why)
	return err
}
