package serde

import "github.com/twmb/franz-go/pkg/kgo"

// FrameBytes is the length of Confluent's framing: a zero byte and the schema id.
const FrameBytes = 5

// MetaHeader names the one header of commands, events and changes: their
// metadata, framed.
const MetaHeader = "nexus-meta"

// Metadata returns the framed metadata of a record, nil if it has none.
func Metadata(r *kgo.Record) []byte {
	for _, h := range r.Headers {
		if h.Key == MetaHeader {
			return h.Value
		}
	}
	return nil
}
