package engine

import "time"

const (
	// batchFirst is how many records the first transaction of a session may hold.
	batchFirst = 64
	// A transaction shall go on after its gathering for no larger part of its timeout.
	batchPart = 20
)

// batch says how many records a transaction may hold. The broker aborts one that
// outlasts its timeout: the records would come again, as many as before, and meet the
// same end. So it begins small, doubles where a transaction was full, and gives way
// where callbacks take long or values are large.
type batch struct {
	n     int // records of the next transaction
	most  int
	limit time.Duration // from the first record of a transaction to the end of its callbacks
}

func newBatch(c *Config) batch {
	return batch{n: min(batchFirst, c.TxnRecords), most: c.TxnRecords, limit: c.CommitMax + c.TxnTimeout/batchPart}
}

// add tells how many records the transaction held, the bytes of table values they
// left, and how long it took from the first record to the end of the callbacks.
func (b *batch) add(records, bytes int, took time.Duration) {
	switch {
	case took > b.limit:
		b.n = int(float64(b.n) * b.limit.Seconds() / took.Seconds())
	case records >= b.n: // fewer would say nothing of as many
		b.n *= 2
	}
	most := b.most
	if records > 0 && bytes > 0 {
		most = min(most, txnBytes/max(bytes/records, 1))
	}
	b.n = max(1, min(b.n, most))
}
