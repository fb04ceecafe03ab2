package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	contentType = "application/vnd.schemaregistry.v1+json"

	maxBodyBytes   = 1 << 20
	maxInFlight    = 64
	requestTimeout = 20 * time.Second
)

// endpoint answers one request with a value to encode as JSON, or raw text.
type endpoint func(*http.Request) (any, error)

type rawText string

// serve builds the API and starts the server's goroutine, which ends in Close.
func (r *Registry) serve() {
	r.handler = r.guard(r.routes())
	r.server = &http.Server{
		Handler:           r.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      requestTimeout + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ConnState:         r.trackFresh,
		ErrorLog:          slog.NewLogLogger(r.logger.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(r.served)
		if err := r.server.Serve(r.listener); !errors.Is(err, http.ErrServerClosed) {
			r.logger.Error("the schema registry stopped serving", "err", err)
		}
	}()
}

func (r *Registry) trackFresh(conn net.Conn, state http.ConnState) {
	if state == http.StateNew {
		r.fresh.Store(conn, struct{}{})
	} else {
		r.fresh.Delete(conn)
	}
}

func (r *Registry) routes() http.Handler {
	table := map[string]map[string]endpoint{
		"/{$}":                                   {"GET": constant(struct{}{})},
		"/v1/metadata/id":                        {"GET": constant(map[string]any{"scope": map[string]any{"path": []string{}, "clusters": map[string]string{"schema-registry-cluster": "nexus-embedded"}}})},
		"/v1/metadata/version":                   {"GET": constant(map[string]string{"version": "nexus-embedded", "commitId": ""})},
		"/contexts":                              {"GET": constant([]string{"."})},
		"/schemas":                               {"GET": r.getSchemas},
		"/schemas/types":                         {"GET": constant([]string{typeAvro})},
		"/schemas/ids/{id}":                      {"GET": r.getSchema},
		"/schemas/ids/{id}/schema":               {"GET": r.getSchemaText},
		"/schemas/ids/{id}/subjects":             {"GET": r.getSchemaSubjects},
		"/schemas/ids/{id}/versions":             {"GET": r.getSchemaVersions},
		"/subjects":                              {"GET": r.getSubjects},
		"/subjects/{subject}":                    {"POST": r.postLookup, "DELETE": r.deleteSubjectRoute},
		"/subjects/{subject}/versions":           {"GET": r.getVersions, "POST": r.postVersion},
		"/subjects/{subject}/versions/{version}": {"GET": r.getVersion, "DELETE": r.deleteVersionRoute},
		"/subjects/{subject}/versions/{version}/schema":        {"GET": r.getVersionText},
		"/subjects/{subject}/versions/{version}/referencedby":  {"GET": r.getReferencedBy},
		"/compatibility/subjects/{subject}/versions":           {"POST": r.postCompatibility},
		"/compatibility/subjects/{subject}/versions/{version}": {"POST": r.postCompatibility},
		"/config":           {"GET": r.getConfig, "PUT": r.putConfig, "DELETE": r.deleteConfig},
		"/config/{subject}": {"GET": r.getConfig, "PUT": r.putConfig, "DELETE": r.deleteConfig},
		"/mode":             {"GET": r.getMode, "PUT": r.putMode, "DELETE": r.deleteMode},
		"/mode/{subject}":   {"GET": r.getMode, "PUT": r.putMode, "DELETE": r.deleteMode},
	}
	mux := http.NewServeMux()
	for pattern, methods := range table {
		mux.Handle(pattern, r.resource(methods))
	}
	mux.Handle("/", r.resource(nil))
	return mux
}

func constant(v any) endpoint { return func(*http.Request) (any, error) { return v, nil } }

// resource dispatches by method; one without methods does not exist.
func (r *Registry) resource(methods map[string]endpoint) http.Handler {
	var allow []string
	for m := range methods {
		allow = append(allow, m)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		method := req.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		answer, ok := methods[method]
		switch {
		case methods == nil:
			r.fail(w, req, problem(http.StatusNotFound, "HTTP 404 Not Found"))
		case !ok:
			w.Header().Set("Allow", strings.Join(allow, ", "))
			r.fail(w, req, problem(http.StatusMethodNotAllowed, "HTTP 405 Method Not Allowed"))
		default:
			r.answer(w, req, answer)
		}
	})
}

