package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"
)

// useGraph is told by goka which topics the processor uses, before all else.
func (e *Engine) useGraph(g *goka.GroupGraph) {
	e.graph.Store(g)
	e.topic.reset()
}

// storageBuilder builds the group table and the tables that are joined or looked up.
func (e *Engine) storageBuilder(topic string, partition int32) (storage.Storage, error) {
	if topic != e.table {
		return e.copyBuilder(topic, partition)
	}
	sp, err := e.store.space(topic, partition)
	if err != nil {
		return nil, err
	}
	t := newTable(sp, partition)
	t.check, t.opened, t.closed = e.checkTable, e.tableOpened, e.tableClosed
	t.recovered = func() { e.topic.unsnap(tp{topic, partition}) }
	return t, nil
}

// copyBuilder builds a copy of another group's table: a view, a join or a lookup.
// Each group has its own, beside the table itself if that is in this process, too.
func (e *Engine) copyBuilder(topic string, partition int32) (storage.Storage, error) {
	sp, err := e.store.space(topic+" for "+e.cfg.Group, partition)
	if err != nil {
		return nil, err
	}
	t := newTable(sp, partition)
	t.recovered = func() { e.topic.unsnap(tp{topic, partition}) }
	t.check = func(_ *table, m mark) ([16]byte, bool, error) { return e.checkStore(topic, partition, m) }
	return t, nil
}

func (e *Engine) checkTable(t *table, m mark) ([16]byte, bool, error) {
	return e.checkStore(e.table, t.part, m)
}

// checkStore tells whether the changelog goes on where the local store ends. It
// does not if
//   - the topic was created anew;
//   - it ends before our offset: it has lost records;
//   - it begins after our offset: what lies between may have deleted our keys;
//   - the store was away for longer than tombstones are kept: the same.
//
// goka would go on with such a store, with stale values in it.
func (e *Engine) checkStore(topic string, partition int32, m mark) (id [16]byte, keep bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	tm := topics{e}
	if id, err = e.topic.id(ctx, topic); err != nil || m.offset < 0 {
		return id, false, err
	}
	c, err := e.topic.settings(ctx, topic)
	if err != nil {
		return id, false, err
	}
	start, err := tm.GetOffset(topic, partition, sarama.OffsetOldest)
	if err != nil {
		return id, false, err
	}
	high, err := tm.GetOffset(topic, partition, sarama.OffsetNewest)
	if err != nil {
		return id, false, err
	}
	var why string
	away := e.store.now().Sub(m.seen)
	switch {
	case m.topic != id:
		why = "the topic was created anew"
	case m.offset >= high:
		why = fmt.Sprintf("the topic ends at %d, before offset %d of the store: it has lost records", high, m.offset)
	case start > m.offset+1:
		why = fmt.Sprintf("the topic begins at %d, after offset %d of the store", start, m.offset)
	case away > c.tombstones-c.tombstones/10:
		why = fmt.Sprintf("the store was away for %v and tombstones are kept for %v", away.Round(time.Minute), c.tombstones)
	default:
		return id, true, nil
	}
	e.log.Warn("local copy discarded, restoring all of it", "topic", topic, "partition", partition, "why", why)
	return id, false, nil
}

// openTable is the open table of the group, nil for other topics' partitions: those
// may have update callbacks, which goka calls.
func (e *Engine) openTable(at tp) *table {
	if at.topic != e.table {
		return nil
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.tables[at.part]
}

// noTable is for readers that beside the processor read its own table.
func noTable(tp) *table { return nil }

func (e *Engine) tableOpened(t *table) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tables[t.part] = t
}

func (e *Engine) tableClosed(t *table) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tables[t.part] == t {
		delete(e.tables, t.part)
	}
}

// tablesOf returns the open tables of these partitions; others are hot standbys.
func (e *Engine) tablesOf(parts []int32) map[int32]*table {
	e.mu.RLock()
	defer e.mu.RUnlock()
	m := map[int32]*table{}
	for _, p := range parts {
		if t := e.tables[p]; t != nil {
			m[p] = t
		}
	}
	return m
}

// closeTables closes what goka has opened and will not close.
func (e *Engine) closeTables() {
	e.mu.RLock()
	var open []*table
	for _, t := range e.tables {
		open = append(open, t)
	}
	e.mu.RUnlock()
	for _, t := range open {
		if err := t.Close(); err != nil {
			e.log.Warn("closing a table", "partition", t.part, "err", err)
		}
	}
}

// assign notes which partitions are ours, for Committed.
func (e *Engine) assign(parts []int32) {
	m := map[int32]struct{}{}
	for _, p := range parts {
		m[p] = struct{}{}
	}
	e.mu.Lock()
	e.assigned = m
	e.mu.Unlock()
}
