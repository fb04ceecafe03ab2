package check

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

// row is a record of a projection's table.
type row struct {
	envelope platform.DocumentEnvelope
	document []byte // Avro
}

// position is the last event read of each partition that the projection reads.
func (c *checker) position(p *projection) string {
	var parts []string
	for _, a := range c.Topology.Sources(p.Projection) {
		for tp, r := range c.read {
			if tp.Topic == c.Topology.Events(a) && r.To > 0 {
				parts = append(parts, fmt.Sprintf("%s/%d/%d", tp.Topic, tp.Partition, r.To-1))
			}
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// compareSearch compares what clients are shown, as sets of documents.
func (c *checker) compareSearch(ctx context.Context, p *projection) error {
	expected := make(map[[32]byte][]string, len(p.documents))
	for key, doc := range p.documents {
		shown, err := avro.ReadDocument(p.schema, doc.document.AppendAvro(nil))
		if err != nil {
			return fmt.Errorf("document %s: %w", key, err)
		}
		sum := sha256.Sum256(shown.JSON)
		expected[sum] = append(expected[sum], key)
	}
	err := c.Queries.Documents(ctx, p.Name(), c.position(p), func(document []byte) error {
		sum := sha256.Sum256(document)
		if keys := expected[sum]; len(keys) > 0 {
			expected[sum] = keys[1:]
			return nil
		}
		p.shown[sum] = short(document)
		return nil
	})
	if err != nil {
		return err
	}
	for _, keys := range expected {
		for _, key := range keys {
			p.differs(difference{place: place{key: key}, text: fmt.Sprintf("read model %s does not show the document %q as the log folds to it", p.Name(), key)})
		}
	}
	return nil
}

func short(document []byte) string {
	const bytesMax = 300
	if len(document) > bytesMax {
		return string(document[:bytesMax]) + "…"
	}
	return string(document)
}

// compareRows reads the projection's table on and compares it, key by key.
func (c *checker) compareRows(ctx context.Context, p *projection) error {
	ranges, err := logread.Committed(ctx, c.admin, c.Topology.ProjectionTable(p.Projection))
	if err != nil {
		return err
	}
	for tp, r := range ranges {
		r.From = max(r.From, p.next[tp])
		ranges[tp], p.next[tp] = r, r.To
	}
	if err := c.each(ctx, ranges, func(r *kgo.Record) error { c.row(p, r); return nil }); err != nil {
		return err
	}
	for key, doc := range p.documents {
		if d, wrong := p.compareRow(key, doc); wrong {
			d.table, d.key = true, key
			p.differs(d)
		}
	}
	for key := range p.rows {
		if p.documents[key] == nil {
			p.differs(difference{place: place{table: true, key: key}, text: fmt.Sprintf("table of %s has a document %q that no event makes", p.Name(), key)})
		}
	}
	return nil
}

func (c *checker) row(p *projection, r *kgo.Record) {
	i, at := c.report.of("I5"), where(r)
	if why, wrong := c.misplaced(r); wrong {
		i.violate("document %q of %s at %s: %s", r.Key, p.Name(), at, why)
		return
	}
	framed, err := c.Framer.Current(p.Table, r.Value)
	if err != nil {
		i.unreadable(err, "document %q of %s at %s cannot be read: %v", r.Key, p.Name(), at, err)
		return
	}
	var next row
	reader := avro.NewReader(framed[serde.FrameBytes:])
	next.envelope.ReadAvro(&reader)
	next.document = slices.Clone(framed[len(framed)-reader.Rest():])
	if before, ok := p.rows[string(r.Key)]; ok && next.envelope.Version <= before.envelope.Version {
		i.violate("document %q of %s goes from version %d to %d at %s", r.Key, p.Name(), before.envelope.Version, next.envelope.Version, at)
	}
	p.rows[string(r.Key)] = next
}

// compareRow compares the table with the fold. The table has reached the fold's
// cut, so where both have one version, they have the same events.
func (p *projection) compareRow(key string, doc *folded) (d difference, wrong bool) {
	got, ok := p.rows[key]
	switch {
	case !ok:
		d.text = fmt.Sprintf("table of %s has no document %q", p.Name(), key)
	case got.envelope.Version != doc.version:
		d.text = fmt.Sprintf("document %q of %s has version %d in the table, %d events made it", key, p.Name(), got.envelope.Version, doc.version)
	case !bytes.Equal(got.document, doc.document.AppendAvro(nil)):
		d.text = fmt.Sprintf("document %q of %s differs in the table from the fold of its %d events", key, p.Name(), doc.version)
		d.sure = true
	default:
		return d, false
	}
	return d, true
}
