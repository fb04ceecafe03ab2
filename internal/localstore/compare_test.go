package localstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// benchDB is what a store of tables asks of a database.
type benchDB interface {
	get(k []byte) []byte
	put(n int, kv func(i int) (k, v []byte)) // one batch
	deleteRange(lo, hi []byte)
	close()
}

type pebbleDB struct{ db *pebble.DB }

func (p pebbleDB) get(k []byte) []byte {
	v, c, err := p.db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	v = append([]byte(nil), v...)
	_ = c.Close()
	return v
}

func (p pebbleDB) put(n int, kv func(int) ([]byte, []byte)) {
	b := p.db.NewBatch()
	for i := range n {
		k, v := kv(i)
		_ = b.Set(k, v, nil)
	}
	if err := p.db.Apply(b, pebble.NoSync); err != nil {
		panic(err)
	}
	_ = b.Close()
}

func (p pebbleDB) deleteRange(lo, hi []byte) { _ = p.db.DeleteRange(lo, hi, pebble.NoSync) }
func (p pebbleDB) close()                    { _ = p.db.Flush(); _ = p.db.Close() }

type levelDB struct{ db *leveldb.DB }

func (l levelDB) get(k []byte) []byte {
	v, _ := l.db.Get(k, nil)
	return v
}

func (l levelDB) put(n int, kv func(int) ([]byte, []byte)) {
	b := new(leveldb.Batch)
	for i := range n {
		k, v := kv(i)
		b.Put(k, v)
	}
	if err := l.db.Write(b, nil); err != nil {
		panic(err)
	}
}

func (l levelDB) deleteRange(lo, hi []byte) {
	it := l.db.NewIterator(&util.Range{Start: lo, Limit: hi}, nil)
	b := new(leveldb.Batch)
	for it.Next() {
		b.Delete(it.Key())
	}
	it.Release()
	_ = l.db.Write(b, nil)
}
func (l levelDB) close() { _ = l.db.Close() }

// BenchmarkStore compares the databases that the engine's tables could stand on: rounds of a read and a write of a
// random one of 100,000 keys, in batches of 5,000 (half a million in all), then the removal of an eighth of the keys.
// CPU is that of the whole process.
func BenchmarkStore(b *testing.B) {
	for _, valueBytes := range []int{16, 250} {
		for _, c := range []struct {
			name string
			open func(dir string) (benchDB, error)
		}{
			{"pebble", func(dir string) (benchDB, error) {
				db, err := pebble.Open(dir, pebbleOptions(Options{}.withDefaults()))
				return pebbleDB{db}, err
			}},
			{"pebble with journal", func(dir string) (benchDB, error) {
				o := pebbleOptions(Options{}.withDefaults())
				o.DisableWAL = false
				db, err := pebble.Open(dir, o)
				return pebbleDB{db}, err
			}},
			{"goleveldb", func(dir string) (benchDB, error) {
				db, err := leveldb.OpenFile(dir, &opt.Options{Filter: filter.NewBloomFilter(10), WriteBuffer: memTableBytesDefault, BlockCacheCapacity: cacheBytesDefault})
				return levelDB{db}, err
			}},
			{"goleveldb without bloom filter", func(dir string) (benchDB, error) {
				db, err := leveldb.OpenFile(dir, &opt.Options{WriteBuffer: memTableBytesDefault, BlockCacheCapacity: cacheBytesDefault})
				return levelDB{db}, err
			}},
		} {
			b.Run(fmt.Sprintf("%s/%d bytes", c.name, valueBytes), func(b *testing.B) {
				for range b.N {
					storeRounds(b, c.open, valueBytes)
				}
			})
		}
	}
}

func storeRounds(b *testing.B, open func(string) (benchDB, error), valueBytes int) {
	b.Helper()
	const keys, batch, rounds = 100_000, 5_000, 100
	dir := b.TempDir()
	db, err := open(dir)
	if err != nil {
		b.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var mem runtime.MemStats
	key := func(i int) []byte {
		k := binary.BigEndian.AppendUint32([]byte{0, 1, 0, 0}, uint32(i%8))
		return fmt.Appendf(k, "tkey-%06d", i)
	}
	value := make([]byte, valueBytes)
	began, used := time.Now(), cpu(b)
	reads, peak := time.Duration(0), uint64(0)
	for range rounds {
		t := cpu(b)
		ks := make([][]byte, batch)
		for i := range ks {
			ks[i] = key(rnd.IntN(keys))
			db.get(ks[i])
		}
		reads += cpu(b) - t
		for i := range value {
			value[i] = byte(rnd.Uint32())
		}
		db.put(batch, func(i int) ([]byte, []byte) { return ks[i], value })
		runtime.ReadMemStats(&mem)
		peak = max(peak, mem.Sys)
	}
	b.ReportMetric((cpu(b)-used).Seconds()/(batch*rounds)*1e6, "cpu-µs/round")
	b.ReportMetric(reads.Seconds()/(batch*rounds)*1e6, "read-µs/round")
	b.ReportMetric(time.Since(began).Seconds()/(batch*rounds)*1e6, "wall-µs/round")
	t := time.Now()
	db.deleteRange([]byte{0, 1, 0, 0, 0, 0, 0, 1}, []byte{0, 1, 0, 0, 0, 0, 0, 2})
	b.ReportMetric(float64(time.Since(t).Microseconds()), "delete-range-µs")
	db.close()
	b.ReportMetric(float64(peak)/(1<<20), "go-MiB")
	b.ReportMetric(float64(diskBytes(dir))/(1<<20), "disk-MiB")
	b.ReportMetric(0, "ns/op")
}

func diskBytes(dir string) (n int64) {
	es, _ := os.ReadDir(dir)
	for _, e := range es {
		if i, err := e.Info(); err == nil {
			n += i.Size()
		}
	}
	return n
}
