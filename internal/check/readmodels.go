package check

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/logread"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/topology"
)

// roundsMax bounds how often a document is compared anew because events changed
// it meanwhile.
const roundsMax = 25

// projection is a read model as the log tells it, and what is known of how it
// stands in its table and in the search store.
type projection struct {
	topology.Projection
	schema    *avro.Schema
	documents map[string]*folded

	rows map[string]row                   // of the table, as far as it is read
	next map[logread.TopicPartition]int64 // where its reading goes on

	touched map[string]bool     // documents that events changed since the last comparison began
	open    map[place]bool      // not found equal yet; nil before the first comparison
	surplus map[[32]byte]string // shown in every comparison so far, though the log does not fold to it: by hash
	found   []difference        // by the last comparison
	shown   map[[32]byte]string // what the last comparison found shown and not folded
	passed  map[passage]bool    // what the documents in found became since
	done    bool
}

type folded struct {
	document domain.Record
	version  int64
}

// place is a document in the table or in the search store.
type place struct {
	table bool
	key   string
}

// passage is a state that a document went through: its hash, and its version
// where that is known.
type passage struct {
	place
	version int64
	sum     [32]byte
}

// difference is something that the log does not account for.
type difference struct {
	place
	text string
	sure bool // wrong whatever came in meanwhile
}

func newProjection(t *topology.Topology, p topology.Projection) *projection {
	return &projection{
		Projection: p, schema: t.Schemas.Find(p.NewDocument().AvroName()).Schema(), documents: map[string]*folded{},
		rows: map[string]row{}, next: map[logread.TopicPartition]int64{}, touched: map[string]bool{},
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
		p.touched[change.Key] = true
		p.pass(change.Key, doc)
	}
}

// readModels judges I5: tables and search store hold, for every read model, the
// documents that the log folds to, no more and no fewer.
//
// Each round compares a read model, which has reached the last cut and may be
// beyond it, with the fold at that cut, and then reads on. A document that
// differs although nothing has changed it between the two cuts is wrong. One
// that was changed is right if the fold goes through just that state on its way
// to the second cut; else it is compared again, because the events of several
// partitions may have been applied in another order.
func (c *checker) readModels(ctx context.Context) error {
	i := c.report.of("I5")
	for range roundsMax {
		left := slices.DeleteFunc(slices.Clone(c.projections), func(p *projection) bool { return p.done })
		if len(left) == 0 {
			break
		}
		clearTouched(c.projections)
		for _, p := range left {
			if err := c.compareModel(ctx, p); err != nil {
				if ctx.Err() != nil {
					return err
				}
				i.unknown("read model %s could not be compared: %v", p.Name(), err)
				p.done = true
			}
			p.watch()
		}
		if err := c.readOn(ctx); err != nil {
			return err
		}
		for _, p := range left {
			p.judge(i)
		}
	}
	i.Checked = 0
	for _, p := range c.projections {
		i.Checked += int64(len(p.documents))
		p.giveUp(i)
	}
	return nil
}

func clearTouched(all []*projection) {
	for _, p := range all {
		clear(p.touched)
	}
}

func (c *checker) compareModel(ctx context.Context, p *projection) error {
	p.found, p.shown = nil, map[[32]byte]string{}
	if err := c.compareSearch(ctx, p); err != nil { // it waits for the position, so the table is there, too
		return err
	}
	return c.compareRows(ctx, p)
}

// differs notes a difference of a document that was not found equal before.
func (p *projection) differs(d difference) {
	if p.open == nil || p.open[d.place] {
		p.found = append(p.found, d)
	}
}

// watch begins to note what becomes of the documents that differ.
func (p *projection) watch() {
	p.passed = map[passage]bool{}
	for _, d := range p.found {
		p.passed[passage{place: d.place}] = true
	}
}

// pass notes what a watched document became.
func (p *projection) pass(key string, doc *folded) {
	table, search := place{table: true, key: key}, place{key: key}
	if !p.passed[passage{place: table}] && !p.passed[passage{place: search}] {
		return
	}
	state := doc.document.AppendAvro(nil)
	p.passed[passage{table, doc.version, sha256.Sum256(state)}] = true
	if shown, err := avro.ReadDocument(p.schema, state); err == nil {
		p.passed[passage{search, 0, sha256.Sum256(shown.JSON)}] = true
	}
}

// wasPassed says whether what was found at a place is a state that the log went
// through since the cut: then it is right, and only newer than the cut.
func (p *projection) wasPassed(at place) bool {
	if at.table {
		got := p.rows[at.key]
		return p.passed[passage{at, got.envelope.Version, sha256.Sum256(got.document)}]
	}
	for sum := range p.shown {
		if p.passed[passage{at, 0, sum}] {
			delete(p.shown, sum)
			return true
		}
	}
	return false
}

// judge settles what the last comparison found, now that it is known which
// documents were changed meanwhile.
func (p *projection) judge(i *Invariant) {
	if p.done {
		return
	}
	p.open = map[place]bool{}
	for _, d := range p.found {
		if d.sure || !p.touched[d.key] {
			i.violate("%s", d.text)
			continue
		}
		if !p.wasPassed(d.place) {
			p.open[d.place] = true
		}
	}
	if p.surplus == nil {
		p.surplus = p.shown
	}
	maps.DeleteFunc(p.surplus, func(sum [32]byte, _ string) bool {
		_, still := p.shown[sum]
		return !still
	})
	if len(p.touched) == 0 {
		p.refuseSurplus(i)
	}
	p.done = len(p.open) == 0 && len(p.surplus) == 0
}

func (p *projection) refuseSurplus(i *Invariant) {
	for _, document := range slices.Sorted(maps.Values(p.surplus)) {
		i.violate("read model %s shows a document that the log does not fold to, or shows it twice: %s", p.Name(), document)
	}
	clear(p.surplus)
}

// giveUp says what could not be settled in all rounds. A document that was shown
// in every one of them, and never folded to, is wrong.
func (p *projection) giveUp(i *Invariant) {
	if p.done {
		return
	}
	p.refuseSurplus(i)
	if len(p.open) == 0 {
		return
	}
	keys := map[string]bool{}
	for at := range p.open {
		keys[fmt.Sprintf("%q", at.key)] = true
	}
	const namesMax = 5
	names := slices.Sorted(maps.Keys(keys))
	i.unknown("%d documents of %s (%s) changed faster than they could be compared, %d times: check again when it is quieter",
		len(names), p.Name(), strings.Join(names[:min(len(names), namesMax)], ", "), roundsMax)
}
