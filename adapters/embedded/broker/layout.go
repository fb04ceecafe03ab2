package broker

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What this file names is private to kfake: partitions/<escaped topic>-<p>/{<base>.dat,<base>.idx,snapshot.json},
// index entries of 15 bytes, topics.json, and (in statelog.go) groups.log and pids.log. TestLayout pins all of it.

const (
	indexEntryBytes  = 15
	kfakeVersion     = 1 // of entries and of JSON files
	batchHeaderBytes = 61
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// tp is a partition of a topic.
type tp struct {
	Topic string `json:"t"`
	Part  int32  `json:"p"`
}

func (t tp) dirName() string { return fmt.Sprintf("%s-%d", url.PathEscape(t.Topic), t.Part) }

type topicMeta struct {
	Name       string            `json:"name"`
	Partitions int               `json:"partitions"`
	Configs    map[string]string `json:"configs"`
}

func (t topicMeta) compacted() bool { return strings.Contains(t.Configs["cleanup.policy"], "compact") }

// millis reads a duration of the topic's settings; absent or broken counts as def.
func (t topicMeta) millis(name string, def time.Duration) time.Duration {
	n, err := strconv.ParseInt(t.Configs[name], 10, 64)
	if err != nil {
		return def
	}
	return time.Duration(n) * time.Millisecond
}

func readTopics(dir string) ([]topicMeta, error) {
	var file struct {
		Version int         `json:"version"`
		Topics  []topicMeta `json:"topics"`
	}
	found, err := readJSON(filepath.Join(dir, "topics.json"), &file)
	if err != nil || !found {
		return nil, err
	}
	if file.Version > kfakeVersion {
		return nil, fmt.Errorf("topics.json has format %d, this release knows %d: %w", file.Version, kfakeVersion, ErrNewerFormat)
	}
	slices.SortFunc(file.Topics, func(a, b topicMeta) int { return cmp.Compare(a.Name, b.Name) })
	return file.Topics, nil
}

// snapshot is what kfake needs beside the segments to open a partition without replaying it.
type snapshot struct {
	Version          int           `json:"version"`
	HighWatermark    int64         `json:"high_watermark"`
	LastStableOffset int64         `json:"last_stable_offset"`
	LogStartOffset   int64         `json:"log_start_offset"`
	Epoch            int32         `json:"epoch"`
	LeaderNode       int32         `json:"leader_node,omitempty"`
	MaxTimestamp     int64         `json:"max_timestamp"`
	CreatedAt        time.Time     `json:"created_at"`
	AbortedTxns      []abortedTxn  `json:"aborted_txns,omitempty"`
	Segments         []snapSegment `json:"segments"`
}

type abortedTxn struct {
	ProducerID  int64 `json:"producer_id"`
	FirstOffset int64 `json:"first_offset"`
	LastOffset  int64 `json:"last_offset"` // of the abort marker
}

type snapSegment struct {
	Base     int64 `json:"base_offset"`
	Size     int64 `json:"size"`
	MinEpoch int32 `json:"min_epoch,omitempty"`
	MaxEpoch int32 `json:"max_epoch,omitempty"`
}

func readSnapshot(partDir string) (*snapshot, error) {
	var s snapshot
	found, err := readJSON(filepath.Join(partDir, "snapshot.json"), &s)
	switch {
	case err != nil || !found:
		return nil, nil //nolint:nilerr // kfake writes it by rename; one that cannot be read is no worse than none
	case s.Version > kfakeVersion:
		return nil, fmt.Errorf("%s/snapshot.json has format %d, this release knows %d: %w", partDir, s.Version, kfakeVersion, ErrNewerFormat)
	}
	return &s, nil
}

// segment is one pair of files, named by the offset of its first record.
type segment struct {
	base    int64
	size    int64 // bytes of the .dat
	idxSize int64 // bytes of the .idx

	// Once read:
	batches  int64
	maxTime  int64 // milliseconds
	modified time.Time
}

func (s segment) dat(dir string) string {
	return filepath.Join(dir, strconv.FormatInt(s.base, 10)+".dat")
}

func (s segment) idx(dir string) string {
	return filepath.Join(dir, strconv.FormatInt(s.base, 10)+".idx")
}

// listSegments returns the segments of a partition folder by base offset; none if the folder does not exist.
func listSegments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var segs []segment
	for _, e := range entries {
		base, err := strconv.ParseInt(strings.TrimSuffix(e.Name(), ".dat"), 10, 64)
		if err != nil || !strings.HasSuffix(e.Name(), ".dat") {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		s := segment{base: base, size: info.Size(), modified: info.ModTime()}
		if info, err := os.Stat(s.idx(dir)); err == nil {
			s.idxSize = info.Size()
		}
		segs = append(segs, s)
	}
	slices.SortFunc(segs, func(a, b segment) int { return cmp.Compare(a.base, b.base) })
	return segs, nil
}

// indexEntry is kfake's index entry of a batch. Flag 1 says: part of a transaction, and not its marker.
func indexEntry(epoch int32, maxTimestamp int64, inTxn bool) [indexEntryBytes]byte {
	var e [indexEntryBytes]byte
	e[0] = kfakeVersion
	binary.LittleEndian.PutUint32(e[2:], uint32(epoch))        // the same 32 bits
	binary.LittleEndian.PutUint64(e[6:], uint64(maxTimestamp)) // the same 64 bits
	if inTxn {
		e[14] = 1
	}
	e[1] = byte(crc32.Checksum(e[2:], castagnoli))
	return e
}

func readJSON(path string, v any) (found bool, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return false, fmt.Errorf("reading %s: %w", path, err)
	}
	return true, nil
}

func writeJSON(path string, v any, durable bool) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return writeFile(path, raw, durable)
}

// writeFile replaces a file in whole: a reader, or a start after a kill, sees the old content or the new.
func writeFile(path string, raw []byte, durable bool) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = f.Write(raw)
	if err == nil && durable {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if durable {
		return syncDir(filepath.Dir(path))
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
