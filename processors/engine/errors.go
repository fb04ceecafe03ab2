package engine

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/nexusblueprint/nexus/internal/localstore"
)

var (
	// ErrFenced ends the processor: the broker gave our transactional id, or our
	// place in the group, to somebody else. Either a second process runs under the
	// same id, or this one slept longer than the transaction timeout. Nothing of
	// the open transaction is visible. A supervisor may start the processor again
	// after a pause; doing so at once lets two twins fence each other for ever.
	ErrFenced = errors.New("fenced: another process took over this transactional id, or this one slept past its transaction timeout")

	// ErrNotHere answers a read of a partition that this instance does not hold:
	// ask the instance that does, or a view.
	ErrNotHere = errors.New("partition is not held by this instance")

	// ErrCatchingUp answers a read of a partition that is still being restored:
	// retry.
	ErrCatchingUp = errors.New("partition is still being restored")

	// ErrStoreClosed answers a read after the local store was closed.
	ErrStoreClosed = localstore.ErrClosed

	errOutsideTxn = errors.New("table written outside of a transaction: wrap visit callbacks with Engine.Visitor")
	errCallback   = errors.New("a callback failed")
)

// TooLargeError says that a record exceeds what its topic takes. From
// [Engine.CheckState] it is a question answered in time: refuse the command.
// From a processor's Run it is the end of the transaction: nothing is visible.
type TooLargeError struct {
	Topic, Key string
	Bytes      int // key and value
	LimitBytes int // 0 if only the broker knows
}

func (e *TooLargeError) Error() string {
	if e.LimitBytes == 0 {
		return fmt.Sprintf("record %q of %d bytes is larger than topic %s takes: raise its max.message.bytes or write less", e.Key, e.Bytes, e.Topic)
	}
	return fmt.Sprintf("record %q of %d bytes is larger than the %d bytes topic %s takes", e.Key, e.Bytes, e.LimitBytes, e.Topic)
}

// Unwrap lets errors.Is see the broker's name for it.
func (e *TooLargeError) Unwrap() error { return kerr.MessageTooLarge }

// LostPlaceError ends the processor before it has read a record: the group table is
// filled and the group does not know up to where its inputs are in it. Beginning at
// their start would count again what the table holds. Only an operator can say where
// to go on; a supervisor may try again, and will go on as soon as that has been said.
type LostPlaceError struct {
	Group, Table string
	Partition    int32    // the first
	Inputs       []string // topics, none with a committed offset
}

func (e *LostPlaceError) Error() string {
	return fmt.Sprintf("group %s has lost its place: %s/%d holds rows, and there is no committed offset in that partition of %v. "+
		"Kafka forgets the offsets of a group that had no members for offsets.retention.minutes, or somebody deleted them; beginning at the start would count again what the table holds. "+
		"Build a projection anew by raising its Version; set an aggregate's offsets to where it stood with Kafka's own tool, as docs/how-to/operate.md shows",
		e.Group, e.Table, e.Partition, e.Inputs)
}

// endError ends the processor: an error of goka, a callback or the local store.
// All other errors throw the group session away and build a new one.
type endError struct{ error }

func (e endError) Unwrap() error { return e.error }

// Somebody raised our epoch: a process that uses our transactional id, or the broker,
// which ended a transaction that took too long. Starting over would fence the former
// in turn, and so on for ever; see outlived.
var epochErrors = []error{kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidTxnState, kerr.InvalidProducerIDMapping}

// Or somebody took our place in the group.
var fencedErrors = append([]error{kerr.FencedInstanceID}, epochErrors...)

// What a new session would only meet again.
var poisonErrors = []error{
	kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID,
	kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed,
	kerr.ClusterAuthorizationFailed, kerr.InvalidTransactionTimeout, kerr.InvalidSessionTimeout,
}

// ending wraps err for the processor's end and returns true, or false if a new
// session may go on.
func ending(err error) (error, bool) {
	for _, ke := range fencedErrors {
		if errors.Is(err, ke) {
			return fmt.Errorf("%w: %w", ErrFenced, err), true
		}
	}
	for _, ke := range poisonErrors {
		if errors.Is(err, ke) {
			return err, true
		}
	}
	var e endError
	return err, errors.As(err, &e)
}
