package gateway

import (
	"encoding/binary"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
)

const (
	headerKey      = "Idempotency-Key"
	headerReplayed = "Idempotency-Replayed"

	commandIDBytesMax = 128

	waitDefault = 10 * time.Second
	waitMax     = 30 * time.Second
)

// checkCommandID judges a command id: it travels in headers and paths.
func checkCommandID(id string) *domain.Fault {
	var f domain.Fault
	switch {
	case id == "":
		f = domain.Faultf("", "id-empty", "the command id is empty; leave it out to have one made")
	case len(id) > commandIDBytesMax:
		f = domain.Faultf("", "id-too-long", "the command id has %d bytes, at most %d are allowed", len(id), commandIDBytesMax)
	case id[0] == ' ' || id[len(id)-1] == ' ':
		f = domain.Faultf("", "id-not-printable", "the command id begins or ends with a space, which a header would lose")
	default:
		for i := range len(id) {
			if id[i] < ' ' || id[i] > '~' {
				f = domain.Faultf("", "id-not-printable", "the command id has the byte 0x%02x at %d; printable ASCII alone is allowed", id[i], i)
				return &f
			}
		}
		return nil
	}
	return &f
}

// commandID takes the id from the header, or makes one.
func (g *Gateway) commandID(h http.Header) (string, *problem) {
	values := h.Values(headerKey)
	switch len(values) {
	case 0:
		id, err := g.newCommandID()
		if err != nil {
			return "", problemf(codeInternal, "no command id could be made")
		}
		return id, nil
	case 1:
		if f := checkCommandID(values[0]); f != nil {
			return "", faulty(codeInvalidIdempotencyKey, *f)
		}
		return values[0], nil
	}
	return "", problemf(codeInvalidIdempotencyKey, "the header %s stands %d times in the request, once is allowed", headerKey, len(values))
}

// newCommandID makes a UUIDv7 (RFC 9562 section 5.7): it carries its time, by
// which the processor refuses ids that are older than its memory.
func (g *Gateway) newCommandID() (string, error) {
	var id uuid.UUID
	if _, err := io.ReadFull(g.random, id[6:]); err != nil {
		return "", fmt.Errorf("making a command id: %w", err)
	}
	var millis [8]byte
	binary.BigEndian.PutUint64(millis[:], uint64(g.clock.Now().UnixMilli()))
	copy(id[:6], millis[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id.String(), nil
}

// expectation is what a request expects of the aggregate's version.
type expectation struct {
	kind    platform.Expectation
	version int64 // for Exact; else 0
}

// expected reads If-Match and If-None-Match.
func expected(h http.Header) (expectation, *problem) {
	match, none := h.Values("If-Match"), h.Values("If-None-Match")
	switch {
	case len(match) == 0 && len(none) == 0:
		return expectation{kind: platform.ExpectationAny}, nil
	case len(match) > 0 && len(none) > 0:
		return expectation{}, problemf(codeInvalidPrecondition, "If-Match and If-None-Match contradict each other; send one of them")
	case len(match)+len(none) > 1:
		return expectation{}, problemf(codeInvalidPrecondition, "the precondition stands %d times in the request, once is allowed", len(match)+len(none))
	case len(none) == 1:
		if none[0] != "*" {
			return expectation{}, problemf(codeInvalidPrecondition, "If-None-Match of a command can only be *, which means that the aggregate must not exist")
		}
		return expectation{kind: platform.ExpectationAbsent}, nil
	case match[0] == "*":
		return expectation{kind: platform.ExpectationExists}, nil
	}
	version, ok := parseETag(match[0])
	if !ok {
		return expectation{}, problemf(codeInvalidPrecondition, `If-Match must be * or one version in quotes such as "7", not %q`, clip(match[0]))
	}
	return expectation{kind: platform.ExpectationExact, version: version}, nil
}

// parseETag reads a strong entity tag that holds a version.
func parseETag(s string) (int64, bool) {
	if len(s) < 3 || s[0] != '"' || s[len(s)-1] != '"' {
		return 0, false
	}
	digits := s[1 : len(s)-1]
	v, err := strconv.ParseInt(digits, 10, 64)
	return v, err == nil && v >= 0 && strconv.FormatInt(v, 10) == digits
}

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// preferredWait reads "Prefer: wait=N" (RFC 7240). What it does not understand
// it ignores, as that RFC demands.
func preferredWait(h http.Header) (wait time.Duration, applied bool) {
	for _, line := range h.Values("Prefer") {
		for _, preference := range strings.Split(line, ",") {
			token, _, _ := strings.Cut(preference, ";")
			name, value, ok := strings.Cut(strings.TrimSpace(token), "=")
			if !ok || !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
			if err == nil {
				return min(time.Duration(n)*time.Second, waitMax), true
			}
		}
	}
	return waitDefault, false
}

// mediaType demands one of the media types for the body.
func mediaType(h http.Header, allowed ...string) *problem {
	content := h.Get("Content-Type")
	refuse := problemf(codeUnsupportedMediaType, "the body must be %s in UTF-8, not %q", strings.Join(allowed, " or "), clip(content))
	got, params, err := mime.ParseMediaType(content)
	if err != nil {
		return refuse
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return refuse
	}
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return problemf(codeUnsupportedMediaType, "the body comes encoded as %q; send it plain", clip(encoding))
	}
	for _, a := range allowed {
		if got == a {
			return nil
		}
	}
	return refuse
}

// traceparent is the request's W3C trace context, nil if it has none that is
// valid (version 00).
func traceparent(h http.Header) *string {
	v := h.Get("Traceparent")
	if len(v) != 55 || v[:3] != "00-" || v[35] != '-' || v[52] != '-' {
		return nil
	}
	if !lowerHex(v[3:35]) || !lowerHex(v[36:52]) || !lowerHex(v[53:]) {
		return nil
	}
	return &v
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

// clip keeps what a client sent short enough to be quoted back.
func clip(s string) string {
	const bytesMax = 100
	if len(s) <= bytesMax {
		return s
	}
	return strings.ToValidUTF8(s[:bytesMax], "") + "…"
}
