package registry

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/nexusblueprint/nexus/internal/compat"
)

// defaultLevel holds where no level was set: the log is read for ever, so a
// new reader must understand every version, not only the last.
const defaultLevel = compat.BackwardTransitive

// The modes of a subject or of the whole registry.
const (
	modeReadWrite = "READWRITE"
	modeReadOnly  = "READONLY"
	modeImport    = "IMPORT"
)

// state is what the topic says. It changes only through apply. Its reads and
// apply are synchronised by the Registry.
type state struct {
	schemas  map[int]*schema
	subjects map[string][]*version // ascending by number
	levels   map[string]compat.Level
	modes    map[string]string
	maxID    int // highest id ever seen
}

// schema is one text under one id; immutable.
type schema struct {
	id         int
	kind       string // "" for Avro, else a type we store but do not judge
	text       string
	references []Reference
	uses       int // versions, deleted ones included, that have this id
}

type version struct {
	number, id int
	deleted    bool
}

func newState() *state {
	return &state{
		schemas:  map[int]*schema{},
		subjects: map[string][]*version{},
		levels:   map[string]compat.Level{},
		modes:    map[string]string{},
	}
}

// apply takes in one record of the topic. An error means that the record was
// ignored: not ours, damaged, or an id that belongs to another text already.
func (s *state) apply(key, value []byte) error {
	var k recordKey
	if err := json.Unmarshal(key, &k); err != nil {
		return fmt.Errorf("reading a key: %w", err)
	}
	switch k.Type {
	case keySchema:
		return s.applySchema(k, value)
	case keyDeleteSubject:
		return s.applyDeleteSubject(value)
	case keyConfig:
		return s.applyConfig(k.Subject, value)
	case keyMode:
		return s.applyMode(k.Subject, value)
	case keyNoop:
		return s.applyNoop(value)
	}
	return fmt.Errorf("key type %.40q is not known", k.Type)
}

func (s *state) applySchema(k recordKey, value []byte) error {
	if value == nil {
		s.remove(k.Subject, k.Version)
		return nil
	}
	var v schemaValue
	if err := json.Unmarshal(value, &v); err != nil {
		return fmt.Errorf("reading version %d of %q: %w", k.Version, k.Subject, err)
	}
	if k.Version < 1 || v.ID < 0 {
		return fmt.Errorf("version %d of %q has id %d", k.Version, k.Subject, v.ID)
	}
	s.maxID = max(s.maxID, v.ID)
	known := s.schemas[v.ID]
	if known != nil && known.text != v.Schema {
		return fmt.Errorf("version %d of %q has id %d, which belongs to another schema", k.Version, k.Subject, v.ID)
	}
	if known == nil {
		kind := v.SchemaType
		if kind == typeAvro {
			kind = ""
		}
		known = &schema{id: v.ID, kind: kind, text: v.Schema, references: v.References}
	}
	known.uses++ // before the old version goes: it may be the last use of the same id
	s.remove(k.Subject, k.Version)
	s.schemas[v.ID] = known
	s.insert(k.Subject, &version{number: k.Version, id: v.ID, deleted: v.Deleted})
	return nil
}

func (s *state) insert(subject string, v *version) {
	list := s.subjects[subject]
	i, _ := slices.BinarySearchFunc(list, v.number, byNumber)
	s.subjects[subject] = slices.Insert(list, i, v)
}

func (s *state) remove(subject string, number int) {
	list := s.subjects[subject]
	i, found := slices.BinarySearchFunc(list, number, byNumber)
	if !found {
		return
	}
	old := s.schemas[list[i].id]
	if old.uses--; old.uses == 0 {
		delete(s.schemas, old.id)
	}
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(s.subjects, subject)
		return
	}
	s.subjects[subject] = list
}

func byNumber(v *version, number int) int { return v.number - number }

func (s *state) applyDeleteSubject(value []byte) error {
	if value == nil {
		return nil
	}
	var v deleteSubjectValue
	if err := json.Unmarshal(value, &v); err != nil {
		return fmt.Errorf("reading a subject's deletion: %w", err)
	}
	for i, old := range s.subjects[v.Subject] {
		if old.number <= v.Version {
			s.subjects[v.Subject][i] = &version{number: old.number, id: old.id, deleted: true}
		}
	}
	return nil
}

func (s *state) applyConfig(subject string, value []byte) error {
	if value == nil {
		delete(s.levels, subject)
		return nil
	}
	var v configValue
	if err := json.Unmarshal(value, &v); err != nil {
		return fmt.Errorf("reading the level of %q: %w", subject, err)
	}
	level, err := compat.ParseLevel(v.Level)
	if err != nil {
		return fmt.Errorf("reading the level of %q: %w", subject, err)
	}
	s.levels[subject] = level
	return nil
}

func (s *state) applyMode(subject string, value []byte) error {
	if value == nil {
		delete(s.modes, subject)
		return nil
	}
	var v modeValue
	if err := json.Unmarshal(value, &v); err != nil {
		return fmt.Errorf("reading the mode of %q: %w", subject, err)
	}
	s.modes[subject] = v.Mode
	return nil
}

func (s *state) applyNoop(value []byte) error {
	if value == nil {
		return nil
	}
	var v noopValue
	if err := json.Unmarshal(value, &v); err != nil {
		return fmt.Errorf("reading a NOOP's value: %w", err)
	}
	s.maxID = max(s.maxID, v.MaxID)
	return nil
}

// level returns the level that holds for a subject.
func (s *state) level(subject string) compat.Level {
	for _, scope := range []string{subject, ""} {
		if l, ok := s.levels[scope]; ok {
			return l
		}
	}
	return defaultLevel
}

// mode returns the mode that holds for a subject.
func (s *state) mode(subject string) string {
	for _, scope := range []string{subject, ""} {
		if m, ok := s.modes[scope]; ok {
			return m
		}
	}
	return modeReadWrite
}

// versions returns a subject's versions, oldest first.
func (s *state) versions(subject string, show visibility) []*version {
	var out []*version
	for _, v := range s.subjects[subject] {
		if show.of(v) {
			out = append(out, v)
		}
	}
	return out
}

// version finds one version; number 0 means the latest.
func (s *state) version(subject string, number int, show visibility) (*version, error) {
	list := s.versions(subject, show)
	if len(list) == 0 {
		return nil, subjectNotFound(subject)
	}
	if number == 0 {
		return list[len(list)-1], nil
	}
	i, found := slices.BinarySearchFunc(list, number, byNumber)
	if !found {
		return nil, versionNotFound(number)
	}
	return list[i], nil
}

func (s *state) subjectNames() []string { return slices.Sorted(maps.Keys(s.subjects)) }

// referrers returns the ids of the schemas, with a live version, that refer to
// a subject's version; sorted.
func (s *state) referrers(subject string, number int, show visibility) []int {
	ids := map[int]bool{}
	for _, list := range s.subjects {
		for _, v := range list {
			if show.of(v) && s.schemas[v.id].refersTo(subject, number) {
				ids[v.id] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

func (s *schema) refersTo(subject string, number int) bool {
	for _, r := range s.references {
		if r.Subject == subject && r.Version == number {
			return true
		}
	}
	return false
}

// visibility says which versions a request sees.
type visibility int

const (
	live visibility = iota
	all
	deletedOnly
)

func (show visibility) of(v *version) bool {
	return show == all || v.deleted == (show == deletedOnly)
}
