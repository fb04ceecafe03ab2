package gateway

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/nexusblueprint/nexus/domain"
)

const problemType = "urn:nexus:problem:"

// faultsMax bounds the faults that one answer lists: enough to mend a form, too
// few to be of use to someone who sends rubbish on purpose.
const faultsMax = 20

// problem is an answer that says no, in the form of RFC 9457.
type problem struct {
	code   code
	name   string // the code's name, where the domain gave one; "" means the registry's
	detail string
	faults []domain.Fault

	// The command it is about; commandID is empty where there is none.
	commandID   string
	aggregateID string
	version     int64 // of the aggregate; negative where it is not known
}

func problemf(c code, format string, args ...any) *problem {
	return &problem{code: c, detail: fmt.Sprintf(format, args...), version: -1}
}

// faulty makes a problem of faults; the first gives the detail.
func faulty(c code, faults ...domain.Fault) *problem {
	p := &problem{code: c, faults: faults, version: -1}
	if len(faults) > 0 {
		p.detail = faults[0].Detail
	}
	return p
}

// of says which command the problem is about.
func (p *problem) of(commandID string) *problem {
	about := *p
	about.commandID = commandID
	return &about
}

func (p *problem) status() int { return p.code.kind().status }

// appendMembers appends the members of the JSON object without its braces.
func (p *problem) appendMembers(dst []byte) []byte {
	kind := p.code.kind()
	name := p.name
	if name == "" {
		name = kind.name
	}
	dst = appendText(append(dst, `"type":`...), problemType+kind.name)
	dst = appendText(append(dst, `,"title":`...), kind.title)
	dst = strconv.AppendInt(append(dst, `,"status":`...), int64(kind.status), 10)
	dst = appendText(append(dst, `,"code":`...), name)
	dst = appendText(append(dst, `,"detail":`...), p.detail)
	if len(p.faults) > 0 {
		dst = appendFaults(append(dst, `,"errors":`...), p.faults)
	}
	if p.commandID != "" {
		dst = appendText(append(dst, `,"commandId":`...), p.commandID)
	}
	if p.aggregateID != "" {
		dst = appendText(append(dst, `,"aggregateId":`...), p.aggregateID)
	}
	if p.version >= 0 {
		dst = strconv.AppendInt(append(dst, `,"version":`...), p.version, 10)
	}
	return dst
}

func appendFaults(dst []byte, faults []domain.Fault) []byte {
	dst = append(dst, '[')
	for i, f := range faults[:min(len(faults), faultsMax)] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(append(dst, `{"pointer":`...), f.Pointer)
		dst = appendText(append(dst, `,"code":`...), f.Code)
		dst = appendText(append(dst, `,"detail":`...), f.Detail)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendText appends a JSON string. Invalid UTF-8, which only a defect of ours
// could bring here, becomes U+FFFD.
func appendText(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}

// fail answers with the problem and ends the request's handlers.
func fail(c *gin.Context, p *problem) {
	if retry := p.code.kind().retry; retry > 0 {
		c.Header("Retry-After", strconv.Itoa(retry))
	}
	body := append(p.appendMembers([]byte{'{'}), '}', '\n')
	c.Data(p.status(), "application/problem+json", body)
	c.Abort()
}

// answer writes a JSON body.
func answer(c *gin.Context, status int, body []byte) {
	if status == http.StatusNotModified {
		c.Status(status)
		return
	}
	c.Data(status, "application/json", append(body, '\n'))
}
