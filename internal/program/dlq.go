package program

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

func dlqCommand(t *topology.Topology) *cobra.Command {
	c := &cobra.Command{Use: "dlq", Short: "Look at dead letters: records that could not be handled"}
	c.AddCommand(dlqListCommand(t), dlqShowCommand(t))
	return c
}

// letter is a dead letter as tools show it.
type letter struct {
	Position string         `json:"position"` // of the letter itself
	Reason   string         `json:"reason"`
	Detail   string         `json:"detail"`
	Group    string         `json:"group"`
	Original string         `json:"original"` // position of the record
	Time     string         `json:"time"`     // of the record
	Key      string         `json:"key"`      // as text where it is text, else hexadecimal
	Attempts int32          `json:"attempts"`
	FirstAt  string         `json:"firstAt"`
	LastAt   string         `json:"lastAt"`
	Stack    string         `json:"stack,omitempty"`
	Value    *content       `json:"value,omitempty"`
	Headers  []letterHeader `json:"headers,omitempty"`
}

// content is bytes, and what they say where a registered schema reads them.
type content struct {
	Hex    string          `json:"hex"`
	JSON   json.RawMessage `json:"json,omitempty"`
	Unread string          `json:"unread,omitempty"` // why there is no JSON
}

type letterHeader struct {
	Name string `json:"name"`
	content
}

// readLetter decodes a record of the dead-letter topic, without its content.
func readLetter(framer *serde.Serde, r *kgo.Record) (l letter, original platform.DeadLetter, err error) {
	if err := framer.Decode(r.Value, &original); err != nil {
		return l, original, fmt.Errorf("dead letter at %s: %w", position(r), err)
	}
	l = letter{
		Position: position(r), Reason: original.Reason, Detail: original.Detail, Group: original.Group,
		Original: fmt.Sprintf("%s/%d/%d", original.Topic, original.Partition, original.Offset),
		Time:     original.Timestamp.String(), Key: textOrHex(original.Key),
		Attempts: original.Attempts, FirstAt: original.FirstAt.String(), LastAt: original.LastAt.String(),
	}
	if original.Stack != nil {
		l.Stack = *original.Stack
	}
	return l, original, nil
}

// open adds the original's content.
func (l *letter) open(framer *serde.Serde, original platform.DeadLetter) {
	value := read(framer, original.Value)
	l.Value = &value
	for _, h := range original.Headers {
		l.Headers = append(l.Headers, letterHeader{Name: h.Name, content: read(framer, h.Value)})
	}
}

func read(framer *serde.Serde, b []byte) content {
	c := content{Hex: hex.EncodeToString(b)}
	text, err := framer.JSON(b)
	if err != nil {
		c.Unread = err.Error()
		return c
	}
	c.JSON = text
	return c
}

func textOrHex(b []byte) string {
	plain := utf8.Valid(b) && !strings.ContainsFunc(string(b), func(r rune) bool { return r < ' ' || r == 0x7f })
	if plain {
		return string(b)
	}
	return "0x" + hex.EncodeToString(b)
}
