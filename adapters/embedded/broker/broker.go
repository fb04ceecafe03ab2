package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Broker is a running embedded broker. Its methods are safe for concurrent use.
type Broker struct {
	cfg     Config
	addr    string
	lock    *os.File
	ln      net.Listener
	slot    *slot
	hooks   *hooks
	cluster *kfake.Cluster
	report  Report

	close    sync.Once
	closed   chan struct{} // made by the first Close, closed when it is done
	closeErr error
}

const (
	formatVersion = 1
	segmentBytes  = 4 << 20
)

// Open locks and repairs the data folder and serves it. When it returns, clients may connect to [Broker.Addr].
//
// Errors: *[LockedError], [ErrNewerFormat], [ErrDamaged], [ErrAddressTaken], those of the disk. After an error nothing
// is left open.
func Open(ctx context.Context, cfg Config) (*Broker, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg}
	if err := b.start(ctx); err != nil {
		b.release()
		return nil, fmt.Errorf("starting the embedded broker: %w", err)
	}
	b.announce()
	return b, nil
}

func (b *Broker) start(ctx context.Context) (err error) {
	began := b.cfg.Now()
	defer func() { b.report.TotalTime = b.cfg.Now().Sub(began) }()
	if err := os.MkdirAll(filepath.Join(b.cfg.Dir, "partitions"), 0o700); err != nil {
		return fmt.Errorf("creating the data folder: %w", err)
	}
	if b.lock, err = lockDir(b.cfg.Dir); err != nil {
		return err
	}
	if err := b.checkFormat(); err != nil {
		return err
	}
	if err := b.listen(ctx); err != nil {
		return err
	}
	if err := b.prepare(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.openCluster(); err != nil {
		return err
	}
	if err := b.admitGuests(ctx); err != nil {
		return err
	}
	b.report.LogBytes, err = b.logBytes()
	return err
}

func (b *Broker) path(name string) string { return filepath.Join(b.cfg.Dir, name) }

// checkFormat refuses a folder of a later release, and marks a new one with this release's format.
func (b *Broker) checkFormat() error {
	var format, meta struct {
		Version int `json:"version"`
	}
	found, err := readJSON(b.path("format.json"), &format)
	if err != nil {
		return err
	}
	if _, err := readJSON(b.path("meta.json"), &meta); err != nil {
		return err
	}
	if format.Version > formatVersion || meta.Version > kfakeVersion {
		return fmt.Errorf("the log in %s has format %d.%d, this release reads up to %d.%d; start the newer release, or choose another folder: %w",
			b.cfg.Dir, format.Version, meta.Version, formatVersion, kfakeVersion, ErrNewerFormat)
	}
	if found {
		return nil
	}
	format.Version = formatVersion
	return writeJSON(b.path("format.json"), format, true)
}

// listen binds the address before anything else takes time, so that a taken port is said at once.
func (b *Broker) listen(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", b.cfg.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("broker address %s: %w: stop the program that listens there, or choose another port (0 takes a free one)", b.cfg.Listen, ErrAddressTaken)
	}
	if err != nil {
		return fmt.Errorf("broker address %s: %w", b.cfg.Listen, err)
	}
	b.ln, b.addr = ln, ln.Addr().String()
	return nil
}

// prepare settles the folder and removes what kfake would believe though it ends with a process: the members of groups,
// transactions in progress, users, rights and settings, which all come with this Config.
func (b *Broker) prepare() error {
	_, err := os.Stat(b.path("CLEAN"))
	b.report.Clean = err == nil
	if err := finishSwaps(b.cfg.Dir); err != nil {
		return err
	}
	if b.slot, err = openSlot(b.path("txn-decision"), b.cfg.Sync); err != nil {
		return err
	}
	if err := b.settle(&b.report); err != nil {
		return err
	}
	forget := []string{"session_state.json", "sasl.json", "acls.json", "broker_configs.json"}
	if !b.report.Clean { // of the stop before the crash: sequence numbers of then would be refused or taken twice
		forget = append(forget, "seq_windows.json")
	}
	for _, name := range append(forget, "CLEAN") {
		if err := removeIfThere(b.path(name)); err != nil {
			return fmt.Errorf("preparing the data folder: %w", err)
		}
	}
	return nil
}

// settle repairs and compacts the folder while no kfake has it open: at a start, and at the end of a stop, so that the
// start after it finds nothing to do.
func (b *Broker) settle(report *Report) error {
	began := b.cfg.Now()
	r := &repair{cfg: b.cfg, slot: b.slot, report: report}
	if err := r.run(); err != nil {
		return err
	}
	report.RepairTime = b.cfg.Now().Sub(began)
	if err := b.compact(r.parts, &report.Compacted); err != nil {
		return err
	}
	report.CompactTime = b.cfg.Now().Sub(began) - report.RepairTime
	return nil
}

func (b *Broker) openCluster() (err error) {
	began := b.cfg.Now()
	g := &gate{Listener: b.ln, open: make(chan struct{}), platform: b.cfg.Platform, log: b.cfg.Logger}
	b.hooks = &hooks{cfg: b.cfg, slot: b.slot, txns: newOpenTxns(b.cfg.Now)}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.DataDir(b.cfg.Dir),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return g, nil }),
		kfake.WithLogger(b.hooks),
		kfake.EnableACLs(), // without EnableSASL: who shows no credentials may read
		kfake.Superuser("PLAIN", b.cfg.Platform.User, b.cfg.Platform.Password),
		kfake.BrokerConfigs(settings()),
	}
	if b.cfg.Sync {
		opts = append(opts, kfake.SyncWrites())
	}
	if b.cluster, err = kfake.NewCluster(opts...); err != nil {
		close(g.open)
		return fmt.Errorf("opening the log: %w", err)
	}
	b.hooks.cluster = b.cluster
	b.hooks.register()
	close(g.open)
	b.report.OpenTime = b.cfg.Now().Sub(began)
	return removeIfThere(b.path("sasl.json")) // kfake writes the password down
}

