package avro

import "fmt"

// Joined is a record whose fields are those of Head, then those of Tail: Avro
// writes a record's fields one after the other, so that a group table's record
// can be an envelope and whatever state it envelops. Whoever makes one sees to it
// that the schema called Name is exactly that.
type Joined struct {
	Name string
	Head Part
	Tail Record // its type is a [Part], too, as generated ones are
}

// Part can be read and written as a part of a record. Generated types can.
type Part interface {
	AppendAvro(dst []byte) []byte
	ReadAvro(r *Reader)
}

// AvroName implements Record.
func (j *Joined) AvroName() string { return j.Name }

// AppendAvro implements Record.
func (j *Joined) AppendAvro(dst []byte) []byte { return j.Tail.AppendAvro(j.Head.AppendAvro(dst)) }

// DecodeAvro implements Record.
func (j *Joined) DecodeAvro(src []byte) error {
	tail, ok := j.Tail.(Part)
	if !ok {
		return fmt.Errorf("%s is no generated record; run go generate", j.Tail.AvroName())
	}
	r := NewReader(src)
	j.Head.ReadAvro(&r)
	tail.ReadAvro(&r)
	return r.Close(j.Name)
}
