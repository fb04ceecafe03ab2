package domain

// Record is what the generator makes of an Avro record schema: commands,
// events, states and documents are all records. Its methods have pointer
// receivers; a record is not safe for concurrent use.
type Record interface {
	// AvroName is the schema's full name, such as "shop.order.OrderPlaced".
	AvroName() string
	// AppendAvro appends the record's Avro binary encoding to dst.
	AppendAvro(dst []byte) []byte
	// DecodeAvro replaces the record by the one that src encodes.
	// It reads all of src and fails on anything left over.
	DecodeAvro(src []byte) error
}

// Command asks for a change of one aggregate. Its name is imperative.
type Command interface{ Record }

// Event says what happened to one aggregate. Its name is in the past tense,
// and it is never changed after it was recorded.
type Event interface{ Record }

// pointer is the constraint that ties a generated struct to its methods.
type pointer[T any] interface {
	*T
	Record
}

// Version counts the events of one aggregate, contiguous from 1.
// 0 means that the aggregate does not exist.
type Version int64
