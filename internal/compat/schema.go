package compat

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/twmb/avro"
)

// Limits of [Parse].
const (
	// MaxTextBytes is the longest schema text that is accepted.
	MaxTextBytes = 1 << 20
	// MaxDepth is the deepest nesting of JSON brackets that is accepted. A
	// record in a record costs three of them.
	MaxDepth = 192
)

// ErrInvalid is wrapped by every error of [Parse]: the text is no schema that
// may be registered. The message says what and where.
var ErrInvalid = errors.New("invalid Avro schema")

// Schema is a parsed schema. It is immutable and safe for concurrent use.
type Schema struct {
	text   string
	root   *node
	named  map[string]*node // definitions of this text alone
	uses   []*Schema        // referenced schemas, direct ones
	normal []byte
}

// Parse reads one schema. uses are the schemas whose named types the text may
// refer to without defining them, in any order; their own references come
// along. Every error wraps [ErrInvalid].
func Parse(text string, uses ...*Schema) (*Schema, error) {
	if err := checkText(text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	doc, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	order := flatten(uses)
	if err := validate(text, order); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	b := builder{known: map[string]*node{}, own: map[string]*node{}}
	for _, s := range order {
		for name, n := range s.named {
			b.known[name] = n
		}
	}
	root, err := b.build(doc, "", "")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return &Schema{text: text, root: root, named: b.own, uses: uses, normal: b.normal}, nil
}

// Fingerprint identifies what the text says: two texts that differ only in
// white space, order of keys, or the spelling of names and primitives have the
// same one. Unlike a hash of Avro's parsing canonical form it covers defaults,
// aliases, documentation and every other attribute.
func (s *Schema) Fingerprint() [sha256.Size]byte { return sha256.Sum256(s.normal) }

func checkText(text string) error {
	if len(text) > MaxTextBytes {
		return fmt.Errorf("%d bytes long, at most %d are accepted", len(text), MaxTextBytes)
	}
	if !utf8.ValidString(text) {
		return errors.New("not valid UTF-8")
	}
	return nil
}

// validate lets the codec's own parser judge names, symbols, sizes, unions and
// defaults: what it refuses could not be written or read either.
func validate(text string, uses []*Schema) error {
	if len(uses) == 0 {
		_, err := avro.Parse(text) // spares the cache's copy of the text
		return err
	}
	var cache avro.SchemaCache
	for _, s := range uses {
		if _, err := cache.Parse(s.text); err != nil {
			return fmt.Errorf("its references do not fit together: %w", err)
		}
	}
	_, err := cache.Parse(text)
	return err
}

// flatten puts schemas after everything they use, each text once.
func flatten(uses []*Schema) []*Schema {
	var out []*Schema
	seen := map[[sha256.Size]byte]bool{}
	var visit func(s *Schema)
	visit = func(s *Schema) {
		if id := s.Fingerprint(); seen[id] {
			return
		} else {
			seen[id] = true
		}
		for _, u := range s.uses {
			visit(u)
		}
		out = append(out, s)
	}
	for _, s := range uses {
		visit(s)
	}
	return out
}
