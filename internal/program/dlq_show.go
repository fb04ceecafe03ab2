package program

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/topology"
)

func dlqShowCommand(t *topology.Topology) *cobra.Command {
	var at remote
	var asJSON bool
	c := &cobra.Command{
		Use: "show POSITION", Short: "Print a dead letter with the original record, byte for byte", Args: cobra.ExactArgs(1),
		Long: "show prints everything that is known of a record that could not be handled: why, by whom, its bytes, and its\n" +
			"content where a registered schema reads it. Positions are those of nexus dlq list.",
		Example: "  nexus dlq show shop.dlq/3/12\n  nexus dlq show shop.dlq/3/12 --json | jq -r .value.hex | xxd -r -p > record.bin",
		RunE: func(c *cobra.Command, args []string) error {
			p, err := parsePlace(args[0])
			if err != nil {
				return err
			}
			if p.Topic != t.DeadLetters() {
				return fmt.Errorf("%s holds no dead letters: they are on %s, nexus dlq list names their positions", p.Topic, t.DeadLetters())
			}
			r, err := connect(c.Context(), t, at)
			if err != nil {
				return err
			}
			return r.at(c.Context(), p, func(rec *kgo.Record) error {
				l, original, err := readLetter(r.framer, rec)
				if err != nil {
					return err
				}
				l.open(r.framer, original)
				if asJSON {
					return printJSON(c.OutOrStdout(), l)
				}
				l.print(c.OutOrStdout())
				return nil
			})
		},
	}
	at.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// print prints all of a letter for people.
func (l letter) print(w io.Writer) {
	fmt.Fprintln(w, l.Position)
	for _, f := range []struct{ name, value string }{
		{"reason", l.Reason},
		{"detail", l.Detail},
		{"group", l.Group},
		{"record", l.Original},
		{"record time", l.Time},
		{"key", l.Key},
		{"attempts", fmt.Sprintf("%d, from %s to %s", l.Attempts, l.FirstAt, l.LastAt)},
	} {
		fmt.Fprintf(w, "  %-12s %s\n", f.name, f.value)
	}
	if l.Stack != "" {
		fmt.Fprintf(w, "  stack\n    %s\n", strings.ReplaceAll(strings.TrimSpace(l.Stack), "\n", "\n    "))
	}
	for _, h := range l.Headers {
		h.print(w, "header "+h.Name)
	}
	if l.Value != nil {
		l.Value.print(w, "value")
	}
}

func (c content) print(w io.Writer, name string) {
	raw, _ := hex.DecodeString(c.Hex) // it was encoded here
	fmt.Fprintf(w, "  %s, %d bytes\n", name, len(raw))
	if c.Unread != "" {
		fmt.Fprintf(w, "    cannot be decoded: %s\n", c.Unread)
	}
	if c.JSON != nil {
		var text bytes.Buffer
		if json.Indent(&text, c.JSON, "    ", "  ") == nil {
			fmt.Fprintf(w, "    %s\n", text.Bytes())
		}
	}
	for line := range strings.Lines(hex.Dump(raw)) {
		fmt.Fprintf(w, "    %s", line)
	}
}
