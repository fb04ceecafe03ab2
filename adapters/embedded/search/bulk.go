package search

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/bits"
	"slices"

	"github.com/nexusblueprint/nexus/internal/searchstore"
	"github.com/nexusblueprint/nexus/ports"
)

// row is what a write needs to know of a stored document.
type row struct {
	key      int64 // 0: not stored
	version  int64
	deleted  bool
	texthash int64
	words    int64
	accessed []any // values of the fields that have a column index, in their order
}

// textChange is a change of the full text table.
type textChange struct {
	key    int64
	remove bool
	add    string // folded; "" adds nothing
}

// batch is one call of Bulk under way.
type batch struct {
	w        *writer
	ix       *index
	covered  uint64 // bit i: field i has a column index
	accessed []int  // the same as a list
	rows     map[string]*row
	texts    []textChange
	live     int64 // by how much the number of documents changes
	args     []any
}

// Bulk writes the documents in one transaction: all are stored with their text, or none.
func (s *Store) Bulk(ctx context.Context, name string, docs []ports.Document) ([]ports.ItemResult, error) {
	ix, err := s.index(name)
	if err != nil || len(docs) == 0 {
		return nil, err
	}
	results := make([]ports.ItemResult, len(docs))
	w, err := s.take(ctx)
	if err != nil {
		return nil, err
	}
	defer s.give(w)
	err = w.transaction(ctx, func(ctx context.Context) error {
		return newBatch(w, ix).run(ctx, docs, results)
	})
	if err != nil {
		return nil, fmt.Errorf("writing %d documents to index %s: %w", len(docs), name, s.check(err))
	}
	return results, nil
}

func newBatch(w *writer, ix *index) *batch {
	b := &batch{w: w, ix: ix, covered: ix.accessed.Load(), args: make([]any, 0, len(ix.fields)+8)}
	for mask := b.covered; mask != 0; mask &= mask - 1 {
		b.accessed = append(b.accessed, bits.TrailingZeros64(mask))
	}
	return b
}

func (b *batch) run(ctx context.Context, docs []ports.Document, results []ports.ItemResult) error {
	for i := range docs {
		results[i].Err = searchstore.CheckDocument(b.ix.fields, &docs[i])
	}
	if err := b.find(ctx, docs, results); err != nil {
		return fmt.Errorf("finding stored versions: %w", err)
	}
	for i := range docs {
		if results[i].Err != nil {
			continue
		}
		stale, err := b.put(ctx, &docs[i])
		if err != nil {
			return fmt.Errorf("document %q: %w", docs[i].ID, err)
		}
		results[i].Stale = stale
	}
	if err := b.changeTexts(ctx); err != nil {
		return fmt.Errorf("changing full text: %w", err)
	}
	if b.live == 0 {
		return nil
	}
	_, err := b.w.conn.ExecContext(ctx, sqlAddLive, b.live, b.ix.n)
	return err
}

