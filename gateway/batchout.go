package gateway

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/views"
)

// render appends the answers of a group to the outbox. One look at the log's
// ends serves them all: it comes after their outcomes.
func (b *batch) render(group []settledLine) {
	positions, err := b.positionsOf(group)
	known := err == nil
	if !known {
		b.log.Warn("positions of a batch not known", "err", err)
	}
	b.out.add(func(dst []byte) []byte {
		for i := range group {
			dst = b.appendLine(dst, &group[i], positions, known)
		}
		return dst
	})
}

// positionsOf looks at the partitions that hold the group's events.
func (b *batch) positionsOf(group []settledLine) (views.Position, error) {
	seen := map[views.TopicPartition]bool{}
	var parts []views.TopicPartition
	for i := range group {
		if s := &group[i]; s.outcome != nil && s.outcome.Kind == platform.OutcomeKindAccepted {
			part := b.partition(s.ticket.kind.aggregate, s.ticket.aggregateID)
			if !seen[part] {
				seen[part] = true
				parts = append(parts, part)
			}
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	return b.positionsAfter(b.ctx, parts)
}

// appendLine appends one answer. Where the positions are not known, an accepted
// command counts as pending: without its position an answer would let the
// client read older than it wrote.
func (b *batch) appendLine(dst []byte, s *settledLine, positions views.Position, known bool) []byte {
	dst = append(dst, '{')
	no := s.no
	if no == nil && s.outcome != nil {
		no = outcomeProblem(s.outcome)
	}
	switch {
	case no != nil:
		dst = no.appendMembers(dst)
	case s.outcome == nil || !known:
		dst = appendStatus(appendPending(dst, s.ticket), http.StatusAccepted)
	default:
		position := positionOn(positions, b.partition(s.ticket.kind.aggregate, s.ticket.aggregateID))
		dst = appendStatus(appendAccepted(dst, s.outcome, position), acceptedStatus(s.outcome))
	}
	if s.ticket != nil && s.ticket.replayed && s.outcome != nil {
		dst = append(dst, `,"replayed":true`...)
	}
	dst = strconv.AppendInt(append(dst, `,"line":`...), int64(s.number), 10)
	return append(dst, '}', '\n')
}

// positionOn is the part of the position on one partition, empty where nothing
// is recorded there yet.
func positionOn(all views.Position, part views.TopicPartition) string {
	offset, ok := all[part]
	if !ok {
		return ""
	}
	return views.Position{part: offset}.String()
}

// outbox holds answers between the collector and a client that may read slower
// than they come, or not before it has written everything. A batch's number of
// lines bounds it.
type outbox struct {
	mu     sync.Mutex
	buf    []byte
	done   bool
	signal chan struct{} // holds one token while there is something to see
}

func newOutbox() *outbox { return &outbox{signal: make(chan struct{}, 1)} }

func (o *outbox) add(render func([]byte) []byte) {
	o.mu.Lock()
	o.buf = render(o.buf)
	o.mu.Unlock()
	o.wake()
}

func (o *outbox) close() {
	o.mu.Lock()
	o.done = true
	o.mu.Unlock()
	o.wake()
}

func (o *outbox) wake() {
	select {
	case o.signal <- struct{}{}:
	default:
	}
}

// take swaps what there is for the empty buffer spare. done says that nothing
// will come after it.
func (o *outbox) take(spare []byte) (buf []byte, done bool) {
	<-o.signal
	o.mu.Lock()
	defer o.mu.Unlock()
	buf, o.buf = o.buf, spare[:0]
	if o.done {
		o.wake()
	}
	return buf, o.done
}

// write sends the answers as they come.
func (b *batch) write(w http.ResponseWriter, control *http.ResponseController) error {
	var spare []byte
	for {
		buf, done := b.out.take(spare)
		if len(buf) > 0 {
			// Recorders of tests know no deadlines and need none.
			_ = control.SetWriteDeadline(machineTime(batchIdleMax))
			if _, err := w.Write(buf); err != nil {
				return err
			}
			if err := control.Flush(); err != nil {
				return err
			}
		}
		if done {
			return nil
		}
		spare = buf
	}
}

func preferenceApplied(wait time.Duration) string {
	return "wait=" + strconv.Itoa(int(wait/time.Second))
}
