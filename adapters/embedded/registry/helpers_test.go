package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
)

func startBroker(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func seeds(c *kfake.Cluster) []kgo.Opt { return []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)} }

// open starts a registry on the broker; it is closed when the test ends.
func open(t testing.TB, c *kfake.Cluster, opts ...kgo.Opt) *Registry {
	t.Helper()
	r, err := Open(t.Context(), Config{ClientOpts: append(seeds(c), opts...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeRegistry(t, r) })
	return r
}

func closeRegistry(t testing.TB, r *Registry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}

func client(t testing.TB, r *Registry) *sr.Client {
	t.Helper()
	c, err := sr.NewClient(sr.URLs(r.URL()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// call sends one request and returns the status and the body.
func call(t testing.TB, r *Registry, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// want sends one request and demands an answer; "…" at the end of the expected
// body stands for anything.
func want(t testing.TB, r *Registry, method, path, body string, status int, answer string) {
	t.Helper()
	gotStatus, got := call(t, r, method, path, body)
	prefix, open := strings.CutSuffix(answer, "…")
	if gotStatus != status || (open && !strings.HasPrefix(got, prefix)) || (!open && got != answer) {
		t.Errorf("%s %s %.200s\n got %d %s\nwant %d %s", method, path, body, gotStatus, got, status, answer)
	}
}

// wantCode demands a failure with one of Confluent's codes.
func wantCode(t testing.TB, err error, code int) {
	t.Helper()
	var answer *sr.ResponseError
	if !errors.As(err, &answer) || answer.ErrorCode != code {
		t.Errorf("got %v, want code %d", err, code)
	}
}

// post builds the body of a registration.
func post(schema string, references ...Reference) string {
	return string(encode(map[string]any{"schema": schema, "references": references}))
}

func record(name string, fields ...string) string {
	return `{"type":"record","name":"` + name + `","fields":[` + strings.Join(fields, ",") + `]}`
}

func intField(name string) string { return `{"name":"` + name + `","type":"int"}` }

func optionalField(name string) string { return `{"name":"` + name + `","type":"int","default":0}` }

// dump describes everything a registry answers with.
func dump(t testing.TB, r *Registry) string {
	t.Helper()
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out bytes.Buffer
	fmt.Fprintln(&out, "maxID", r.state.maxID, "levels", r.state.levels, "modes", r.state.modes)
	for _, name := range r.state.subjectNames() {
		for _, v := range r.state.versions(name, all) {
			text, _ := json.Marshal(r.state.describe(name, v))
			fmt.Fprintln(&out, v.deleted, r.state.schemas[v.id].uses, string(text))
		}
	}
	fmt.Fprintln(&out, "schemas", len(r.state.schemas))
	return out.String()
}

// log reads the whole topic as "key → value" lines.
func topicLines(t testing.TB, c *kfake.Cluster) []string {
	t.Helper()
	l, err := newTopicLog("_schemas", seeds(c))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	var out []string
	if _, err := l.catchUp(t.Context(), func(rec *kgo.Record) {
		value := "null"
		if rec.Value != nil {
			value = string(rec.Value)
		}
		out = append(out, string(rec.Key)+" → "+value)
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// produce writes raw records, as another registry would.
func produce(t testing.TB, c *kfake.Cluster, changes ...change) {
	t.Helper()
	l, err := newTopicLog("_schemas", seeds(c))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if err := l.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.write(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
}
