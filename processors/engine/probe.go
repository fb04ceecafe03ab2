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
	leader, ok := d.leaders[p.part]
	if !ok || leader < 0 {
		return false, fmt.Errorf("%s/%d has no leader", p.topic, p.part)
	}
	for at := p.position(); at < p.target; {
		resp, err := fetchOnce(ctx, r.e.cl.Broker(int(leader)), d.id, p.tp, at)
		if err != nil {
			return false, err
		}
		if len(resp.RecordBatches) == 0 {
			return true, nil
		}
		fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Offset: at, IsolationLevel: kgo.ReadCommitted(), Topic: p.topic, Partition: p.part, KeepControlRecords: true,
		}, resp, kgo.DefaultDecompressor(), nil)
		if fp.Err != nil || len(fp.Records) > 0 || next <= at {
			return false, fp.Err // the client will deliver these
		}
		at = next
	}
	return true, nil
}

func fetchOnce(ctx context.Context, b *kgo.Broker, id [16]byte, at tp, offset int64) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel, req.SessionEpoch = 1, 0, fetchBytes, 1, -1
	rt, rp := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = at.part, offset, fetchBytes, -1
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
