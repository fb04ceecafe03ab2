package broker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"time"
)

// Config says where the broker keeps its log and who may use it. The zero value of every field but Dir has a default.
type Config struct {
	// Dir is the data folder, created with mode 0700. Only one process opens it at a time.
	Dir string
	// Listen is host:port. Default 127.0.0.1:0, a free loopback port. Clients are told the address that was bound.
	Listen string
	// Sync makes every write durable before it is acknowledged (fsync of batch, index and decision), so that a power
	// loss takes nothing acknowledged. Without it that holds for a killed process, not for a lost machine.
	Sync bool
	// MinFreeBytes is the free disk space below which Produce and commits are refused; reads go on. Default 256 MiB.
	MinFreeBytes int64
	// MaxLogBytes is the stated ceiling of the log, up to which start time and memory are what DESIGN.md says.
	// Open warns from four fifths on; nothing is refused. Default 4 GiB.
	MaxLogBytes int64
	// Platform is the SASL/PLAIN user with all rights. Default: user "nexus" with a random password that only
	// [Broker.ClientOpts] knows. Everyone else, with or without credentials, may only read.
	Platform Credentials
	// OwnGroups are the name prefixes of the platform's consumer groups (for instance "shop."). Guests may join and
	// commit in every other group. Empty: guests have no groups.
	OwnGroups []string
	// Logger gets what an operator needs after an accident. Default: discard.
	Logger *slog.Logger
	// Now is the clock of timeouts, retention and deletion of tombstones. Default time.Now.
	Now func() time.Time

	// Seams of the tests: free space, and a call at each step of a start that a kill may follow.
	freeBytes func(dir string) (int64, error)
	step      func(name string)
	tune      tuning
}

// tuning says from when on a start rewrites a partition, and how much.
type tuning struct {
	smallBatches int64 // in a partition: with fewer, merging is not worth the writes
	dirtyBytes   int64 // written to a compacted partition since its last compaction
	rewriteBytes int64 // read by the rewrites of one start
	batchBytes   int   // of a merged batch: a reader of one record reads all of its batch
	workers      int   // twice the processors, because a rewrite ends with a wait for the disk
}

// Credentials are a SASL/PLAIN user and password.
type Credentials struct{ User, Password string }

const (
	defaultMinFree = 256 << 20
	defaultMaxLog  = 4 << 30
)

// withDefaults fills what is not given and returns all faults together.
func (c Config) withDefaults() (Config, error) {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.MinFreeBytes == 0 {
		c.MinFreeBytes = defaultMinFree
	}
	if c.MaxLogBytes == 0 {
		c.MaxLogBytes = defaultMaxLog
	}
	if c.Platform == (Credentials{}) {
		c.Platform = Credentials{User: "nexus", Password: rand.Text()}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.freeBytes == nil {
		c.freeBytes = freeBytes
	}
	if c.step == nil {
		c.step = func(string) {}
	}
	if c.tune == (tuning{}) {
		c.tune = tuning{smallBatches: 1000, dirtyBytes: 256 << 10, rewriteBytes: 1 << 30, batchBytes: 64 << 10, workers: 2 * runtime.GOMAXPROCS(0)}
	}
	return c, c.validate()
}

func (c Config) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Dir == "" {
		fault("broker folder: not given")
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		fault("broker address %q: want host:port: %w", c.Listen, err)
	}
	if c.MinFreeBytes < 0 || c.MaxLogBytes < 0 {
		fault("broker limits: min free bytes %d and max log bytes %d must not be negative", c.MinFreeBytes, c.MaxLogBytes)
	}
	// kfake takes an empty password for a user it does not know, and 0x00 separates the fields of SASL/PLAIN.
	if c.Platform.User == "" || c.Platform.Password == "" || strings.Contains(c.Platform.User+c.Platform.Password, "\x00") {
		fault("broker credentials: user and password must both be given, without NUL bytes")
	}
	return errors.Join(faults...)
}