func (r *Registry) answer(w http.ResponseWriter, req *http.Request, with endpoint) {
	v, err := with(req)
	if err != nil {
		r.fail(w, req, err)
		return
	}
	body, ok := v.(rawText)
	if !ok {
		body = rawText(encode(v))
	}
	send(w, http.StatusOK, []byte(body))
}

func (r *Registry) fail(w http.ResponseWriter, req *http.Request, err error) {
	answer := toAPI(err)
	if answer.status >= 500 {
		r.logger.Error("a schema registry request failed", "method", req.Method, "code", answer.code, "err", err)
	}
	send(w, answer.status, encode(answer.body()))
}

func send(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client went away: nobody is left to tell
}

// guard keeps out what no client of ours sends and bounds the rest.
func (r *Registry) guard(next http.Handler) http.Handler {
	loopback := isLoopback(r.listener.Addr().String())
	if !loopback {
		r.logger.Warn("the schema registry listens beyond loopback and has no authentication", "address", r.listener.Addr().String())
	}
	slots := make(chan struct{}, maxInFlight)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := checkOrigin(req, loopback); err != nil {
			r.fail(w, req, err)
			return
		}
		ctx, cancel := context.WithTimeout(req.Context(), requestTimeout)
		defer cancel()
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
			r.fail(w, req, ctx.Err())
			return
		}
		req = req.WithContext(ctx)
		req.Body = http.MaxBytesReader(w, req.Body, maxBodyBytes)
		trimSlash(req.URL)
		next.ServeHTTP(w, req)
	})
}

// checkOrigin refuses what a browser sends on behalf of a foreign page: a name
// rebound to loopback gives itself away in Host, a page in Origin, and the
// content types of forms need no permission from us (a preflight, which is
// never granted).
func checkOrigin(req *http.Request, loopback bool) error {
	if loopback && !isLoopback(req.Host) {
		return problem(http.StatusForbidden, "host %.100q is not this machine", req.Host)
	}
	if origin := req.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Host != req.Host {
			return problem(http.StatusForbidden, "origin %.100q may not use the registry", origin)
		}
	}
	if req.ContentLength == 0 || req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "application/json":
	case err == nil && strings.HasPrefix(kind, "application/vnd.schemaregistry") && strings.HasSuffix(kind, "+json"):
	default:
		return problem(http.StatusUnsupportedMediaType, "content type %.100q: send %s or application/json", req.Header.Get("Content-Type"), contentType)
	}
	return nil
}

func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback())
}

// trimSlash lets a path end in a slash, as some clients write it.
func trimSlash(u *url.URL) {
	if len(u.Path) > 1 && strings.HasSuffix(u.Path, "/") && !strings.HasSuffix(u.RawPath, "%2F") && !strings.HasSuffix(u.RawPath, "%2f") {
		u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), strings.TrimSuffix(u.RawPath, "/")
	}
}

// decodeBody reads the request's JSON into v. Attributes that are not known
// are ignored, as Confluent's registry does: clients newer than we send them.
func decodeBody(req *http.Request, v any) error {
	dec := json.NewDecoder(req.Body)
	err := dec.Decode(v)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) { // whose own text speaks of Go's types
		return problem(http.StatusBadRequest, "the body is not the JSON that is expected: %s has the wrong type: %s", cmp.Or(wrong.Field, "the body"), wrong.Value)
	}
	if err != nil {
		return problem(http.StatusBadRequest, "the body is not the JSON that is expected: %s", err)
	}
	if dec.More() {
		return problem(http.StatusBadRequest, "there is text after the JSON")
	}
	return nil
}
