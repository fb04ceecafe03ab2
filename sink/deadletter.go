package sink

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// deadLetters sets table records aside that the store refuses for ever.
type deadLetters struct{ cfg *Config }

// set writes the dead letter and waits for the broker: the offset behind the
// record is committed only after it. It tries until it succeeds or ctx ends; a
// repetition after a crash may write a letter twice, but never none.
func (d *deadLetters) set(ctx context.Context, m *mirror, r *kgo.Record, reason string, cause error) {
	now := avro.MillisOf(d.cfg.Clock.Now())
	letter := &platform.DeadLetter{
		Reason: reason, Detail: cause.Error(), Group: d.cfg.Topology.SinkGroup(m.projection),
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: avro.MillisOf(r.Timestamp),
		Key: r.Key, Value: r.Value, Attempts: 1, FirstAt: now, LastAt: now,
	}
	for _, h := range r.Headers {
		letter.Headers = append(letter.Headers, platform.DeadLetterHeader{Name: h.Key, Value: h.Value})
	}
	m.logger.Warn("document set aside", "reason", reason, "err", cause, "topic", r.Topic, "partition", r.Partition, "offset", r.Offset)
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		value, err := d.cfg.Framer.Append(nil, letter)
		if err == nil {
			err = d.cfg.Client.ProduceSync(ctx, &kgo.Record{Topic: d.cfg.Topology.DeadLetters(), Key: r.Key, Value: value}).FirstErr()
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		m.logger.Warn("dead letter not written, trying again", "err", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}
