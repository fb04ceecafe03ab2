package domaintest

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/domain"
)

// Documents are what a projection made of events. Make them with Project.
type Documents struct {
	t         testing.TB
	name      string
	documents map[string]domain.Record
}

// Project folds the events through the projection, in this order.
func Project(t testing.TB, p *domain.Projection, events ...domain.Event) *Documents {
	t.Helper()
	if faults := p.Faults(); len(faults) > 0 {
		t.Fatalf("the projection's declaration is wrong:\n  %s", strings.Join(faults, "\n  "))
	}
	d := &Documents{t: t, name: p.Name(), documents: map[string]domain.Record{}}
	for _, e := range events {
		checkRoundTrip(t, e)
		for _, c := range checkedSplit(t, p, e) {
			d.apply(p, c)
		}
	}
	return d
}

// apply folds the change into a decoded copy of the document, as the platform
// does, and checks what Apply did to its input.
func (d *Documents) apply(p *domain.Projection, c domain.Change) {
	t := d.t
	t.Helper()
	doc, ok := d.documents[c.Key]
	if !ok {
		doc = p.NewDocument()
	}
	doc = decodedCopy(t, doc)
	before := c.Record.AppendAvro(nil)
	p.Apply(doc, decodedCopy(t, c.Record))
	again := p.NewDocument()
	if ok {
		again = decodedCopy(t, d.documents[c.Key])
	}
	p.Apply(again, c.Record)
	if report := diff(doc, again); report != "" {
		t.Errorf("Apply is not deterministic for %s on document %q\n%s", c.Record.AvroName(), c.Key, report)
	}
	if !bytes.Equal(before, c.Record.AppendAvro(nil)) {
		t.Errorf("Apply altered the change %s", c.Record.AvroName())
	}
	checkRoundTrip(t, doc)
	d.documents[c.Key] = doc
}

// checkedSplit splits the event and checks the changes: one per key, usable
// keys, deterministic, and the event left alone.
func checkedSplit(t testing.TB, p *domain.Projection, e domain.Event) []domain.Change {
	t.Helper()
	before := e.AppendAvro(nil)
	changes := p.Split(e)
	if !bytes.Equal(before, e.AppendAvro(nil)) {
		t.Errorf("Split altered the event %s", e.AvroName())
	}
	seen := map[string]bool{}
	for _, c := range changes {
		if seen[c.Key] {
			t.Errorf("%s is split into two changes for document %q; make one of them", e.AvroName(), c.Key)
		}
		seen[c.Key] = true
		if faults := domain.ValidID(c.Key); len(faults) > 0 {
			t.Errorf("%s is split into a change whose key %q is no document id: %s", e.AvroName(), c.Key, faults[0].Detail)
		}
		checkRoundTrip(t, c.Record)
	}
	encoded := encodeChanges(changes)
	for range repeats {
		if !bytes.Equal(encoded, encodeChanges(p.Split(decodedCopy(t, e)))) {
			t.Errorf("Split is not deterministic for %s: sort what comes out of a map", e.AvroName())
			break
		}
	}
	return changes
}

func encodeChanges(changes []domain.Change) []byte {
	var dst []byte
	for _, c := range changes {
		dst = append(append(dst, c.Key...), 0)
		dst = append(append(dst, c.Record.AvroName()...), 0)
		dst = c.Record.AppendAvro(dst)
	}
	return dst
}

// Document says that the document of this key is exactly this.
func (d *Documents) Document(key string, want domain.Record) *Documents {
	d.t.Helper()
	got, ok := d.documents[key]
	if !ok {
		d.t.Errorf("%s has no document %q; it has %q", d.name, key, d.keys())
	} else if report := diff(want, got); report != "" {
		d.t.Errorf("%s: document %q is another than expected\n%s", d.name, key, report)
	}
	return d
}

// Keys says that there are documents of exactly these keys, whatever the order.
func (d *Documents) Keys(want ...string) *Documents {
	d.t.Helper()
	if !slices.Equal(slices.Sorted(slices.Values(want)), d.keys()) {
		d.t.Errorf("%s has documents of other keys than expected: want %q, got %q", d.name, slices.Sorted(slices.Values(want)), d.keys())
	}
	return d
}

func (d *Documents) keys() []string { return sortedKeys(d.documents) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
