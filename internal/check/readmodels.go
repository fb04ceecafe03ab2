package check

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

// attemptsMax bounds how often a read model is compared anew because events
// came in meanwhile.
const attemptsMax = 5

// projection is a read model as the log tells it.
type projection struct {
	topology.Projection
	schema    *avro.Schema
	documents map[string]*folded
}

type folded struct {
	document domain.Record
	version  int64
}

func newProjection(t *topology.Topology, p topology.Projection) *projection {
	return &projection{
		Projection: p, schema: t.Schemas.Find(p.NewDocument().AvroName()).Schema(), documents: map[string]*folded{},
	}
}

func (p *projection) apply(e domain.Event) {
	for _, change := range p.Split(e) {
		doc := p.documents[change.Key]
		if doc == nil {
			doc = &folded{document: p.NewDocument()}
			p.documents[change.Key] = doc
		}
		p.Apply(doc.document, change.Record)
		doc.version++
	}
}

// readModels judges I5: tables and search store hold, for every read model, the
// documents that the log folds to, no more and no fewer. While events come in,
// it reads on and compares again.
func (c *checker) readModels(ctx context.Context) error {
	i := c.report.of("I5")
	for attempt := 1; ; attempt++ {
		var wrong []string
		i.Checked = 0
		for _, p := range c.projections {
			found, err := c.compareModel(ctx, p)
			if err != nil {
				i.unknown("read model %s could not be compared: %v", p.Name(), err)
			}
			wrong = append(wrong, found...)
		}
		if len(wrong) == 0 {
			return nil
		}
		moved, err := c.readOn(ctx)
		if err != nil {
			return err
		}
		if !moved {
			for _, w := range wrong {
				i.violate("%s", w)
			}
			return nil
		}
		if attempt == attemptsMax {
			i.unknown("events came in faster than they could be compared, %d times: check again when it is quieter", attemptsMax)
			return nil
		}
	}
}

// readOn folds the events that came in since the last cut.
func (c *checker) readOn(ctx context.Context) (moved bool, err error) {
	now, err := logread.Committed(ctx, c.admin, c.eventTopics()...)
	if err != nil {
		return false, err
	}
	for tp, r := range now {
		r.From = c.second[tp].To
		now[tp] = r
		moved = moved || r.From < r.To
	}
	if !moved {
		return false, nil
	}
	if err := c.read(ctx, now); err != nil {
		return false, err
	}
	c.second = now
	return true, nil
}

func (c *checker) compareModel(ctx context.Context, p *projection) (wrong []string, err error) {
	wrong, err = c.compareSearch(ctx, p) // it waits for the position, so the table is there, too
	if err != nil {
		return nil, err
	}
	tables, err := c.compareTable(ctx, p)
	return append(wrong, tables...), err
}

// position is the last event read of each partition that the projection reads.
func (c *checker) position(p *projection) string {
	var parts []string
	for _, a := range c.Topology.Sources(p.Projection) {
		for tp, r := range c.second {
			if tp.Topic == c.Topology.Events(a) && r.To > 0 {
				parts = append(parts, fmt.Sprintf("%s/%d/%d", tp.Topic, tp.Partition, r.To-1))
			}
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// compareSearch compares what clients are shown, as sets of documents.
func (c *checker) compareSearch(ctx context.Context, p *projection) (wrong []string, err error) {
	expected := make(map[[32]byte]string, len(p.documents))
	for key, doc := range p.documents {
		shown, err := avro.ReadDocument(p.schema, doc.document.AppendAvro(nil))
		if err != nil {
			return nil, fmt.Errorf("document %s: %w", key, err)
		}
		expected[sha256.Sum256(shown.JSON)] = key
	}
	err = c.Queries.Documents(ctx, p.Name(), c.position(p), func(document []byte) error {
		c.report.of("I5").Checked++
		sum := sha256.Sum256(document)
		if _, ok := expected[sum]; !ok {
			wrong = append(wrong, fmt.Sprintf("read model %s shows a document that the log does not fold to, or shows it twice: %s", p.Name(), short(document)))
		}
		delete(expected, sum)
		return nil
	})
	for _, key := range expected {
		wrong = append(wrong, fmt.Sprintf("read model %s does not show the document %q as the log folds to it", p.Name(), key))
	}
	return wrong, err
}

func short(document []byte) string {
	const bytesMax = 160
	if len(document) > bytesMax {
		return string(document[:bytesMax]) + "…"
	}
	return string(document)
}

// compareTable compares the projection's table, key by key.
func (c *checker) compareTable(ctx context.Context, p *projection) (wrong []string, err error) {
	topic := c.Topology.ProjectionTable(p.Projection)
	ranges, err := logread.Committed(ctx, c.admin, topic)
	if err != nil {
		return nil, err
	}
	type row struct {
		envelope platform.DocumentEnvelope
		document []byte
	}
	rows := map[string]row{}
	err = c.each(ctx, ranges, func(r *kgo.Record) error {
		framed, err := c.Framer.Current(p.Table, r.Value)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("record at %s/%d/%d cannot be read: %v", r.Topic, r.Partition, r.Offset, err))
			return nil
		}
		var next row
		reader := avro.NewReader(framed[frameBytes:])
		next.envelope.ReadAvro(&reader)
		next.document = framed[len(framed)-reader.Rest():]
		if before, ok := rows[string(r.Key)]; ok && next.envelope.Version <= before.envelope.Version {
			wrong = append(wrong, fmt.Sprintf("document %q of %s goes from version %d to %d at %s/%d/%d", r.Key, p.Name(), before.envelope.Version, next.envelope.Version, r.Topic, r.Partition, r.Offset))
		}
		rows[string(r.Key)] = next
		return nil
	})
	if err != nil {
		return nil, err
	}
	for key, doc := range p.documents {
		got, ok := rows[key]
		switch {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("table of %s has no document %q", p.Name(), key))
		case got.envelope.Version != doc.version:
			wrong = append(wrong, fmt.Sprintf("document %q of %s has version %d in the table, %d events made it", key, p.Name(), got.envelope.Version, doc.version))
		case !bytes.Equal(got.document, doc.document.AppendAvro(nil)):
			wrong = append(wrong, fmt.Sprintf("document %q of %s differs in the table from the fold of its %d events", key, p.Name(), doc.version))
		}
		delete(rows, key)
	}
	for key := range rows {
		wrong = append(wrong, fmt.Sprintf("table of %s has a document %q that no event makes", p.Name(), key))
	}
	return wrong, nil
}
