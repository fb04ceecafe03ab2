package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// probe ends recoveries whose last offsets hold nothing that a consumer is ever
// given: the cleaner has removed the tombstone and the marker that were there, or a
// broker aborted a transaction at its own start without writing a marker. franz-go
// does not say how far it has read when it has read nothing, so we ask the broker
// ourselves what lies between the position and the target.
func (r *reader) probe(behind []*partReader) {
	for _, p := range behind {
		ctx, cancel := context.WithTimeout(r.ctx, 5*time.Second)
		empty, err := r.restIsEmpty(ctx, p)
		cancel()
		if err != nil && r.ctx.Err() == nil {
			r.e.log.Debug("asking for the rest of a table", "topic", p.topic, "partition", p.part, "err", err)
		}
		if empty {
			p.finish()
		}
	}
}

// restIsEmpty answers true if all below the target is stable and holds no record.
func (r *reader) restIsEmpty(ctx context.Context, p *partReader) (bool, error) {
	tm := topics{r.e}
	stable, err := tm.offset(ctx, p.topic, p.part, offsetStable)
	if err != nil || stable < p.target {
		return false, err // a transaction is open: the client waits for it, and so do we
	}
	d, err := tm.describe(ctx, p.topic)
	if err != nil {
		return false, err
	}
	// What there is, markers included, the client will deliver.
	return r.e.isEmpty(ctx, d, p.tp, p.position(), p.target, true)
}

// isEmpty says that no committed record lies between the offsets; with markers, that
// none of these does either.
func (e *Engine) isEmpty(ctx context.Context, d described, at tp, from, to int64, markers bool) (bool, error) {
	leader, ok := d.leaders[at.part]
	if !ok || leader < 0 {
		return false, fmt.Errorf("%s/%d has no leader", at.topic, at.part)
	}
	for from < to {
		resp, err := fetchOnce(ctx, e.cl.Broker(int(leader)), d.id, at, from)
		if err != nil {
			return false, err
		}
		if len(resp.RecordBatches) == 0 {
			return true, nil
		}
		fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Offset: from, IsolationLevel: kgo.ReadCommitted(), Topic: at.topic, Partition: at.part, KeepControlRecords: markers,
		}, resp, kgo.DefaultDecompressor(), nil)
		if fp.Err != nil || len(fp.Records) > 0 || next <= from {
			return false, fp.Err
		}
		from = next
	}
	return true, nil
}

// probeBytes bounds one answer: a broker gives a whole batch all the same.
const probeBytes = 256 << 10

func fetchOnce(ctx context.Context, b *kgo.Broker, id [16]byte, at tp, offset int64) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel, req.SessionEpoch = 1, 0, probeBytes, 1, -1
	rt, rp := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = at.part, offset, probeBytes, -1
	rt.Topic, rt.TopicID, rt.Partitions = at.topic, id, append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	kresp, err := b.Request(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := kresp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, errors.New("the broker's answer is empty")
	}
	p := &resp.Topics[0].Partitions[0]
	return p, kerr.ErrorForCode(p.ErrorCode)
}
