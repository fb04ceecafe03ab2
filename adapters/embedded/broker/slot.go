package broker

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
)

// decision is written before kfake handles a commit. kfake handles one request after the other and a hook runs in the
// same step as its request, so when the next request comes the commit is finished: one slot, overwritten by one write,
// is enough. A torn one means that the commit had not begun.
type decision struct {
	Producer int64          `json:"producer"`
	Epoch    int16          `json:"epoch"`
	TxnID    string         `json:"txn_id"`
	Parts    []decisionPart `json:"parts,omitempty"`
	Offsets  []groupOffset  `json:"offsets,omitempty"`
}

// decisionPart is a partition of the transaction. Base is its end before the transaction's first batch: older clients
// keep one epoch for many transactions.
type decisionPart struct {
	tp
	Base int64 `json:"base"`
}

type groupOffset struct {
	Group string `json:"g"`
	tp
	Offset int64 `json:"o"`
}

func (d *decision) part(t tp) *decisionPart {
	for i := range d.Parts {
		if d.Parts[i].tp == t {
			return &d.Parts[i]
		}
	}
	return nil
}

// slot holds the last decision: 4 bytes length, 4 bytes CRC-32C, JSON.
type slot struct {
	f    *os.File
	full bool
	sync bool
}

func openSlot(path string, durable bool) (*slot, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the decision slot: %w", err)
	}
	return &slot{f: f, sync: durable}, nil
}

// read returns the decision, or nil if there is none or it is torn.
func (s *slot) read() (*decision, error) {
	raw, err := os.ReadFile(s.f.Name())
	if err != nil {
		return nil, fmt.Errorf("reading the decision slot: %w", err)
	}
	d := decodeDecision(raw)
	s.full = d != nil
	return d, nil
}

func decodeDecision(raw []byte) *decision {
	if len(raw) < 8 {
		return nil
	}
	n := int64(binary.LittleEndian.Uint32(raw))
	if n == 0 || n > int64(len(raw)-8) || crc32.Checksum(raw[8:8+n], castagnoli) != binary.LittleEndian.Uint32(raw[4:]) {
		return nil
	}
	var d decision
	if err := json.Unmarshal(raw[8:8+n], &d); err != nil {
		return nil
	}
	return &d
}

func (s *slot) write(d *decision) error {
	body, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encoding a decision: %w", err)
	}
	raw := binary.LittleEndian.AppendUint32(make([]byte, 0, 8+len(body)), uint32(len(body))) // bounded by the request
	raw = binary.LittleEndian.AppendUint32(raw, crc32.Checksum(body, castagnoli))
	s.full = true
	return s.put(append(raw, body...))
}

// clear empties the slot before something happens that a repair must not undo.
func (s *slot) clear() error {
	if !s.full {
		return nil
	}
	if err := s.put(make([]byte, 8)); err != nil {
		return err
	}
	s.full = false
	return nil
}

func (s *slot) put(raw []byte) error {
	_, err := s.f.WriteAt(raw, 0)
	if err == nil && s.sync {
		err = s.f.Sync()
	}
	if err != nil {
		return fmt.Errorf("writing the decision slot: %w", err)
	}
	return nil
}
