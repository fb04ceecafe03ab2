package serde

import (
	"encoding/binary"
	"fmt"
)

// Current returns a framed value of the named record as the program's own schema has it: the value itself if it was
// written so, else transcoded.
//
// Errors: as Decode; [ErrUnknownSchema] if the program has no such record, [ErrNotRegistered] as Append.
func (s *Serde) Current(name string, framed []byte) ([]byte, error) {
	if id, ok := s.ID(name); ok && len(framed) >= FrameBytes && framed[0] == 0 && binary.BigEndian.Uint32(framed[1:]) == id {
		return framed, nil
	}
	entry := s.sets.Find(name)
	if entry == nil {
		return nil, fmt.Errorf("%w: the program has no record %s", ErrUnknownSchema, name)
	}
	rec := entry.New()
	if err := s.Decode(framed, rec); err != nil {
		return nil, err
	}
	return s.Append(nil, rec)
}
