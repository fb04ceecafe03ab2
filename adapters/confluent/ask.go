package confluent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/nexusblueprint/nexus/ports"
)

const (
	patience       = 10 * time.Second // of one request; a large schema takes a registry seconds
	answerBytesMax = 16 << 20
	tries          = 4
	firstPause     = 100 * time.Millisecond // before the second try; doubled before each further one
)

// ask makes a request, again while the registry gives no answer that counts, and puts an error into words. All requests
// may be repeated. A registry that never answered yet gets the patience of one request for all tries: it is silent, not slow.
func (r *Registry) ask(ctx context.Context, act string, request func(context.Context) error) error {
	bounded, answered := ctx, r.answered.Load()
	if !answered {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, r.patience)
		defer cancel()
	}
	pause := r.firstPause
	for try := 1; ; try++ {
		err := r.try(bounded, request)
		if err == nil || errors.As(err, new(*sr.ResponseError)) {
			r.answered.Store(true)
		}
		waited := r.patience.String()
		if answered {
			waited = fmt.Sprintf("%d tries of %v", try, r.patience)
		}
		if !passes(err) || bounded.Err() != nil || try == tries {
			return r.explain(ctx, act, err, waited)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-bounded.Done():
			timer.Stop()
			return r.explain(ctx, act, err, waited)
		}
		pause *= 2
	}
}

func (r *Registry) try(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	return request(ctx)
}

// passes says whether an error may be gone at the next try.
func passes(err error) bool {
	var answer *sr.ResponseError
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil, errors.As(err, &tooLarge):
		return false
	case errors.As(err, &answer):
		return answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusRequestTimeout
	}
	return true
}

// explain turns an error of the client into one of the port. The client's own texts hold URLs, which config has found
// free of secrets, and never headers.
func (r *Registry) explain(ctx context.Context, act string, err error, waited string) error {
	var answer *sr.ResponseError
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: asking %s: %w", act, r.place, ctx.Err())
	case errors.As(err, &tooLarge):
		return fmt.Errorf("%s: the answer of %s is larger than %d bytes", act, r.place, tooLarge.Limit)
	case passes(err):
		return fmt.Errorf("%s: %w: %s: %s", act, ports.ErrRegistryUnavailable, r.place, unanswered(err, waited))
	case !errors.As(err, &answer):
		return fmt.Errorf("%s: %w", act, err)
	}
	said := short(answer.Error())
	switch {
	case sr.IsNotFoundError(answer.ErrorCode):
		return fmt.Errorf("%s: %w: %s", act, ports.ErrUnknownSchema, said)
	case answer.StatusCode == http.StatusNotFound: // nobody's word about a schema: a proxy's, or of another API
		return fmt.Errorf("%s: there is no schema registry at %s (HTTP 404): does the URL have the path of its API, such as /apis/ccompat/v7 for Apicurio?", act, r.place)
	case answer.StatusCode == http.StatusConflict:
		return fmt.Errorf("%s: %w: %s", act, ports.ErrIncompatible, said)
	case answer.StatusCode == http.StatusUnprocessableEntity && invalidSchema(answer.ErrorCode), answer.StatusCode == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("%s: %w: %s", act, ports.ErrInvalidSchema, said)
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%s: %s does not accept the credentials (HTTP %d), or they lack the right: %s", act, r.place, answer.StatusCode, said)
	}
	return fmt.Errorf("%s: %s refused (HTTP %d): %s", act, r.place, answer.StatusCode, said)
}

// unanswered says why there is no answer, without the URL that the client repeats, and what to do.
func unanswered(err error, waited string) string {
	var request *url.Error
	var dial *net.OpError
	var answer *sr.ResponseError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer in %s: look at its log, and whether this is its address", waited)
	case errors.As(err, &dial) && dial.Op == "dial":
		return dial.Error() + ": start it, or correct the address"
	case errors.As(err, &answer):
		return fmt.Sprintf("HTTP %d: %s", answer.StatusCode, short(answer.Error()))
	case errors.As(err, &request):
		err = request.Err
	}
	return short(err.Error())
}

// invalidSchema says whether a code of status 422 is about the schema; other codes are about the subject or the mode.
func invalidSchema(code int) bool {
	return code == sr.ErrInvalidSchema.Code || code == codeTooLarge || code == 0
}

// codeTooLarge is the embedded registry's: the schema does not fit into a record of its broker.
const codeTooLarge = 42209

const saidBytesMax = 4 << 10

// short bounds what a server says, which may be a page of HTML.
func short(text string) string {
	if len(text) > saidBytesMax {
		return text[:saidBytesMax] + "…"
	}
	return text
}