// settings are kfake's, by Kafka's names.
func settings() map[string]string {
	return map[string]string{
		"log.retention.ms":    "-1", // topics name theirs; kfake's default also empties compacted ones
		"log.retention.bytes": "-1",
		"log.segment.bytes":   strconv.Itoa(segmentBytes), // a start holds one per partition in memory
		// The cleaner off: it loses the committed value of keys in an open transaction, and deletes before it writes.
		// 292 years; 0, -1 and larger values panic.
		"log.cleaner.backoff.ms":         "9223372036854",
		"offsets.retention.minutes":      "35791394", // 68 years: a group that is not running keeps its place
		"transactional.id.expiration.ms": "2147483647",
		"transaction.max.timeout.ms":     strconv.FormatInt(maxTxnTimeout.Milliseconds(), 10),
		"group.min.session.timeout.ms":   "1000",
		"message.max.bytes":              strconv.Itoa(16 << 20), // topics name less
		"state.log.compact.bytes":        strconv.Itoa(2 << 20),  // the rewrite holds up requests
		"default.replication.factor":     "1",
	}
}

func (b *Broker) announce() {
	r, log := b.report, b.cfg.Logger
	_ = b.Refusal() // which logs a full disk: better now than with the first command
	log.Info("broker is up", "addr", b.addr, "log_bytes", r.LogBytes, "clean", r.Clean, "decision", string(r.Decision),
		"aborted", r.AbortMarkers, "cut_bytes", r.CutBytes, "compacted", r.Compacted.Partitions, "took", r.TotalTime.String())
	if r.LogBytes > b.cfg.MaxLogBytes/5*4 {
		log.Warn("the log comes near its ceiling: starts will take longer and more memory; export the events to a Kafka, or shorten the retention of topics",
			"log_bytes", r.LogBytes, "max_log_bytes", b.cfg.MaxLogBytes)
	}
	if host, _, _ := net.SplitHostPort(b.addr); !net.ParseIP(host).IsLoopback() {
		log.Warn("the broker listens beyond this machine: everyone who reaches the port can read the log, and passwords travel in the clear", "addr", b.addr)
	}
}

// Addr is the host:port that the broker listens on.
func (b *Broker) Addr() string { return b.addr }

// Report says what the start found and repaired.
func (b *Broker) Report() Report { return b.report }

// Refusal says why writes are refused now and what to do about it, nil while they are taken. It costs one question to
// the file system.
func (b *Broker) Refusal() error { return b.hooks.refuse() }

// Stats is the state of the log at one moment.
type Stats struct {
	LogBytes      int64  // batches and indexes on disk
	MaxLogBytes   int64  // the stated ceiling
	FreeBytes     int64  // of the disk
	MinFreeBytes  int64  // below it writes are refused
	RefusedWrites int64  // Produce and EndTxn requests since the start
	Broken        string // why nothing is accepted any more; empty while all is well
}

// Stats reads sizes from the disk: some milliseconds with thousands of files.
func (b *Broker) Stats() (Stats, error) {
	s := Stats{MaxLogBytes: b.cfg.MaxLogBytes, MinFreeBytes: b.cfg.MinFreeBytes, RefusedWrites: b.hooks.refused.Load()}
	if why := b.hooks.broken.Load(); why != nil {
		s.Broken = *why
	}
	var err error
	if s.LogBytes, err = b.logBytes(); err != nil {
		return s, err
	}
	s.FreeBytes, err = b.cfg.freeBytes(b.cfg.Dir)
	return s, err
}

func (b *Broker) logBytes() (n int64, err error) {
	err = filepath.WalkDir(b.path("partitions"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return ignoreGone(err)
	})
	if err != nil {
		return n, fmt.Errorf("measuring the log: %w", err)
	}
	return n, nil
}

// ignoreGone drops the error of a file that was deleted while the folder was being read.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Close stops serving, aborts what is open, and compacts, so that the next start is quick. End the clients first. A
// second call waits for the first and returns its result; a context that ends does not stop it.
func (b *Broker) Close(ctx context.Context) error {
	b.close.Do(func() {
		b.closed = make(chan struct{})
		go func() { // ends with kfake's save; the folder stays locked until then
			defer close(b.closed)
			b.closeErr = b.shutdown()
		}()
	})
	select {
	case <-b.closed:
		return b.closeErr
	case <-ctx.Done():
		return fmt.Errorf("closing the embedded broker: %w", ctx.Err())
	}
}

func (b *Broker) shutdown() error {
	b.cluster.Close()
	defer b.release()
	if b.hooks.broken.Load() != nil {
		return nil // the next start repairs, when the disk is well
	}
	err := b.settle(&Report{})
	for _, name := range []string{"session_state.json", "sasl.json"} {
		err = errors.Join(err, removeIfThere(b.path(name)))
	}
	if err == nil {
		err = writeFile(b.path("CLEAN"), nil, b.cfg.Sync)
	}
	if err != nil {
		return fmt.Errorf("closing the embedded broker: %w", err)
	}
	return nil
}

// release gives up what a start has taken, in the reverse order.
func (b *Broker) release() {
	if b.cluster != nil {
		b.cluster.Close()
	}
	if b.ln != nil {
		_ = b.ln.Close()
	}
	if b.slot != nil {
		_ = b.slot.f.Close()
	}
	if b.lock != nil {
		_ = b.lock.Close()
	}
}
