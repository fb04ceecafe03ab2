package confluent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/nexusblueprint/nexus/internal/compat"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/ports"
)

// referencesMax bounds how many schemas one schema may refer to, directly or not.
const referencesMax = 100

// Registry is a client. It is safe for concurrent use and holds nothing that has to be closed.
type Registry struct {
	cl         *sr.Client
	place      string // for messages
	answered   atomic.Bool
	patience   time.Duration // with one request; until it has answered, with all tries
	firstPause time.Duration
}

var _ ports.SchemaRegistry = (*Registry)(nil)

// New makes a client of the registry at cfg.URL, the base address of its API; it connects when it is asked something.
// User and Password, if there are any, authenticate by HTTP Basic; for Confluent Cloud they are an API key and its secret.
// The error says what is wrong with the address, or with the file of authorities.
func New(cfg config.Registry) (*Registry, error) {
	fault := func(err error) error { return fmt.Errorf("configuring the schema registry: %w", err) }
	if err := config.CheckHTTP(cfg.URL); err != nil {
		return nil, fault(err)
	}
	opts, err := options(cfg)
	if err != nil {
		return nil, fault(err)
	}
	cl, err := sr.NewClient(opts...)
	if err != nil {
		return nil, fault(err)
	}
	return &Registry{cl: cl, place: cfg.URL, patience: patience, firstPause: firstPause}, nil
}

// Register looks first: registries that do not keep concurrent registrations apart make fewer versions twice so, and a
// read-only one still answers for what it has.
func (r *Registry) Register(ctx context.Context, s ports.Schema) (uint32, error) {
	if err := valid("registering", s); err != nil {
		return 0, err
	}
	if id, err := r.Lookup(ctx, s); !errors.Is(err, ports.ErrUnknownSchema) {
		return id, err
	}
	var id int
	act := "registering schema " + s.Subject
	err := r.ask(ctx, act, func(ctx context.Context) (err error) {
		id, err = r.cl.RegisterSchema(ctx, s.Subject, sr.Schema{Schema: s.Text}, -1, -1)
		return err
	})
	return checkID(act, id, err)
}

// valid judges the text here: Apicurio takes an empty one for a schema, unless it was given a rule of its own against that.
func valid(act string, s ports.Schema) error {
	if _, err := compat.Parse(s.Text); err != nil {
		return fmt.Errorf("%s schema %s: %w: %w", act, s.Subject, ports.ErrInvalidSchema, err)
	}
	return nil
}

// Lookup is the port's.
func (r *Registry) Lookup(ctx context.Context, s ports.Schema) (uint32, error) {
	var found sr.SubjectSchema
	act := "looking up schema " + s.Subject
	err := r.ask(ctx, act, func(ctx context.Context) (err error) {
		found, err = r.cl.LookupSchema(ctx, s.Subject, sr.Schema{Schema: s.Text})
		return err
	})
	return checkID(act, found.ID, err)
}

// checkID makes sure that an id is one: ids are Java's ints, and so are the four bytes of a frame.
func checkID(act string, id int, err error) (uint32, error) {
	if err != nil {
		return 0, err
	}
	if id <= 0 || id > math.MaxInt32 {
		return 0, fmt.Errorf("%s: the registry answers id %d, which does not fit a frame", act, id)
	}
	return uint32(id), nil
}

// Text is the port's.
func (r *Registry) Text(ctx context.Context, id uint32) (string, []string, error) {
	var found sr.Schema
	act := fmt.Sprintf("fetching schema %d", id)
	if id > math.MaxInt32 { // for Confluent's registry a path that it does not have, not an id
		return "", nil, fmt.Errorf("%s: %w: ids end at %d", act, ports.ErrUnknownSchema, math.MaxInt32)
	}
	err := r.ask(ctx, act, func(ctx context.Context) (err error) {
		found, err = r.cl.SchemaByID(ctx, int(id))
		return err
	})
	if err != nil {
		return "", nil, err
	}
	if found.Type != sr.TypeAvro {
		return "", nil, fmt.Errorf("%s: %w: it is of type %s, not Avro", act, ports.ErrInvalidSchema, found.Type)
	}
	texts, err := r.references(ctx, act, found.References)
	return found.Schema, texts, err
}

