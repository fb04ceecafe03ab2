package engine

import "github.com/nexusblueprint/nexus/internal/localstore"

// iterator implements goka's storage.Iterator over the committed keys of a kind,
// as of its creation. Key and Value are valid until the next step.
type iterator struct {
	*localstore.Iterator
	p    *space
	kind byte
}

// iterate goes over the keys of a kind from start (inclusive) to end (exclusive).
// A nil end means the end of the kind.
func (p *space) iterate(kind byte, start, end []byte) (*iterator, error) {
	it, err := p.s.ls.NewIterator(p.bounds(kind, start, end))
	if err != nil {
		return nil, err
	}
	return &iterator{Iterator: it, p: p, kind: kind}, nil
}

// Seek makes the first key at or after key the current one: read it before the
// next Next. This is what goka.Iterator promises and goka's own storage does,
// though the comment on storage.Iterator says otherwise.
func (i *iterator) Seek(key []byte) bool { return i.Iterator.Seek(i.p.key(i.kind, key)) }

func (i *iterator) Key() []byte { return i.Iterator.Key()[prefixLen:] }

func (i *iterator) Release() { _ = i.Close() } // its error is Err's, and reading is over

// prefixEnd returns the first key after all keys with this prefix, nil if there is none.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
