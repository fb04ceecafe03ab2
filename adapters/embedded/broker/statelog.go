package broker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"
)

// groups.log and pids.log are kfake's: entries of 4 bytes length, 4 bytes CRC-32C, 2 bytes version, JSON.

const logEntryHead = 10

// producersKept bounds the producer ids that survive a start: kfake walks all transactional ones after every request,
// and each start of the platform brings new ones.
const producersKept = 200

type groupEntry struct {
	Type       string  `json:"type"`
	Group      string  `json:"g"`
	Topic      string  `json:"t,omitempty"`
	Part       int32   `json:"p,omitempty"`
	Offset     int64   `json:"o,omitempty"`
	Epoch      int32   `json:"e,omitempty"`
	Metadata   *string `json:"m,omitempty"`
	LastCommit *int64  `json:"lc,omitempty"`
}

type producerEntry struct {
	Type    string `json:"type"`
	ID      int64  `json:"pid"`
	Epoch   int16  `json:"epoch"`
	TxnID   string `json:"txid,omitempty"`
	Timeout int32  `json:"timeout,omitempty"`
	Commit  *bool  `json:"commit,omitempty"`
}

func appendLogEntry(dst []byte, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	at := len(dst)
	dst = append(dst, make([]byte, logEntryHead)...)
	dst = append(dst, body...)
	binary.LittleEndian.PutUint32(dst[at:], uint32(2+len(body))) // a short entry
	binary.LittleEndian.PutUint16(dst[at+8:], kfakeVersion)
	binary.LittleEndian.PutUint32(dst[at+4:], crc32.Checksum(dst[at+8:], castagnoli))
	return dst, nil
}

// eachLogEntry calls fn with the JSON of every whole entry and returns how many bytes they take.
func eachLogEntry(raw []byte, fn func(body []byte) error) (int, error) {
	pos := 0
	for pos+logEntryHead <= len(raw) {
		n := int(binary.LittleEndian.Uint32(raw[pos:]))
		if n < 2 || n > len(raw)-pos-8 {
			break
		}
		entry := raw[pos+8 : pos+8+n]
		if crc32.Checksum(entry, castagnoli) != binary.LittleEndian.Uint32(raw[pos+4:]) {
			break
		}
		if v := binary.LittleEndian.Uint16(entry); v > kfakeVersion {
			return pos, fmt.Errorf("entry has format %d, this release knows %d: %w", v, kfakeVersion, ErrNewerFormat)
		}
		if err := fn(entry[2:]); err != nil {
			return pos, err
		}
		pos += 8 + n
	}
	return pos, nil
}

// repairOffsets cuts a torn last entry off groups.log (kfake would skip it but append behind it, hiding what follows at
// the next load) and commits those of the offsets that are ahead of the stored ones. It returns how many.
func repairOffsets(root string, want []groupOffset, now time.Time, durable bool) (int, error) {
	path := filepath.Join(root, "groups.log")
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("reading the group offsets: %w", err)
	}
	have := map[groupOffset]int64{} // by group and partition, offset 0
	end, err := eachLogEntry(raw, func(body []byte) error {
		var e groupEntry
		if json.Unmarshal(body, &e) != nil {
			return nil //nolint:nilerr // kfake skips it too
		}
		key := groupOffset{Group: e.Group, tp: tp{e.Topic, e.Part}}
		switch e.Type {
		case "commit":
			have[key] = e.Offset
		case "delete":
			delete(have, key)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("reading the group offsets: %w", err)
	}
	var add []byte
	n, millis := 0, now.UnixMilli()
	for _, o := range want {
		if at, ok := have[groupOffset{Group: o.Group, tp: o.tp}]; ok && at >= o.Offset {
			continue
		}
		e := groupEntry{Type: "commit", Group: o.Group, Topic: o.Topic, Part: o.Part, Offset: o.Offset, Epoch: -1, LastCommit: &millis}
		if add, err = appendLogEntry(add, e); err != nil {
			return 0, fmt.Errorf("encoding a group offset: %w", err)
		}
		n++
	}
	if n == 0 && end == len(raw) {
		return 0, nil
	}
	return n, writeFile(path, append(raw[:end:end], add...), durable)
}

// repairProducers rewrites pids.log with the last state of the latest ids, and raises the epoch of those whose
// transaction the repair has ended, so that a client that outlived the broker cannot go on in half of it. committed is
// the producer of the completed decision, or -1: its client may ask again and must hear yes.
func repairProducers(root string, ended map[int64]int16, committed int64, durable bool) error {
	path := filepath.Join(root, "pids.log")
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the producer ids: %w", err)
	}
	latest, order, err := replayProducers(raw)
	if err != nil {
		return fmt.Errorf("reading the producer ids: %w", err)
	}
	var out []byte
	seen := map[int64]bool{}
	kept := make([]producerEntry, 0, producersKept)
	for i := len(order) - 1; i >= 0; i-- {
		id := order[i]
		if seen[id] {
			continue
		}
		seen[id] = true
		e := *latest[id]
		epoch, open := ended[id]
		if id == committed && e.Epoch > epoch {
			open = false // kfake had finished and raised it
		}
		if len(kept) >= producersKept && !open {
			continue
		}
		if open {
			if e.Epoch = max(e.Epoch, epoch); e.Epoch >= math.MaxInt16-1 {
				continue // exhausted; an unknown id is refused as well
			}
			e.Epoch++
			commit := id == committed
			e.Commit = &commit
		}
		kept = append(kept, e)
	}
	for i := len(kept) - 1; i >= 0; i-- {
		if out, err = appendLogEntry(out, kept[i]); err != nil {
			return fmt.Errorf("encoding a producer id: %w", err)
		}
	}
	return writeFile(path, out, durable)
}

// replayProducers returns the last state of each id and the ids in the order of their entries, with repetitions.
func replayProducers(raw []byte) (map[int64]*producerEntry, []int64, error) {
	latest := map[int64]*producerEntry{}
	var order []int64
	_, err := eachLogEntry(raw, func(body []byte) error {
		var e producerEntry
		if json.Unmarshal(body, &e) != nil {
			return nil //nolint:nilerr // kfake skips it too
		}
		if e.Type == "init" {
			latest[e.ID] = &e
		} else if p := latest[e.ID]; p != nil { // "endtx" or "timeout"
			p.Epoch = e.Epoch
			if e.Commit != nil {
				p.Commit = e.Commit
			}
		} else {
			return nil
		}
		order = append(order, e.ID)
		return nil
	})
	return latest, order, err
}
