package broker

import (
	"encoding/binary"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// openTxns follows the transactions that clients have open, from their requests alone. kfake runs hooks one at a time,
// in the order of the requests; nothing here is locked.
type openTxns struct {
	now      func() time.Time
	byID     map[int64]*txn
	timeouts map[string]time.Duration // by transactional id
	names    map[[16]byte]string      // topics by id; an id never changes its name

	topicName func(id [16]byte) (string, bool)
	end       func(t tp) (int64, bool) // high watermark
}

type txn struct {
	epoch   int16
	began   time.Time
	bases   map[tp]int64
	offsets map[groupOffset]int64 // by group and partition, offset 0
}

// forgetAbove bounds what is remembered of producers that went away without ending their transaction.
const forgetAbove = 1000

func newOpenTxns(now func() time.Time) *openTxns {
	return &openTxns{now: now, byID: map[int64]*txn{}, timeouts: map[string]time.Duration{}, names: map[[16]byte]string{}}
}

// get returns the open transaction of a producer, a new one if it has none; nil for an epoch of the past, which kfake
// refuses.
func (o *openTxns) get(producer int64, epoch int16) *txn {
	t := o.byID[producer]
	switch {
	case t != nil && epoch < t.epoch:
		return nil
	case t != nil && t.epoch == epoch:
		return t
	}
	o.forget()
	t = &txn{epoch: epoch, began: o.now(), bases: map[tp]int64{}, offsets: map[groupOffset]int64{}}
	o.byID[producer] = t
	return t
}

func (o *openTxns) forget() {
	if len(o.byID) < forgetAbove {
		return
	}
	for id, t := range o.byID {
		if o.now().Sub(t.began) > maxTxnTimeout {
			delete(o.byID, id)
		}
	}
}

func (o *openTxns) onInit(q *kmsg.InitProducerIDRequest) {
	if q.TransactionalID == nil {
		return
	}
	if len(o.timeouts) > forgetAbove { // ids are new at every start; a client of a forgotten one is told to begin anew
		clear(o.timeouts)
	}
	o.timeouts[*q.TransactionalID] = time.Duration(q.TransactionTimeoutMillis) * time.Millisecond
}

func (o *openTxns) onProduce(q *kmsg.ProduceRequest) {
	for i := range q.Topics {
		rt := &q.Topics[i]
		for j := range rt.Partitions {
			raw := rt.Partitions[j].Records
			if len(raw) < batchHeaderBytes {
				continue
			}
			b := readHeader(raw)
			if !b.inTxn() {
				continue
			}
			t := o.get(b.producer, b.epoch)
			name, ok := o.name(rt.Topic, rt.TopicID)
			if t == nil || !ok {
				continue
			}
			at := tp{name, rt.Partitions[j].Partition}
			if _, known := t.bases[at]; known {
				continue
			}
			if end, ok := o.end(at); ok {
				t.bases[at] = end
			}
		}
	}
}

// name resolves a topic that newer versions send as an id.
func (o *openTxns) name(topic string, id [16]byte) (string, bool) {
	if topic != "" {
		return topic, true
	}
	if name, ok := o.names[id]; ok {
		return name, true
	}
	name, ok := o.topicName(id)
	if ok {
		o.names[id] = name
	}
	return name, ok
}

func (o *openTxns) onOffsets(q *kmsg.TxnOffsetCommitRequest) {
	t := o.get(q.ProducerID, q.ProducerEpoch)
	if t == nil {
		return
	}
	for _, rt := range q.Topics {
		name, ok := o.name(rt.Topic, rt.TopicID)
		if !ok {
			continue
		}
		for _, rp := range rt.Partitions {
			t.offsets[groupOffset{Group: q.Group, tp: tp{name, rp.Partition}}] = rp.Offset
		}
	}
}

// onEnd takes the transaction out and returns the decision to write, or nil if there is nothing to make atomic: it is
// an abort, empty, a retry or fenced. expired tells that the timeout has passed since the first sight of it.
func (o *openTxns) onEnd(q *kmsg.EndTxnRequest) (d *decision, expired bool) {
	t := o.byID[q.ProducerID]
	if t == nil || t.epoch != q.ProducerEpoch {
		return nil, false
	}
	delete(o.byID, q.ProducerID)
	if !q.Commit {
		return nil, false
	}
	if limit, ok := o.timeouts[q.TransactionalID]; !ok || o.now().Sub(t.began) >= limit {
		return nil, true
	}
	d = &decision{Producer: q.ProducerID, Epoch: q.ProducerEpoch, TxnID: q.TransactionalID}
	for at, base := range t.bases {
		d.Parts = append(d.Parts, decisionPart{tp: at, Base: base})
	}
	for key, offset := range t.offsets {
		key.Offset = offset
		d.Offsets = append(d.Offsets, key)
	}
	return d, false
}

// refuseEnd is the answer to a commit that is not carried out.
func refuseEnd(q *kmsg.EndTxnRequest, code *kerr.Error) kmsg.Response {
	resp := q.ResponseKind().(*kmsg.EndTxnResponse)
	resp.ErrorCode = code.Code
	return resp
}

// transactional tells whether a produce request carries batches of a transaction.
func transactional(q *kmsg.ProduceRequest) bool {
	for i := range q.Topics {
		for j := range q.Topics[i].Partitions {
			if raw := q.Topics[i].Partitions[j].Records; len(raw) >= batchHeaderBytes && binary.BigEndian.Uint16(raw[21:])&attrTxn != 0 {
				return true
			}
		}
	}
	return false
}

// refuseProduce answers every partition of the request with an error and a sentence.
func refuseProduce(q *kmsg.ProduceRequest, code *kerr.Error, why string) kmsg.Response {
	resp := q.ResponseKind().(*kmsg.ProduceResponse)
	for _, rt := range q.Topics {
		st := kmsg.NewProduceResponseTopic()
		st.Topic, st.TopicID = rt.Topic, rt.TopicID
		for _, rp := range rt.Partitions {
			sp := kmsg.NewProduceResponseTopicPartition()
			sp.Partition, sp.ErrorCode, sp.ErrorMessage = rp.Partition, code.Code, &why
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	return resp
}
