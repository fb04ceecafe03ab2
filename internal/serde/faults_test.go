package serde

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/linktest"
	"github.com/nexusblueprint/nexus/internal/registrytest"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
)

// reach returns a client of the registry at a URL.
func reach(t *testing.T, url string) *confluent.Registry {
	t.Helper()
	r, err := confluent.New(config.Registry{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lying is Apicurio behind a proxy that changes its answers to the look-up of a subject.
func lying(t *testing.T, server *registrytest.Server, subject string, change func(answer string) string) string {
	t.Helper()
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // of requests that a failed Load calls back
		Rewrite:  func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host },
		ModifyResponse: func(resp *http.Response) error {
			if resp.Request.Method != http.MethodPost || !strings.HasSuffix(resp.Request.URL.Path, "/subjects/"+subject) {
				return nil
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			changed := change(string(body))
			resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(changed)), int64(len(changed))
			resp.Header.Set("Content-Length", strconv.Itoa(len(changed)))
			return nil
		},
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	return s.URL + target.Path
}

// What is framed with the id of another schema can be read by nobody, so a registry that gives one is found out before
// anything is framed.
func TestSerde_findsOutAWrongID(t *testing.T) {
	const subject = "shop.order.OrderPlaced"
	server := registrytest.Apicurio(t)
	honest := New(reach(t, server.URL), program)
	if err := honest.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	right, _ := honest.ID(subject)
	other, _ := honest.ID("shop.order.OrderCancelled")
	older, err := reach(t, server.URL).Register(t.Context(), ports.Schema{ // of the same name, elsewhere
		Subject: "older", Text: `{"type":"record","name":"` + subject + `","fields":[]}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		wrong uint32
		meant string
	}{
		{other, "the schema of shop.order.OrderCancelled"},
		{older, "another version of it"},
		{1<<31 - 1, "the id of nothing"},
	} {
		s := New(reach(t, lying(t, server, subject, func(answer string) string {
			return strings.Replace(answer, fmt.Sprintf(`"id":%d`, right), fmt.Sprintf(`"id":%d`, c.wrong), 1)
		})), program)
		err := s.Load(t.Context())
		if !errors.Is(err, ErrWrongID) || errors.Is(err, ErrRegistry) || !strings.Contains(err.Error(), subject) ||
			!strings.Contains(err.Error(), strconv.Itoa(int(c.wrong))) || !strings.Contains(err.Error(), c.meant) {
			t.Errorf("id %d instead of %d: %v; want: %v, and %q", c.wrong, right, err, ErrWrongID, c.meant)
		}
		if framed, err := s.Append(nil, order()); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("id %d instead of %d: framed as %x, %v", c.wrong, right, framed, err)
		}
		s.known.Store(honest.known.Load()) // as if it had been found out by a program that runs
		if err := s.Load(t.Context()); !errors.Is(err, ErrWrongID) {
			t.Errorf("asked again: %v", err)
		}
		if framed, err := s.Append(nil, order()); err != nil || !bytes.HasPrefix(framed, frame(right, nil)) {
			t.Errorf("what was known before is framed as %x, %v; want id %d", framed, err, right)
		}
	}
}

// Known ids ask nobody, and a value with another one waits for the registry: all that need it together, and not for ever.
func TestSerde_onASlowRegistry(t *testing.T) {
	const latency = 300 * time.Millisecond
	server := registrytest.Apicurio(t)
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	link := linktest.Open(t, "127.0.0.1:0", target.Host)
	s := New(reach(t, "http://"+link.Addr+target.Path), program)
	if err := s.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	var foreign []uint32
	for _, name := range []string{"other.Slow", "other.Silent"} {
		id, err := reach(t, server.URL).Register(t.Context(), ports.Schema{
			Subject: name, Text: `{"type":"record","name":"` + name + `","fields":[{"name":"a","type":"int"}]}`,
		})
		if err != nil {
			t.Fatal(err)
		}
		foreign = append(foreign, id)
	}
	known := func(how string) { // over a silent link, whoever asks gets an error
		t.Helper()
		framed, err := s.Append(nil, order())
		if err == nil {
			err = s.Decode(framed, new(retail.OrderPlaced))
		}
		if err != nil {
			t.Errorf("%s: a known schema: %v", how, err)
		}
	}

	link.Slow(t, latency, 0)
	began := time.Now()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if body, err := s.JSON(frame(foreign[0], []byte{2})); err != nil || string(body) != `{"a":1}` {
				t.Errorf("slow: %s, %v", body, err)
			}
		})
	}
	known("slow")
	group.Wait()
	if took := time.Since(began); took < latency {
		t.Errorf("an unknown schema took %v: the link is not slow, and this test shows nothing", took)
	}

	link.Hang(t)
	s.patience = time.Second
	known("silent")
	began = time.Now()
	if _, err := s.JSON(frame(foreign[1], []byte{2})); !errors.Is(err, ErrRegistry) || errors.Is(err, ErrUnknownSchema) {
		t.Errorf("silent: %v; want: %v", err, ErrRegistry)
	}
	if took := time.Since(began); took < s.patience {
		t.Errorf("silent: given up after %v", took)
	}
	link.Heal(t)
	s.patience = fetchTimeout
	if body, err := s.JSON(frame(foreign[1], []byte{2})); err != nil || string(body) != `{"a":1}` {
		t.Errorf("healed: %s, %v", body, err)
	}
}
