package elasticsearch

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/nexusblueprint/nexus/ports"
)

// Errors of Open and of a Store.
var (
	// ErrConfig says that the configuration breaks its rules. The text names them all.
	ErrConfig = errors.New("bad configuration of the search store")

	// ErrUnsupported says that the server is not an Elasticsearch of a version that this adapter was made for.
	ErrUnsupported = errors.New("unsupported search store")

	// ErrUnavailable says that no node of the cluster answered in time, or that those that did could not serve. It may pass.
	ErrUnavailable = errors.New("search store is unavailable")

	// ErrForeign says that an index of this name is not one that Nexus made, or that another release made it in another
	// form. It is left alone.
	ErrForeign = errors.New("index is not of this program")
)

// answerError is an answer of the server that is no success.
type answerError struct {
	Status int
	Type   string // of the exception; "" if the answer was none of Elasticsearch's
	Reason string
}

func (e *answerError) Error() string {
	text := fmt.Sprintf("elasticsearch answered %d %s", e.Status, strings.TrimSpace(e.Type+": "+e.Reason))
	switch e.Status {
	case http.StatusUnauthorized:
		return text + " (check username and password, or the API key)"
	case http.StatusRequestEntityTooLarge:
		return text + " (more than http.max_content_length of the cluster)"
	case http.StatusForbidden:
		if e.Type == "security_exception" {
			return text + " (the user or API key lacks a privilege: the package's documentation lists them)"
		}
	}
	return text
}

// Is makes an answer that speaks of a busy or broken cluster an ErrUnavailable, and one about a missing index ErrNoIndex.
func (e *answerError) Is(target error) bool {
	switch target {
	case ErrUnavailable:
		return e.Status == http.StatusTooManyRequests || e.Status >= http.StatusInternalServerError
	case ports.ErrNoIndex:
		return e.missing()
	}
	return false
}

func (e *answerError) missing() bool {
	return e.Status == http.StatusNotFound && e.Type == "index_not_found_exception"
}
