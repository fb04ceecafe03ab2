package engine

import (
	"sync/atomic"
	"time"
)

// Stats of an engine since New. Counters only grow; the rest is as of now.
type Stats struct {
	Records      int64 // input records in committed transactions
	TableRecords int64 // changelog records in committed transactions
	Commits      int64 // committed transactions
	Aborts       int64 // transactions with records that were not committed
	Sessions     int64 // group generations this instance took part in
	Fenced       int64 // ends by ErrFenced

	// Recovery: records (offsets) of the tables being restored by the present or
	// last session, and how many of these are done.
	Restored, RestoreTotal int64

	// Spare says that the group has more members than partitions and this one got
	// none: it takes over when another one goes.
	Spare bool

	OpenTxn        time.Duration // age of the open transaction, 0 if it holds nothing
	CommitInterval time.Duration // what the adaptive interval stands at
	LastCommit     time.Duration // flush, end and local batch of the last transaction
}

type counters struct {
	records, tableRecords, commits, aborts, sessions, fenced atomic.Int64
	restored, restoreTotal                                   atomic.Int64
	spare                                                    atomic.Bool
	opened, interval, lastCommit                             atomic.Int64 // ns; opened: unix time, 0 if not open
}

// Stats may be called at any time.
func (e *Engine) Stats() Stats {
	c := &e.counters
	s := Stats{
		Records: c.records.Load(), TableRecords: c.tableRecords.Load(), Commits: c.commits.Load(), Aborts: c.aborts.Load(),
		Sessions: c.sessions.Load(), Fenced: c.fenced.Load(), Restored: c.restored.Load(), RestoreTotal: c.restoreTotal.Load(), Spare: c.spare.Load(),
		CommitInterval: time.Duration(c.interval.Load()), LastCommit: time.Duration(c.lastCommit.Load()),
	}
	if at := c.opened.Load(); at > 0 {
		s.OpenTxn = time.Since(time.Unix(0, at))
	}
	return s
}
