package gateway

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// The codes are a contract: a line that changes here breaks a client.
func TestCodes(t *testing.T) {
	var got strings.Builder
	seen := map[string]bool{}
	for c := range codeCount {
		k := c.kind()
		fmt.Fprintf(&got, "%d %s\n", k.status, k.name)
		if !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(k.name) || seen[k.name] {
			t.Errorf("code %d: the name %q is no name of its own", c, k.name)
		}
		seen[k.name] = true
		if k.title == "" || http.StatusText(k.status) == "" || k.status < 400 {
			t.Errorf("code %s: title %q, status %d", k.name, k.title, k.status)
		}
		if again := k.status == 429 || k.status == 503; again != (k.retry > 0) {
			t.Errorf("code %s: status %d, but Retry-After %d", k.name, k.status, k.retry)
		}
	}
	const want = `400 invalid-command
400 invalid-batch-line
400 invalid-id
400 invalid-idempotency-key
400 invalid-precondition
400 invalid-parameter
403 forbidden-host
403 forbidden-origin
404 not-found
404 unknown-command
404 unknown-command-id
404 unknown-read-model
404 unknown-document
404 unknown-aggregate-type
404 unknown-aggregate
405 method-not-allowed
408 request-timeout
409 command-id-reused
409 stale-command
412 version-conflict
413 body-too-large
413 batch-too-large
415 unsupported-media-type
422 rejected
422 state-too-large
429 overloaded
500 internal
500 dead-letter
503 unavailable
503 outcome-unknown
503 behind
`
	if got.String() != want {
		t.Errorf("codes:\n%s\nwant:\n%s", got.String(), want)
	}
}