// references fetches the schemas that refs name, and theirs.
func (r *Registry) references(ctx context.Context, act string, refs []sr.SchemaReference) (texts []string, err error) {
	seen := map[sr.SchemaReference]bool{}
	for len(refs) > 0 {
		ref := refs[0]
		refs = refs[1:]
		ref.Name = "" // by which the other schema calls it
		if seen[ref] {
			continue
		}
		if seen[ref] = true; len(seen) > referencesMax {
			return nil, fmt.Errorf("%s: %w: it refers to more than %d others", act, ports.ErrInvalidSchema, referencesMax)
		}
		var found sr.SubjectSchema
		err := r.ask(ctx, fmt.Sprintf("%s: fetching version %d of %s, which it refers to", act, ref.Version, ref.Subject), func(ctx context.Context) (err error) {
			found, err = r.cl.SchemaByVersion(ctx, ref.Subject, ref.Version)
			return err
		})
		if errors.Is(err, ports.ErrUnknownSchema) {
			return nil, fmt.Errorf("%s: %w: it refers to version %d of %s, which the registry does not have",
				act, ports.ErrInvalidSchema, ref.Version, ref.Subject)
		}
		if err != nil {
			return nil, err
		}
		texts = append(texts, found.Schema.Schema)
		refs = append(refs, found.References...)
	}
	return texts, nil
}

// Versions is the port's.
func (r *Registry) Versions(ctx context.Context, subject string) ([]ports.SchemaVersion, error) {
	var found []sr.SubjectSchema
	act := "reading the versions of schema " + subject
	err := r.ask(ctx, act, func(ctx context.Context) (err error) {
		found, err = r.cl.Schemas(ctx, subject)
		return err
	})
	if err != nil {
		return nil, err
	}
	versions := make([]ports.SchemaVersion, 0, len(found))
	for _, v := range found {
		id, err := checkID(act, v.ID, nil)
		if err != nil {
			return nil, err
		}
		versions = append(versions, ports.SchemaVersion{Number: v.Version, ID: id, Text: v.Schema.Schema})
	}
	slices.SortFunc(versions, func(a, b ports.SchemaVersion) int { return a.Number - b.Number })
	return versions, nil
}

// Check is the port's.
func (r *Registry) Check(ctx context.Context, s ports.Schema) error {
	if err := valid("checking", s); err != nil {
		return err
	}
	const allVersions = -2 // those that the subject's level names
	var verdict sr.CheckCompatibilityResult
	act := "checking schema " + s.Subject
	err := r.ask(ctx, act, func(ctx context.Context) (err error) {
		verdict, err = r.cl.CheckCompatibility(sr.WithParams(ctx, sr.Verbose), s.Subject, allVersions, sr.Schema{Schema: s.Text})
		return err
	})
	switch {
	case errors.Is(err, ports.ErrUnknownSchema): // Apicurio's way of saying that the subject has no version yet
		return nil
	case err != nil || verdict.Is:
		return err
	case len(verdict.Messages) == 0: // Apicurio gives its reasons at a registration only
		return fmt.Errorf("%s: %w: the registry gives no reason", act, ports.ErrIncompatible)
	}
	return fmt.Errorf("%s: %w: %s", act, ports.ErrIncompatible, short(strings.Join(verdict.Messages, ", ")))
}

// Level is the port's.
func (r *Registry) Level(ctx context.Context, subject string) (ports.Level, error) {
	level, err := r.level(ctx, subject)
	if errors.Is(err, ports.ErrUnknownSchema) { // Apicurio, of a subject that it does not have
		level, err = r.level(ctx, sr.GlobalSubject)
	}
	if errors.Is(err, ports.ErrUnknownSchema) || (err == nil && level == "") { // it was never given one
		return ports.LevelNone, nil
	}
	return level, err
}

func (r *Registry) level(ctx context.Context, subject string) (ports.Level, error) {
	var found sr.CompatibilityResult
	err := r.ask(ctx, "reading the compatibility level of "+cmp.Or(subject, "the registry"), func(ctx context.Context) error {
		found = r.cl.Compatibility(sr.WithParams(ctx, sr.DefaultToGlobal), subject)[0]
		return found.Err
	})
	if err != nil {
		return "", err
	}
	return ports.Level(found.Level.String()), nil
}
