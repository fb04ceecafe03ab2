// Package localstore keeps what a process derives from its topics on its own disk: a thin wrapper over pebble, one
// instance per process, shared by its rooms. The first byte of a key says whose it is:
//
//	't'   processors/engine: tables, their copies and what stands beside them   (engine/store.go)
//	'v'   views: outcomes, places of states, histories                          (views/keys.go)
//
// Behind it stand, in each room's own way, the table or view and the partition.
//
// Nothing in it is the truth. It is written without a journal: every batch carries the topic offsets it ends at, pebble
// keeps batches whole and in order, so a crash at any moment leaves the store as of an earlier batch and its readers go
// on from that batch's offsets. A store that cannot be opened is therefore thrown away, with a line in the log, and
// filled again from the topics.
package localstore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

var (
	// ErrLocked says that another process has the folder open.
	ErrLocked = errors.New("the local store is in use by another process")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("the local store is closed")
)

const (
	cacheBytesDefault    = 32 << 20
	memTableBytesDefault = 16 << 20
	// memTablesMax bounds the memory of writes that wait for their flush; a burst of one room must not stop the commits
	// of another.
	memTablesMax = 4
	// separatedBytesMin is the least size of a value that is kept apart from its key.
	separatedBytesMin = 100
)

// Options change what [Open] does; the zero value is right for a process of its own.
type Options struct {
	// CacheBytes is the size of the block cache. Default 32 MiB.
	CacheBytes int64
	// MemTableBytes is how much is gathered in memory before it goes to disk, up to four times. It bounds what a crash
	// loses and what is then read from the topics again. Default 16 MiB.
	MemTableBytes uint64
	// Logger gets what became of a damaged store. Default: discard.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.CacheBytes == 0 {
		o.CacheBytes = cacheBytesDefault
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = memTableBytesDefault
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Store is an ordered map of bytes on disk. It is safe for concurrent use.
type Store struct {
	db   *pebble.DB
	lock *pebble.Lock // nil in memory
	room *room        // nil in memory

	life    sync.RWMutex   // held for reading by every call, for writing by Close
	closed  bool           // guarded by life
	iters   sync.WaitGroup // open iterators; added to under life
	closing sync.Once
}

// Open opens or creates the store in dir; "" keeps it in memory. A store that is damaged or of another version is
// emptied: fresh readers then fill it from the topics.
//
// Errors: [ErrLocked]; others come from the file system (no rights, no space).
func Open(dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	if dir == "" {
		po := pebbleOptions(o)
		po.FS = vfs.NewMem()
		db, err := pebble.Open("memory", po)
		if err != nil {
			return nil, fmt.Errorf("opening a local store in memory: %w", err)
		}
		return &Store{db: db}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the local store: %w", err)
	}
	lock, err := pebble.LockDirectory(dir, vfs.Default)
	if err != nil {
		return nil, fmt.Errorf("opening the local store %s: %w: stop that process or choose another folder (%w)", dir, ErrLocked, err)
	}
	r := newRoom(dir, o)
	if err := r.enough(); err != nil {
		return nil, errors.Join(wrapOpen(dir, err), lock.Close())
	}
	db, err := open(dir, o, lock, r)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Store{db: db, lock: lock, room: r}, nil
}

// open opens the database, or an empty one in place of one that cannot be opened.
func open(dir string, o Options, lock *pebble.Lock, r *room) (*pebble.DB, error) {
	condemned := filepath.Join(dir, condemnedFile)
	_, err := os.Stat(condemned)
	damaged := err == nil
	if !damaged {
		db, err := pebble.Open(dir, onDisk(dir, o, lock, r))
		if err == nil || environment(err) {
			return db, wrapOpen(dir, err)
		}
		o.Logger.Warn("local store cannot be opened: thrown away, to be filled again from the topics", "folder", dir, "err", err)
	} else {
		o.Logger.Warn("local store was found damaged: thrown away, to be filled again from the topics", "folder", dir)
	}
	if err := discard(dir); err != nil {
		return nil, err
	}
	db, err := pebble.Open(dir, onDisk(dir, o, lock, r))
	return db, wrapOpen(dir, err)
}

func wrapOpen(dir string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("opening the local store %s (its data are derived: the folder may be removed while nothing runs): %w", dir, err)
}

// environment reports whether an error is the machine's, not the store's: emptying the store would not help.
func environment(err error) bool {
	for _, e := range []error{fs.ErrPermission, syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.EROFS, syscall.EIO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// condemnedFile marks a store in which damage was found while it was open: the next Open starts with an empty one.
const condemnedFile = "DAMAGED"

// discard removes the files that pebble and this package write, and nothing else: a folder named by mistake keeps what
// is in it.
func discard(dir string) error {
	for _, pattern := range []string{"*.sst", "*.log", "*.blob", "*.dbtmp", "MANIFEST-*", "OPTIONS-*", "CURRENT", "marker.*", condemnedFile} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return fmt.Errorf("emptying the local store: %w", err)
		}
		for _, f := range files {
			if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("emptying the local store: %w", err)
			}
		}
	}
	return nil
}

