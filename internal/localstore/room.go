package localstore

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// room makes pebble wait while the disk is full. By itself it would try again at once,
// some fifty times a second, with a line in the log and a file left over each time, and
// panic where it cannot note which files it has.
type room struct {
	dir   string
	least uint64 // free bytes that end the wait
	log   *slog.Logger
	full  atomic.Bool   // when it last wrote
	stop  chan struct{} // closed: writers wait no more
	once  sync.Once
}

const (
	roomTick = 250 * time.Millisecond
	// roomLeast memtables hold what waits for its flush, and as much of compactions. With
	// less a disk is full again before the write that waited, which is tried once.
	roomLeast = 2 * memTablesMax
)

func newRoom(dir string, o Options) *room {
	return &room{dir: dir, least: roomLeast * o.MemTableBytes, log: o.Logger, stop: make(chan struct{})}
}

// wait is called by pebble's file system when a write found the disk full; it holds all
// writes up, and the one that failed is then tried once more.
func (r *room) wait() {
	r.full.Store(true)
	r.log.Error("the local store waits for room", "err", r.why())
	r.until(nil)
	r.log.Info("the local store has room again", "folder", r.dir)
}

// pass holds a writer up while the disk is full: pebble would, too, once its memory is
// full, and then it could not be stopped.
func (r *room) pass() error {
	if r == nil || !r.full.Load() || r.until(r.stop) {
		return nil
	}
	return r.why()
}

// flushed waits for a flush, unless the disk is full.
func (r *room) flushed(done <-chan struct{}) error {
	tick := time.NewTicker(roomTick)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-tick.C:
			if why := r.why(); why != nil {
				return fmt.Errorf("what was not written is read from the topics at the next start: %w", why)
			}
		}
	}
}

// until waits until the disk is not full, and answers true, or the channel is closed.
func (r *room) until(ends <-chan struct{}) bool {
	tick := time.NewTicker(roomTick)
	defer tick.Stop()
	for r.why() != nil {
		select {
		case <-tick.C:
		case <-ends:
			return false
		}
	}
	return true
}

// enough fails where the first flush would find the disk full: a start should say so
// and not wait.
func (r *room) enough() error {
	usage, err := vfs.Default.GetDiskUsage(r.dir)
	if err != nil {
		return fmt.Errorf("asking for the free space of %s: %w", r.dir, err)
	}
	if least := r.least / roomLeast; usage.AvailBytes < least {
		return fmt.Errorf("%w: %d MiB are free, %d are needed to start: free some", syscall.ENOSPC, usage.AvailBytes>>20, least>>20)
	}
	return nil
}

// why is nil where the disk is not full, or is no more.
func (r *room) why() error {
	if !r.full.Load() {
		return nil
	}
	usage, err := vfs.Default.GetDiskUsage(r.dir)
	if err == nil && usage.AvailBytes >= r.least {
		r.full.Store(false)
		return nil
	}
	return fmt.Errorf("the disk of %s is full: what is written waits in memory, and then everybody does; free %d MiB", r.dir, r.least>>20)
}

// StopWaiting ends the waiting for room: writes of a process that ends are refused
// instead. It changes nothing where there is room.
func (s *Store) StopWaiting() {
	if s.room != nil {
		s.room.once.Do(func() { close(s.room.stop) })
	}
}

// Full says that nothing goes to disk until it has room again, and how much; else nil.
func (s *Store) Full() error {
	if s.room == nil {
		return nil
	}
	return s.room.why()
}