// find reads what is stored under the ids of the batch, all in one statement.
func (b *batch) find(ctx context.Context, docs []ports.Document, results []ports.ItemResult) error {
	ids := make([]string, 0, len(docs))
	b.rows = make(map[string]*row, len(docs))
	for i := range docs {
		if id := docs[i].ID; results[i].Err == nil && b.rows[id] == nil {
			b.rows[id] = &row{accessed: make([]any, len(b.accessed))}
			ids = append(ids, id)
		}
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	statement, err := b.statement(ctx, statementKey{kind: findStatement, covered: b.covered})
	if err != nil {
		return err
	}
	rows, err := statement.QueryContext(ctx, string(list))
	return each(rows, err, func() error {
		var place int
		r := row{accessed: make([]any, len(b.accessed))}
		into := []any{&place, &r.key, &r.version, &r.deleted, &r.texthash, &r.words}
		for i := range r.accessed {
			into = append(into, &r.accessed[i])
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		*b.rows[ids[place]] = r
		return nil
	})
}

// put writes one document whose version is above the stored one.
func (b *batch) put(ctx context.Context, doc *ports.Document) (stale bool, err error) {
	old := b.rows[doc.ID]
	version := int64(doc.Version) // CheckDocument has bounded it
	if old.key != 0 && version <= old.version {
		return true, nil
	}
	next := row{key: old.key, version: version, deleted: doc.Deleted, texthash: old.texthash, words: old.words}
	b.text(doc, old, &next)
	if old.key == 0 {
		err = b.insert(ctx, doc, &next)
	} else {
		err = b.update(ctx, doc, old, &next)
	}
	if err != nil {
		return false, err
	}
	b.live += alive(&next) - alive(old)
	*old = next
	return false, nil
}

func alive(r *row) int64 {
	if r.key == 0 || r.deleted {
		return 0
	}
	return 1
}

// text decides what happens to the full text: nothing at all if the text is what it was.
func (b *batch) text(doc *ports.Document, old, next *row) {
	text := doc.Text
	if doc.Deleted {
		text = ""
	}
	next.texthash = textHash(text)
	if old.key != 0 && next.texthash == old.texthash {
		return
	}
	folded, words := searchstore.Fold(text)
	next.words = int64(words)
	if old.words > 0 || words > 0 {
		b.texts = append(b.texts, textChange{key: old.key, remove: old.words > 0, add: folded})
	}
}

func textHash(text string) int64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, text)
	return int64(h.Sum64())
}

func (b *batch) insert(ctx context.Context, doc *ports.Document, next *row) error {
	b.args = append(b.args[:0], doc.ID, next.version, next.deleted, next.texthash, next.words)
	for i := range b.ix.fields {
		b.args = append(b.args, b.ix.stored(doc, i))
	}
	result, err := b.exec(ctx, statementKey{kind: insertStatement}, append(b.args, storedJSON(doc))...)
	if err != nil {
		return err
	}
	if next.key, err = result.LastInsertId(); err != nil {
		return err
	}
	// The change noted for this document does not know its key yet.
	if n := len(b.texts); n > 0 && b.texts[n-1].key == 0 {
		b.texts[n-1].key = next.key
	}
	next.accessed = make([]any, len(b.accessed))
	for j, i := range b.accessed {
		next.accessed[j] = b.ix.stored(doc, i)
	}
	return nil
}

func (b *batch) update(ctx context.Context, doc *ports.Document, old, next *row) error {
	next.accessed = make([]any, len(b.accessed))
	key := statementKey{kind: updateStatement, covered: b.covered}
	if old.deleted != next.deleted {
		key.kind = turnStatement
	}
	for j, i := range b.accessed {
		next.accessed[j] = b.ix.stored(doc, i)
		if next.accessed[j] != old.accessed[j] {
			key.changed |= 1 << i
		}
	}
	b.args = append(b.args[:0], next.version, next.texthash, next.words)
	for i := range b.ix.fields {
		if key.writes(i) {
			b.args = append(b.args, b.ix.stored(doc, i))
		}
	}
	_, err := b.exec(ctx, key, append(b.args, storedJSON(doc), next.key)...)
	return err
}

// changeTexts brings the full text up to date. It goes by ascending key: for a lower key after a higher one FTS5 closes
// the segment it is building and starts another.
func (b *batch) changeTexts(ctx context.Context) error {
	slices.SortStableFunc(b.texts, func(x, y textChange) int { return cmp.Compare(x.key, y.key) })
	for _, t := range b.texts {
		if t.remove {
			if _, err := b.exec(ctx, statementKey{kind: forgetStatement}, t.key); err != nil {
				return err
			}
		}
		if t.add != "" {
			if _, err := b.exec(ctx, statementKey{kind: learnStatement}, t.key, t.add); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *batch) exec(ctx context.Context, key statementKey, args ...any) (sql.Result, error) {
	statement, err := b.statement(ctx, key)
	if err != nil {
		return nil, err
	}
	return statement.ExecContext(ctx, args...)
}
