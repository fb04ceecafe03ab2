package engine

import (
	"context"
	"testing"
)

// Dump is what a store holds of one partition.
type Dump struct {
	Table, Local map[string][]byte
	Offset       int64 // -1: none
}

// Dump reads a partition that no engine has open.
func (s *Store) Dump(t testing.TB, table string, partition int32) Dump {
	t.Helper()
	sp, err := s.space(table, partition)
	if err != nil {
		t.Fatal(err)
	}
	defer sp.close()
	m, ok, err := sp.mark()
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		m.offset = -1
	}
	read := func(kind byte) map[string][]byte {
		it, err := sp.iterate(kind, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer it.Release()
		kvs := map[string][]byte{}
		for it.Next() {
			v, err := it.Value()
			if err != nil {
				t.Fatal(err)
			}
			kvs[string(it.Key())] = append([]byte(nil), v...)
		}
		return kvs
	}
	return Dump{Table: read(kindTable), Local: read(kindState), Offset: m.offset}
}

// LostPlace asks for one partition of the inputs, as if none had a committed offset.
func (e *Engine) LostPlace(ctx context.Context, part int32, inputs ...string) error {
	claims := map[tp]int64{}
	for _, topic := range inputs {
		claims[tp{topic, part}] = -1
	}
	return e.lostPlace(ctx, claims)
}
