package engine

// rowCache keeps committed values of one table in memory, bounded by the store's
// limit for all tables together. It is two maps: what is read or written goes into
// the young one; when the store is over its limit, the table that adds next drops
// its old map and the young one becomes old. So what is in use stays, at the price
// of a map lookup per read and nothing else.
//
// A database read costs some microseconds, more than all else that the engine does
// for a command; that is what this is for. The table's lock guards it.
type rowCache struct {
	s                    *Store
	young, old           map[string][]byte
	youngBytes, oldBytes int64
	version              uint64 // changes whenever the database may hold newer values
}

const (
	rowOverhead = 96        // of map, key and slice header
	rowMax      = 256 << 10 // larger values are left to the database
	rotateMin   = 64 << 10
)

// get returns the value; nil with ok true means that the key is known to be absent.
func (c *rowCache) get(key string) (v []byte, ok bool) {
	if v, ok = c.young[key]; ok {
		return v, true
	}
	if v, ok = c.old[key]; ok {
		delete(c.old, key)
		n := rowBytes(key, v)
		c.oldBytes -= n
		c.s.cachedRows.Add(-n)
		c.put(key, v)
	}
	return v, ok
}

// put remembers a committed value.
func (c *rowCache) put(key string, v []byte) {
	if old, ok := c.young[key]; ok {
		c.youngBytes -= rowBytes(key, old)
		c.s.cachedRows.Add(-rowBytes(key, old))
		delete(c.young, key)
	}
	if old, ok := c.old[key]; ok {
		c.oldBytes -= rowBytes(key, old)
		c.s.cachedRows.Add(-rowBytes(key, old))
		delete(c.old, key)
	}
	if len(v) > rowMax {
		return
	}
	n := rowBytes(key, v)
	if c.young == nil {
		c.young = map[string][]byte{}
	}
	c.young[key] = v
	c.youngBytes += n
	if c.s.cachedRows.Add(n) > c.s.rowLimit && c.youngBytes >= rotateMin {
		c.s.cachedRows.Add(-c.oldBytes)
		c.old, c.oldBytes = c.young, c.youngBytes
		c.young, c.youngBytes = nil, 0
	}
}

// drop forgets everything.
func (c *rowCache) drop() {
	c.s.cachedRows.Add(-c.youngBytes - c.oldBytes)
	*c = rowCache{s: c.s, version: c.version + 1}
}

func rowBytes(key string, v []byte) int64 { return int64(len(key) + len(v) + rowOverhead) }
