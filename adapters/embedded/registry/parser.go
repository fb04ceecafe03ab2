package registry

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/nexusblueprint/nexus/internal/compat"
)

const (
	typeAvro = "AVRO"
	// maxReferenceDepth bounds chains of references, also in a topic that
	// somebody else has written in circles.
	maxReferenceDepth = 32
)

// identity stands for what a schema says, references included.
type identity [sha256.Size]byte

// parser turns stored texts into schemas, each once and only when asked: most
// of a replayed topic is never looked into.
type parser struct {
	mu     sync.Mutex
	parsed map[*schema]parseResult
	known  map[*schema]identity
}

type parseResult struct {
	schema *compat.Schema
	err    error
}

func newParser() *parser {
	return &parser{parsed: map[*schema]parseResult{}, known: map[*schema]identity{}}
}

// stored parses a stored schema. The caller may read s.
func (p *parser) stored(s *state, of *schema) (*compat.Schema, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.storedAt(s, of, 0)
}

func (p *parser) storedAt(s *state, of *schema, depth int) (*compat.Schema, error) {
	if done, ok := p.parsed[of]; ok {
		return done.schema, done.err
	}
	var res parseResult
	res.schema, res.err = p.parse(s, of.kind, of.text, of.references, depth)
	p.parsed[of] = res
	return res.schema, res.err
}

// posted parses a schema that a client has sent.
func (p *parser) posted(s *state, in posted) (*compat.Schema, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.parse(s, in.kind, in.text, in.references, 0)
}

func (p *parser) parse(s *state, kind, text string, references []Reference, depth int) (*compat.Schema, error) {
	if kind != "" {
		return nil, fmt.Errorf("%w: its type is %s, and only %s is served here", compat.ErrInvalid, kind, typeAvro)
	}
	if depth > maxReferenceDepth {
		return nil, fmt.Errorf("%w: references lead on for more than %d steps", compat.ErrInvalid, maxReferenceDepth)
	}
	var uses []*compat.Schema
	for _, ref := range references {
		v, err := s.version(ref.Subject, ref.Version, all)
		if err != nil {
			return nil, fmt.Errorf("%w: no schema found for the reference to version %d of subject %q", compat.ErrInvalid, ref.Version, ref.Subject)
		}
		used, err := p.storedAt(s, s.schemas[v.id], depth+1)
		if err != nil {
			return nil, fmt.Errorf("in version %d of subject %q, which is referred to: %w", ref.Version, ref.Subject, err)
		}
		uses = append(uses, used)
	}
	return compat.Parse(text, uses...)
}

// identify returns the identity of a stored schema. One that does
// not parse is identified by its text.
func (p *parser) identify(s *state, of *schema) identity {
	p.mu.Lock()
	defer p.mu.Unlock()
	if done, ok := p.known[of]; ok {
		return done
	}
	parsed, err := p.storedAt(s, of, 0)
	fp := sha256.Sum256([]byte(of.kind + of.text))
	if err == nil {
		fp = parsed.Fingerprint()
	}
	out := identityOf(fp, of.references)
	p.known[of] = out
	return out
}

func identityOf(fingerprint [sha256.Size]byte, references []Reference) identity {
	if len(references) == 0 {
		return fingerprint
	}
	return sha256.Sum256(append(fingerprint[:], encode(references)...))
}

// forget drops what is kept of schemas that are not stored any more.
func (p *parser) forget(s *state) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for of := range p.parsed {
		if s.schemas[of.id] != of {
			delete(p.parsed, of)
			delete(p.known, of)
		}
	}
}
