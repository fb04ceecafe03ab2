package processors

import (
	"crypto/sha256"
	"fmt"
	"runtime/debug"

	"github.com/google/uuid"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/bodyhash"
	"github.com/nexusblueprint/nexus/internal/eventid"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

// Codes of outcomes that the platform gives. They are contracts.
const (
	CodeVersionConflict = "version-conflict"
	CodeIDReused        = "command-id-reused"
	CodeStale           = "stale-command"
	CodeInvalid         = "invalid-command"
	CodeStateTooLarge   = "state-too-large"
	CodeDeadLetter      = "dead-letter"
)

// staleAfterMillis is how old a UUIDv7 may be at its log time when it is not
// remembered: less than the ten minutes that every id is remembered for, so
// that no repetition of a forgotten command passes.
const staleAfterMillis = 9 * 60 * 1000

// input is one record of a commands topic, with the aggregate's table record.
type input struct {
	source
	at    avro.Millis // log time
	table []byte      // nil: the aggregate does not exist
}

// effects are what one command changes, all in one transaction.
type effects struct {
	events  []emitted
	table   []byte            // nil: unchanged
	outcome *platform.Outcome // nil: nobody waits
	dead    *failure          // set: the command is set aside
	retry   error             // set: nothing can be decided now, through no fault of the record
}

type emitted struct{ meta, value []byte }

// decider is the pure part of an aggregate processor: one command in, effects
// out, nothing touched. It is safe for concurrent use.
type decider struct {
	aggregate  topology.Aggregate
	framer     Framer
	checkState func(key string, valueBytes int) error
	remembered func(partition int32, commandID string) (*platform.Outcome, error)
	history    History
}

// step is a command under way.
type step struct {
	*decider
	in       input
	meta     platform.CommandMetadata
	command  domain.Command
	hash     platform.BodyHash
	envelope envelope
	state    domain.Record
	version  int64 // of the aggregate before the command
	chunk    *chunk
}

// decide never fails: what cannot be handled becomes a dead letter.
func (d *decider) decide(in input) (eff effects) {
	s := &step{decider: d, in: in, chunk: chunks.Get().(*chunk)}
	defer chunks.Put(s.chunk)
	defer func() {
		if p := recover(); p != nil {
			eff = s.die(failure{reason: ReasonPanicked, detail: fmt.Sprint(p), stack: string(debug.Stack())})
		}
	}()
	if f := s.read(); f != nil {
		return s.end(*f)
	}
	first, err := s.firstOutcome()
	if err != nil {
		return s.end(failure{reason: ReasonFailed, detail: err.Error(), cause: err})
	}
	if first != nil {
		return s.repeat(first)
	}
	eff, err = s.run()
	if err != nil {
		return s.end(failure{reason: ReasonFailed, detail: err.Error(), cause: err})
	}
	return eff
}

// end sets the command aside, unless the registry could not be asked, or the log
// has not been read so far yet: then the record is as good as any, and is tried
// again later.
func (s *step) end(f failure) effects {
	if f.passes() {
		return effects{retry: f.cause}
	}
	return s.die(f)
}

// read decodes metadata, command and state.
func (s *step) read() *failure {
	undecodable := func(what string, err error) *failure {
		return &failure{reason: ReasonUndecodable, detail: fmt.Sprintf("%s: %v", what, err), cause: err}
	}
	meta := s.in.header(serde.MetaHeader)
	if meta == nil {
		return &failure{reason: ReasonUndecodable, detail: "the record has no header " + serde.MetaHeader}
	}
	if err := s.framer.Decode(meta, &s.meta); err != nil {
		return undecodable("header "+serde.MetaHeader, err)
	}
	rec, err := s.framer.DecodeNew(s.in.value)
	if err != nil {
		return undecodable("command", err)
	}
	if !s.aggregate.Takes(rec.AvroName()) {
		return &failure{reason: ReasonUndecodable, detail: fmt.Sprintf("aggregate %s does not take %s", s.aggregate.Name(), rec.AvroName())}
	}
	s.command = rec
	if id := s.aggregate.ID(rec); id != s.in.key {
		return &failure{reason: ReasonWrongKey, detail: fmt.Sprintf("the command is for %q, the record's key is %q", id, s.in.key)}
	}
	s.hash = bodyhash.Sum(rec.AvroName(), s.meta.Expectation, s.meta.ExpectedVersion, s.in.value[serde.FrameBytes:])
	s.state = s.aggregate.NewState()
	s.envelope.Fold = int32(s.aggregate.Fold())
	if s.in.table == nil {
		return nil
	}
	if err := s.framer.Decode(s.in.table, s.table()); err != nil {
		return undecodable("table record of "+s.in.key, err)
	}
	s.version = s.envelope.Version
	if int(s.envelope.Fold) != s.aggregate.Fold() {
		if err := s.refold(); err != nil {
			return &failure{reason: ReasonFailed, detail: err.Error(), cause: err}
		}
	}
	return nil
}

// table is the aggregate's table record.
func (s *step) table() *avro.Joined {
	return &avro.Joined{Name: s.aggregate.Table, Head: &s.envelope, Tail: s.state}
}

// firstOutcome is the outcome of an earlier command with the same id, nil if
// none is remembered.
func (s *step) firstOutcome() (*platform.Outcome, error) {
	recent, err := s.envelope.find(s.meta.CommandID)
	if err != nil {
		return nil, fmt.Errorf("reading the recent commands of %s: %w", s.in.key, err)
	}
	if recent != nil {
		return s.recall(recent), nil
	}
	out, err := s.remembered(s.in.partition, s.meta.CommandID)
	if err != nil {
		return nil, fmt.Errorf("reading the command memory: %w", err)
	}
	return out, nil
}

// recall rebuilds the outcome of a command from the aggregate's record.
func (s *step) recall(r *platform.Remembered) *platform.Outcome {
	// An import knows commands from their events alone, which hold no more of them
	// than the id: whatever comes under it is taken for the repetition.
	if r.CommandType == "" {
		r.CommandType, r.BodyHash = s.command.AvroName(), s.hash
	}
	out := &platform.Outcome{
		CommandID: r.CommandID, CommandType: r.CommandType,
		AggregateType: s.aggregate.Name(), AggregateID: s.in.key,
		Kind: r.Kind, Code: r.Code, Detail: r.Detail, Version: r.Version, BodyHash: r.BodyHash, At: s.in.at,
	}
	before := r.Version - int64(len(r.EventTypes))
	for i, name := range r.EventTypes {
		out.Events = append(out.Events, platform.OutcomeEvent{
			ID: eventid.Of(out.AggregateType, out.AggregateID, out.CommandID, i), Type: name, Version: before + int64(i) + 1,
		})
	}
	return out
}

// repeat answers a command whose id is remembered: the first outcome stands.
func (s *step) repeat(first *platform.Outcome) effects {
	if first.BodyHash != s.hash || first.AggregateID != s.in.key {
		out := s.outcome(platform.OutcomeKindRefused)
		out.Code = CodeIDReused
		out.Detail = fmt.Sprintf("command id %s was used for another command; a repetition must be the same in type, body and expected version", s.meta.CommandID)
		out.Repeated = true
		return effects{outcome: out}
	}
	again := *first
	again.Repeated = true
	return effects{outcome: &again}
}

// run judges and decides a command that is new.
func (s *step) run() (effects, error) {
	if no := s.refusal(); no != nil {
		return s.settle(no, nil)
	}
	events, rejection := s.aggregate.Decide(s.state, s.command)
	if rejection != nil {
		out := s.outcome(platform.OutcomeKindRejected)
		out.Code, out.Detail = rejection.Code, rejection.Detail
		return s.settle(out, nil)
	}
	return s.accept(events)
}

// refusal is the platform's "no", nil if there is none.
func (s *step) refusal() *platform.Outcome {
	refuse := func(code, format string, args ...any) *platform.Outcome {
		out := s.outcome(platform.OutcomeKindRefused)
		out.Code, out.Detail = code, fmt.Sprintf(format, args...)
		return out
	}
	if minted, ok := mintedAt(s.meta.CommandID); ok && int64(s.in.at)-minted > staleAfterMillis {
		return refuse(CodeStale, "command id %s was minted %d s before it was logged and is not remembered: it may have been handled already; read the aggregate and, if it was not, send the command with a new id",
			s.meta.CommandID, (int64(s.in.at)-minted)/1000)
	}
	version := s.version
	switch want := s.meta.ExpectedVersion; s.meta.Expectation {
	case platform.ExpectationExact:
		if version != want {
			return refuse(CodeVersionConflict, "%s %s stands at version %d, the command expects %d", s.aggregate.Name(), s.in.key, version, want)
		}
	case platform.ExpectationExists:
		if version == 0 {
			return refuse(CodeVersionConflict, "%s %s does not exist, the command expects that it does", s.aggregate.Name(), s.in.key)
		}
	case platform.ExpectationAbsent:
		if version != 0 {
			return refuse(CodeVersionConflict, "%s %s exists at version %d, the command expects that it does not", s.aggregate.Name(), s.in.key, version)
		}
	}
	if faults := s.aggregate.Validate(s.command); len(faults) > 0 {
		out := refuse(CodeInvalid, "the command is invalid in itself: %s", faults[0].Detail)
		for _, f := range faults {
			out.Faults = append(out.Faults, platform.OutcomeFault(f))
		}
		return out
	}
	return nil
}

// accept appends the events and folds them.
func (s *step) accept(events []domain.Event) (effects, error) {
	env := &s.envelope
	out := s.outcome(platform.OutcomeKindAccepted)
	eff := effects{}
	for i, e := range events {
		at := max(s.in.at, env.At)
		meta := platform.Metadata{
			EventID: eventid.Of(s.aggregate.Name(), s.in.key, s.meta.CommandID, i), AggregateType: s.aggregate.Name(), AggregateID: s.in.key,
			Version: env.Version + 1, CommandID: s.meta.CommandID, CorrelationID: s.meta.CorrelationID, CausationID: s.meta.CommandID,
			Actor: s.meta.Actor, Tenant: s.meta.Tenant, At: at, Traceparent: s.meta.Traceparent, PreviousHash: env.Hash,
		}
		value, err := s.chunk.frame(s.framer, e)
		if err != nil {
			return effects{}, fmt.Errorf("publishing %s: %w", e.AvroName(), err)
		}
		header, err := s.chunk.frame(s.framer, &meta)
		if err != nil {
			return effects{}, fmt.Errorf("publishing metadata of %s: %w", e.AvroName(), err)
		}
		env.Version, env.At, env.Hash = meta.Version, at, chain(header[serde.FrameBytes:], value[serde.FrameBytes:])
		env.EventsSinceSnapshot++
		env.BytesSinceSnapshot += int64(len(value) - serde.FrameBytes)
		s.aggregate.Evolve(s.state, e)
		eff.events = append(eff.events, emitted{meta: header, value: value})
		out.Events = append(out.Events, platform.OutcomeEvent{ID: meta.EventID, Type: e.AvroName(), Version: meta.Version})
	}
	out.Version = env.Version
	return s.settle(out, eff.events)
}

// chain is the hash of an event: SHA-256 over its metadata and payload without
// framing, because schema ids belong to one registry.
func chain(meta, payload []byte) platform.Sha256 {
	h := sha256.New()
	h.Write(meta)
	h.Write(payload)
	var sum platform.Sha256
	h.Sum(sum[:0])
	return sum
}

// settle remembers the outcome in the aggregate's record, if the aggregate
// exists, and encodes that record.
func (s *step) settle(out *platform.Outcome, events []emitted) (effects, error) {
	env := &s.envelope
	if env.Version == 0 {
		return effects{outcome: out}, nil
	}
	r := platform.Remembered{
		CommandID: out.CommandID, CommandType: out.CommandType, BodyHash: out.BodyHash,
		Kind: out.Kind, Code: out.Code, Detail: out.Detail, Version: out.Version,
		EventTypes: make([]string, 0, len(out.Events)),
	}
	for _, e := range out.Events {
		r.EventTypes = append(r.EventTypes, e.Type)
	}
	env.remember(&r)
	table, err := s.framer.Append(make([]byte, 0, len(s.in.table)+256), s.table())
	if err != nil {
		return effects{}, fmt.Errorf("encoding the table record: %w", err)
	}
	if err := s.checkState(s.in.key, len(table)); err != nil {
		no := s.outcome(platform.OutcomeKindRefused)
		no.Code = CodeStateTooLarge
		no.Detail = fmt.Sprintf("the state of %s %s would grow too large (%v): split the aggregate", s.aggregate.Name(), s.in.key, err)
		return effects{outcome: no}, nil
	}
	return effects{events: events, table: table, outcome: out}, nil
}

// outcome is a blank outcome of the command at hand.
func (s *step) outcome(kind platform.OutcomeKind) *platform.Outcome {
	out := &platform.Outcome{
		CommandID: s.meta.CommandID, AggregateType: s.aggregate.Name(), AggregateID: s.in.key,
		Kind: kind, Version: s.version, BodyHash: s.hash, At: s.in.at,
	}
	if s.command != nil {
		out.CommandType = s.command.AvroName()
	}
	return out
}

// die sets the command aside. The waiting client, if the record names one, gets
// a dead outcome that hides the cause.
func (s *step) die(f failure) effects {
	eff := effects{dead: &f}
	if s.meta.CommandID != "" {
		eff.outcome = s.outcome(platform.OutcomeKindDead)
		eff.outcome.Code = CodeDeadLetter
		eff.outcome.Detail = "the command could not be handled (" + f.reason + ") and was set aside among the dead letters; nothing was changed"
	}
	return eff
}

// mintedAt is the time in a UUIDv7 (RFC 9562 section 5.7) in milliseconds.
// Ids of another form carry none.
func mintedAt(commandID string) (millis int64, ok bool) {
	if len(commandID) != 36 || commandID[14] != '7' {
		return 0, false
	}
	id, err := uuid.Parse(commandID)
	if err != nil || id.Version() != 7 {
		return 0, false
	}
	for _, b := range id[:6] {
		millis = millis<<8 | int64(b)
	}
	return millis, true
}
