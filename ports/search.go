package ports

import "context"

// Bounds that every search store keeps, so that what one of them accepts no other refuses.
const (
	SearchIDBytesMax      = 512      // Document.ID
	SearchJSONBytesMax    = 32 << 20 // Document.JSON, Document.Text: four times the largest record of a table, which is less wordy
	SearchKeywordBytesMax = 32_766   // a KindKeyword value
	SearchFieldsMax       = 64       // IndexSpec.Fields
	SearchLimitMax        = 1_000    // Query.Limit
	SearchFiltersMax      = 32       // Query.Filters
	SearchSortMax         = 8        // Query.Sort
	SearchTextBytesMax    = 1_024    // Query.Text
)

// Kind is the type of a field's values. What is none of these (objects, arrays) lives in the document's JSON alone.
type Kind string

// The kinds, with the Go type of their values. A value may also be nil: the document has none.
const (
	KindKeyword   Kind = "keyword"   // string, valid UTF-8, compared byte by byte
	KindLong      Kind = "long"      // int64
	KindMoney     Kind = "money"     // int64, thousandths
	KindTimestamp Kind = "timestamp" // int64, milliseconds since 1970-01-01 UTC
	KindDouble    Kind = "double"    // float64, neither NaN nor infinite
	KindBool      Kind = "bool"      // bool; false sorts before true
)

// Field is something documents can be filtered and sorted by.
type Field struct {
	Name string // an Avro name: [A-Za-z_][A-Za-z0-9_]*
	Kind Kind
}

// IndexSpec declares an index: one version of one read model.
type IndexSpec struct {
	Name   string  // read model and version, like "products.v1": lower-case letters, digits, '-', '.', '_'; at most 100 bytes
	Fields []Field // in the order of Document.Values
}

// Document is one row of a read model.
type Document struct {
	ID      string // exact and case-sensitive: 1 to SearchIDBytesMax bytes of UTF-8, no NUL
	Version uint64 // given by the writer, 1 to 2^63-1; it only ever rises
	Deleted bool   // a versioned delete: JSON, Values and Text are ignored
	JSON    []byte // 1 to SearchJSONBytesMax bytes of UTF-8, returned as they came, byte for byte
	Values  []any  // written: one per Field, typed by its Kind. Read: nil
	Text    string // written: what full text search looks into, at most SearchJSONBytesMax bytes. Read: ""
}

// ItemResult says what became of one document of a bulk write. The zero value means: written.
type ItemResult struct {
	Err   error // ErrRejected: never try again; any other: not written, try again
	Stale bool  // the store has this version or a newer one; nothing was changed, and nothing is wrong
}

// SearchWriter is what the sink needs of a search store. It is safe for concurrent use.
type SearchWriter interface {
	// EnsureIndex makes sure that the index exists with exactly these fields. empty means that it holds nothing at
	// all, not even a delete: it is new, was lost, or had other fields and was emptied. The caller then has to write
	// every document again; it is told so at every call until the first Bulk has been applied, so whoever remembers
	// how far he has read goes back to the start durably before that first Bulk.
	// Errors: ErrBadIndex.
	EnsureIndex(ctx context.Context, spec IndexSpec) (empty bool, err error)

	// Bulk applies the documents, in their order; results[i] belongs to docs[i]. A document whose version is not
	// above the stored one (a delete counts) changes nothing and is stale, so writing a batch again is harmless.
	// With an error nothing may be assumed of any document: send the batch again.
	// Errors: ErrNoIndex; others may pass.
	Bulk(ctx context.Context, index string, docs []Document) (results []ItemResult, err error)

	// Refresh returns when every search that starts from now on sees all that was written by earlier calls of Bulk.
	// Errors: ErrNoIndex; others may pass.
	Refresh(ctx context.Context, index string) error
}

// SearchReader is what the gateway needs of a search store. It is safe for concurrent use and with a SearchWriter.
type SearchReader interface {
	// Get returns the document as last refreshed or newer; ok is false if there is none or it was deleted.
	// Errors: ErrNoIndex.
	Get(ctx context.Context, index, id string) (doc Document, ok bool, err error)

	// Search returns one page of the documents that match.
	// Errors: ErrNoIndex, ErrBadQuery, ErrBadCursor.
	Search(ctx context.Context, index string, q Query) (Page, error)

	// Count returns the number of documents, deleted ones not counted, at a cost that does not grow with it.
	// Errors: ErrNoIndex.
	Count(ctx context.Context, index string) (int64, error)
}

// SearchStore is a whole search store.
type SearchStore interface {
	SearchWriter
	SearchReader
}

// Op compares a field with a value.
type Op string

// The comparisons. A document without a value (nil) matches none of them.
const (
	OpEq  Op = "eq"
	OpGt  Op = "gt"
	OpGte Op = "gte"
	OpLt  Op = "lt"
	OpLte Op = "lte"
)

// Filter keeps the documents whose field compares so with the value.
type Filter struct {
	Field string
	Op    Op
	Value any // typed by the field's Kind; not nil
}

// Sort orders by a field; documents without a value come last in both directions.
type Sort struct {
	Field string
	Desc  bool
}

// Query asks for documents that pass every filter and hold every word of Text.
//
// A word is a run of letters and digits, compared without regard to case and accents; of the last word the beginning is
// enough. Everything else in Text separates words and has no meaning; a Text without a word restricts nothing.
//
// The order is that of Sort, then of the id. Without Sort it is the id's; with words in Text but without Sort, the
// more relevant first: where the words make up more of the text. Relevance depends on the document and the query alone.
type Query struct {
	Filters []Filter
	Sort    []Sort // each field once
	Text    string
	Limit   int    // 1 to SearchLimitMax
	Cursor  string // "" for the first page, then Page.Next; everything but Limit has to stay the same
}

// Page is one page of a result. Following Next to its end returns every matching document once: one that changes
// meanwhile may be missed or met twice, the others not.
type Page struct {
	Documents []Document // ID, Version and JSON are set
	Total     int64      // how many match on all pages together, exactly
	Next      string     // cursor of the next page, safe in a URL; "" if this is the last
}
