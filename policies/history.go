package policies

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/nexusblueprint/nexus/internal/compat"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

// History is how today's schemas stand to those that were released.
type History struct {
	Releases          []string          `json:"releases"`
	Incompatibilities []Incompatibility `json:"incompatibilities"`
	Removed           []Removed         `json:"removed"`
	Edited            []Edited          `json:"edited"`
}

// Incompatibility is a released schema that today's cannot read, or that cannot
// read today's.
type Incompatibility struct {
	Subject string `json:"subject"`
	With    string `json:"with"` // "release 0.1.0" or "version 3 in the registry"
	Reason  string `json:"reason"`
}

// Removed is a released schema that the topology no longer has.
type Removed struct {
	Subject string `json:"subject"`
	Release string `json:"release"`
}

// NewHistory is that of a system of which nothing is known yet.
func NewHistory() *History {
	return &History{Releases: []string{}, Incompatibilities: []Incompatibility{}, Removed: []Removed{}, Edited: []Edited{}}
}

// ReadHistory compares the topology's schemas with every release in the folder:
// one folder per release, one self-contained <subject>.avsc per schema, and the
// SumsFile that says whether they are still what was released. A folder that is not there is that of a system that was never released.
func ReadHistory(d topology.Description, releases fs.FS) (*History, error) {
	h := NewHistory()
	current := map[string]string{}
	for _, s := range d.Schemas {
		current[s.Subject] = s.Schema
	}
	folders, err := fs.ReadDir(releases, ".")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading released schemas: %w", err)
	}
	for _, folder := range folders {
		if !folder.IsDir() {
			continue
		}
		h.Releases = append(h.Releases, folder.Name())
		edited, err := Unsealed(releases, folder.Name())
		if err != nil {
			return nil, err
		}
		h.Edited = append(h.Edited, edited...)
		if err := h.compare(releases, folder.Name(), current); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (h *History) compare(releases fs.FS, release string, current map[string]string) error {
	files, err := fs.ReadDir(releases, release)
	if err != nil {
		return fmt.Errorf("reading released schemas of %s: %w", release, err)
	}
	for _, file := range files {
		subject, ok := strings.CutSuffix(file.Name(), ".avsc")
		if !ok {
			continue
		}
		released, err := fs.ReadFile(releases, path.Join(release, file.Name()))
		if err != nil {
			return fmt.Errorf("reading released schema %s of %s: %w", subject, release, err)
		}
		today, there := current[subject]
		if !there {
			h.Removed = append(h.Removed, Removed{Subject: subject, Release: release})
			continue
		}
		if err := h.Compare(subject, "release "+release, today, string(released)); err != nil {
			return err
		}
	}
	return nil
}

// Compare adds what breaks between today's version of a schema and an older
// one; with says where the older stands.
func (h *History) Compare(subject, with, today, older string) error {
	reasons, err := Breaks(today, older)
	if err != nil {
		return fmt.Errorf("comparing %s with %s: %w", subject, with, err)
	}
	for _, reason := range reasons {
		h.Incompatibilities = append(h.Incompatibilities, Incompatibility{Subject: subject, With: with, Reason: reason})
	}
	return nil
}

// Breaks lists why two versions of a schema cannot live side by side: what the
// newer cannot read of the older, and the other way round.
func Breaks(newer, older string) ([]string, error) {
	now, err := parse(newer)
	if err != nil {
		return nil, err
	}
	was, err := parse(older)
	if err != nil { // a registry may hold what was never ours: Protobuf, say, or a part of a schema
		return []string{fmt.Sprintf("it is no schema that this program reads: %v", err)}, nil
	}
	reasons := retyped(now.avro, was.avro)
	for _, i := range compat.CheckSchemas(now.compat, was.compat) {
		reasons = append(reasons, "what was written before cannot be read: "+i.String())
	}
	for _, i := range compat.CheckSchemas(was.compat, now.compat) {
		reasons = append(reasons, "the earlier version cannot read it: "+i.String())
	}
	return reasons, nil
}

// parsed is a schema for those who compare it.
type parsed struct {
	avro   *avro.Schema
	compat *compat.Schema
}

func parse(text string) (p parsed, err error) {
	if p.avro, err = avro.ParseSchema(text); err != nil {
		return p, err
	}
	p.compat, err = compat.Parse(text)
	return p, err
}

// retyped lists what is read without error and means something else: values
// whose logical type is another, such as micro- instead of milliseconds.
func retyped(now, was *avro.Schema) []string {
	c := retyping{seen: map[string]bool{}}
	c.compare("", now, was)
	return c.reasons
}

type retyping struct {
	seen    map[string]bool // records
	reasons []string
}

func (c *retyping) compare(at string, now, was *avro.Schema) {
	now, was = now.NonNull(), was.NonNull()
	if now.Kind() != was.Kind() {
		return // not read, or a promotion: the rules of Avro tell
	}
	// A type that is only now said, or no longer, may be what the values always were.
	if is, before := now.Attribute("logicalType"), was.Attribute("logicalType"); is != before && is != "" && before != "" {
		c.reasons = append(c.reasons, fmt.Sprintf("what was written before is read as something else: at %s the logical type is %s and was %s; put it back, and let a new field have the new one", at, is, before))
	}
	switch now.Kind() {
	case avro.KindArray, avro.KindMap:
		c.compare(at, now.Items(), was.Items())
	case avro.KindUnion:
		for i := range min(len(now.Branches()), len(was.Branches())) {
			c.compare(at, now.Branches()[i], was.Branches()[i])
		}
	case avro.KindRecord:
		if c.seen[now.Name()] {
			return
		}
		c.seen[now.Name()] = true
		for _, field := range now.Fields() {
			if before := was.Field(field.Name); before != nil {
				c.compare(at+"/"+field.Name, field.Schema, before.Schema)
			}
		}
	}
}
