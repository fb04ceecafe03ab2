package views

import "github.com/twmb/franz-go/pkg/kgo"

// unreadable tells of a record that a view cannot use. It goes on: one record must not take all others away.
func (f *follower) unreadable(r *kgo.Record, err error) {
	f.logger.Error("record cannot be read by the view and is left out", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "err", err)
}
