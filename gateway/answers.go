package gateway

import (
	"net/http"
	"strconv"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

// outcomeCode is the code that an outcome is answered with; refused is false
// for an acceptance, which has none.
func outcomeCode(out *platform.Outcome) (c code, refused bool) {
	switch out.Kind {
	case platform.OutcomeKindAccepted:
		return codeCount, false
	case platform.OutcomeKindRejected:
		return codeRejected, true
	case platform.OutcomeKindRefused:
		if c, known := outcomeCodes[out.Code]; known {
			return c, true
		}
		return codeRejected, true // by a newer processor, for a reason not known here
	}
	return codeDeadLetter, true
}

// outcomeProblem says how an outcome that is not an acceptance is answered, nil
// for an acceptance.
func outcomeProblem(out *platform.Outcome) *problem {
	c, refused := outcomeCode(out)
	if !refused {
		return nil
	}
	p := &problem{code: c, detail: out.Detail, commandID: out.CommandID, aggregateID: out.AggregateID, version: out.Version}
	if c == codeRejected {
		p.name = out.Code
	}
	for _, f := range out.Faults {
		p.faults = append(p.faults, domain.Fault(f))
	}
	return p
}

// acceptedStatus is 201 where events were made, else 200.
func acceptedStatus(out *platform.Outcome) int {
	if len(out.Events) == 0 {
		return http.StatusOK
	}
	return http.StatusCreated
}

// appendAccepted appends the members of the answer to an accepted command,
// without braces. Types are short names.
func appendAccepted(dst []byte, out *platform.Outcome, position string) []byte {
	dst = appendText(append(dst, `"commandId":`...), out.CommandID)
	dst = appendText(append(dst, `,"type":`...), topology.ShortName(out.CommandType))
	dst = appendText(append(dst, `,"aggregateType":`...), out.AggregateType)
	dst = appendText(append(dst, `,"aggregateId":`...), out.AggregateID)
	dst = strconv.AppendInt(append(dst, `,"version":`...), out.Version, 10)
	dst = append(dst, `,"events":[`...)
	for i := range out.Events {
		e := &out.Events[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, `{"id":"`...), e.ID.String()...)
		dst = appendText(append(dst, `","type":`...), topology.ShortName(e.Type))
		dst = strconv.AppendInt(append(dst, `,"version":`...), e.Version, 10)
		dst = append(dst, '}')
	}
	return appendText(append(dst, `],"position":`...), position)
}

// appendPending appends the members of the answer to a command that is logged
// and has no outcome yet.
func appendPending(dst []byte, t *ticket) []byte {
	dst = appendText(append(dst, `"commandId":`...), t.id)
	dst = appendText(append(dst, `,"type":`...), t.kind.short)
	dst = appendText(append(dst, `,"aggregateType":`...), t.kind.aggregate.Name())
	return appendText(append(dst, `,"aggregateId":`...), t.aggregateID)
}

func appendStatus(dst []byte, status int) []byte {
	return strconv.AppendInt(append(dst, `,"status":`...), int64(status), 10)
}