func pebbleOptions(o Options) *pebble.Options {
	po := &pebble.Options{
		FormatMajorVersion:          pebble.FormatNewest,
		DisableWAL:                  true,
		CacheSize:                   o.CacheBytes,
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: memTablesMax,
		// Reads are few and cheap, so they may look through more files; each compaction then moves more at once.
		L0CompactionThreshold: 8,
		L0StopWritesThreshold: 32,
		MaxOpenFiles:          256,
		Logger:                logger{o.Logger},
	}
	// Values go into files of their own, which compactions leave alone: events are written once and rarely read, rows of
	// tables are some kilobytes each and those in use are in memory. That saves a fifth to a half of the CPU of following
	// a topic (BenchmarkStore_follow) and costs tables nothing, see processors/engine/DESIGN.md. Compression, pebble's
	// default, is worth a few percent of CPU: it halves what events and tables take on disk.
	po.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled: true, MinimumSize: separatedBytesMin, MaxBlobReferenceDepth: 1 << 16,
			RewriteMinimumAge: time.Minute, TargetGarbageRatio: 0.5,
		}
	}
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return po
}

func onDisk(dir string, o Options, lock *pebble.Lock, r *room) *pebble.Options {
	po := pebbleOptions(o)
	po.Lock = lock
	po.FS = vfs.OnDiskFull(vfs.Default, r.wait)
	po.EventListener = &pebble.EventListener{DataCorruption: func(info pebble.DataCorruptionInfo) {
		o.Logger.Error("local store is damaged: stop and start again, it is then filled from the topics", "folder", dir, "file", info.Path, "err", info.Details)
		// Without the mark the next start would open the store and meet the damage again.
		if err := os.WriteFile(filepath.Join(dir, condemnedFile), nil, 0o600); err != nil {
			o.Logger.Error("local store cannot be marked as damaged: remove the folder while nothing runs", "folder", dir, "err", err)
		}
	}}
	return po
}

// enter keeps the database open until leave.
func (s *Store) enter() error {
	s.life.RLock()
	if s.closed {
		s.life.RUnlock()
		return ErrClosed
	}
	return nil
}

func (s *Store) leave() { s.life.RUnlock() }

// Get returns a copy of the value of key; nil if there is none, an empty slice if it is empty.
func (s *Store) Get(key []byte) ([]byte, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, readError(err)
	}
	c := make([]byte, len(v))
	copy(c, v)
	return c, closer.Close()
}

// Close writes what is in memory to disk and closes the store. It waits for calls under way and for open iterators,
// while all new calls are refused, and is idempotent.
func (s *Store) Close() (err error) {
	s.closing.Do(func() { err = s.close() })
	return err
}

func (s *Store) close() error {
	s.StopWaiting()
	s.life.Lock()
	s.closed = true
	s.life.Unlock()
	s.iters.Wait() // without the lock: whoever iterates may ask for keys on the way
	// There is no journal: what is in memory would be lost and read from the topics again.
	if err := s.flush(); err != nil {
		return fmt.Errorf("closing the local store: %w", err)
	}
	err := s.db.Close()
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	if err != nil {
		return fmt.Errorf("closing the local store: %w", err)
	}
	return nil
}

// flush fails where the disk is full. The store then stays open, and locked, until the
// process ends: pebble can be closed no more than it can write.
func (s *Store) flush() error {
	flushed, err := s.db.AsyncFlush()
	if err != nil || s.room == nil {
		return err
	}
	return s.room.flushed(flushed)
}

// logger passes on pebble's errors; its messages about normal work are dropped.
type logger struct{ l *slog.Logger }

func (logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.l.Error("local store", "err", fmt.Sprintf(format, args...))
}

// Fatalf must not return: pebble calls it when what it has in memory can no longer be trusted.
func (l logger) Fatalf(format string, args ...any) {
	l.Errorf(format, args...)
	panic("local store: " + fmt.Sprintf(format, args...))
}
