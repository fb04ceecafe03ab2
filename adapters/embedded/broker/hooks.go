package broker

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxTxnTimeout is kfake's transaction.max.timeout.ms.
const maxTxnTimeout = 15 * time.Minute

// hooks sees the requests that change the log before kfake handles them, in the same step of its one loop. An error
// from a hook closes the connection: the request has not happened, and the client does not hear that it has.
type hooks struct {
	cfg     Config
	cluster *kfake.Cluster
	slot    *slot
	txns    *openTxns
	refused atomic.Int64
	full    atomic.Bool // the disk was below the floor when it was last looked at
	// broken is the first failed write inside kfake, which answers success all the same. From then on nothing that
	// writes is let through: the decision slot stays as it is, and the next start completes or aborts.
	broken atomic.Pointer[string]
}

type hookFunc func(kmsg.Request) (kmsg.Response, error)

func (h *hooks) register() {
	h.txns.topicName = func(id [16]byte) (string, bool) {
		if info := h.cluster.TopicIDInfo(id); info != nil {
			return info.Topic, true
		}
		return "", false
	}
	h.txns.end = func(t tp) (int64, bool) {
		if info := h.cluster.PartitionInfo(t.Topic, t.Part); info != nil {
			return info.HighWatermark, true
		}
		return 0, false
	}
	h.on(kmsg.InitProducerID, h.onInit)
	h.on(kmsg.AddPartitionsToTxn, h.onAddPartitions)
	h.on(kmsg.AddOffsetsToTxn, h.onAddOffsets)
	h.on(kmsg.Produce, h.onProduce)
	h.on(kmsg.Fetch, h.onFetch)
	h.on(kmsg.TxnOffsetCommit, h.onTxnOffsets)
	h.on(kmsg.EndTxn, h.onEnd)
	h.on(kmsg.DeleteRecords, h.onDeleteRecords)
	for _, k := range []kmsg.Key{kmsg.OffsetCommit, kmsg.OffsetDelete, kmsg.DeleteGroups, kmsg.DeleteTopics} {
		h.on(k, h.forgetDecision)
	}
}

// renewAfter bounds what kfake keeps for ever per hook: the last request of every connection there ever was.
const renewAfter = 4096

func (h *hooks) on(key kmsg.Key, fn hookFunc) {
	calls := 0
	h.cluster.ControlKey(int16(key), func(r kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		if calls++; calls == renewAfter {
			h.cluster.DropControl()
			h.on(key, fn) // runs from the next request on
		}
		resp, err := fn(r)
		return resp, err, resp != nil || err != nil
	})
}

func (h *hooks) onInit(r kmsg.Request) (kmsg.Response, error) {
	h.txns.onInit(r.(*kmsg.InitProducerIDRequest))
	return nil, nil
}

// kfake's clock of a transaction starts here for clients older than KIP-890; ours must not start later.
func (h *hooks) onAddPartitions(r kmsg.Request) (kmsg.Response, error) {
	q := r.(*kmsg.AddPartitionsToTxnRequest)
	h.txns.get(q.ProducerID, q.ProducerEpoch)
	return nil, nil
}

func (h *hooks) onAddOffsets(r kmsg.Request) (kmsg.Response, error) {
	q := r.(*kmsg.AddOffsetsToTxnRequest)
	h.txns.get(q.ProducerID, q.ProducerEpoch)
	return nil, nil
}

func (h *hooks) onTxnOffsets(r kmsg.Request) (kmsg.Response, error) {
	h.txns.onOffsets(r.(*kmsg.TxnOffsetCommitRequest))
	return nil, nil
}

// onProduce answers with errors that franz-go does not retry, so that a caller hears at once: TRANSACTION_ABORTABLE
// inside a transaction, which the client can then abort and begin anew, POLICY_VIOLATION outside. The retriable
// KAFKA_STORAGE_ERROR would keep records buffered for ever.
func (h *hooks) onProduce(r kmsg.Request) (kmsg.Response, error) {
	q := r.(*kmsg.ProduceRequest)
	if why := h.refuse(); why != nil {
		h.refused.Add(1)
		if q.Acks == 0 {
			return nil, why
		}
		code := kerr.PolicyViolation
		if transactional(q) {
			code = kerr.TransactionAbortable
		}
		return refuseProduce(q, code, why.Error()), nil
	}
	if q.TransactionID != nil {
		h.txns.onProduce(q)
	}
	return nil, nil
}

// fetchedAtLeast of a partition fits into an answer, however many partitions share it.
const fetchedAtLeast = 128 << 10

// onFetch moves the bound of the whole answer to its partitions. Where the whole is full, kfake leaves out which
// transactions of the partition it was at were aborted, and a read_committed client takes their records for committed;
// where a partition is, it does not.
func (h *hooks) onFetch(r kmsg.Request) (kmsg.Response, error) {
	q := r.(*kmsg.FetchRequest)
	n := 0
	for i := range q.Topics {
		n += len(q.Topics[i].Partitions)
	}
	if n > 0 {
		each := max(q.MaxBytes/int32(n), fetchedAtLeast) // the gate bounds a request, and so n
		for i := range q.Topics {
			for j := range q.Topics[i].Partitions {
				p := &q.Topics[i].Partitions[j]
				p.PartitionMaxBytes = min(p.PartitionMaxBytes, each)
			}
		}
	}
	q.MaxBytes = math.MaxInt32
	return nil, nil
}

func (h *hooks) onEnd(r kmsg.Request) (kmsg.Response, error) {
	q := r.(*kmsg.EndTxnRequest)
	if h.broken.Load() != nil { // an abort writes too
		h.refused.Add(1)
		return refuseEnd(q, kerr.PolicyViolation), nil
	}
	if q.Commit {
		if why := h.refuse(); why != nil {
			h.refused.Add(1)
			return refuseEnd(q, kerr.TransactionAbortable), nil
		}
	}
	d, expired := h.txns.onEnd(q)
	switch {
	case expired: // kfake may have aborted it already; its clock started after ours
		return refuseEnd(q, kerr.ProducerFenced), nil
	case d != nil:
		return nil, h.slot.write(d)
	default:
		// An abort writes markers that a repair could take for those of the decision before it.
		return nil, h.slot.clear()
	}
}

// forgetDecision empties the slot before a request whose effect a repair could undo. That it has come shows that the
// last commit is finished.
func (h *hooks) forgetDecision(kmsg.Request) (kmsg.Response, error) { return nil, h.slot.clear() }

// onDeleteRecords keeps the last batch of each partition: kfake forgets where an empty partition ended, and would
// number from 0 again after the next start. It frees disk by whole segments.
func (h *hooks) onDeleteRecords(r kmsg.Request) (kmsg.Response, error) {
	q := r.(*kmsg.DeleteRecordsRequest)
	for i := range q.Topics {
		for j := range q.Topics[i].Partitions {
			p := &q.Topics[i].Partitions[j]
			end, ok := h.txns.end(tp{q.Topics[i].Topic, p.Partition})
			if ok && end > 0 && (p.Offset == -1 || p.Offset == end) {
				p.Offset = end - 1
			}
		}
	}
	return nil, h.slot.clear()
}

// refuse says why nothing may be written now, or nil.
func (h *hooks) refuse() error {
	if broken := h.broken.Load(); broken != nil {
		return errors.New(*broken)
	}
	why := h.noRoom()
	// Only the change is worth a line: on a full disk every client tries again and again.
	if was := h.full.Swap(why != nil); was != (why != nil) {
		if why != nil {
			h.cfg.Logger.Warn("writes are refused until the disk has room; reads go on", "err", why)
		} else {
			h.cfg.Logger.Warn("writes are taken again: the disk has room")
		}
	}
	return why
}

func (h *hooks) noRoom() error {
	free, err := h.cfg.freeBytes(h.cfg.Dir)
	if err != nil {
		return fmt.Errorf("writes are refused: %w", err)
	}
	if free < h.cfg.MinFreeBytes {
		return fmt.Errorf("writes are refused: the disk of %s has %d MiB free, %d MiB are needed; free some space and try again",
			h.cfg.Dir, free>>20, h.cfg.MinFreeBytes>>20)
	}
	return nil
}

// Logf takes kfake's own log. Its warnings about persistence are the only sign of a failed write.
func (h *hooks) Logf(level kfake.LogLevel, format string, args ...any) {
	if level > kfake.LogLevelWarn {
		return
	}
	msg := fmt.Sprintf(format, args...)
	if failedWrite(format) {
		why := "writes are refused until the next start, because one has failed: " + msg
		if h.broken.CompareAndSwap(nil, &why) {
			h.cfg.Logger.Error("a write to the log failed; nothing more is accepted, restart when the disk is well", "err", msg)
		}
		return
	}
	if strings.HasPrefix(format, "txn: EndTxn slow") { // by its own count of milliseconds; the metrics tell more
		h.cfg.Logger.Debug("commit was slow", "broker", msg)
		return
	}
	h.cfg.Logger.Warn("the broker warns", "broker", msg)
}

// failedWrite tells by the constant part of kfake's message that bytes did not reach the folder. TestLayout pins it.
func failedWrite(format string) bool {
	return strings.HasPrefix(format, "persist ") || strings.HasPrefix(format, "endTx: failed to persist")
}
