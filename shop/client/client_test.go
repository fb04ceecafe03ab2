package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/shop/client"
)

func serve(t *testing.T, handler http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	c, err := client.New(s.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestNew_RefusesWhatIsNoAddress(t *testing.T) {
	for _, address := range []string{"", "localhost:8080", "ftp://host", "http://", "http://a b", "://"} {
		if _, err := client.New(address); err == nil || !strings.Contains(err.Error(), "http://127.0.0.1:8080") {
			t.Errorf("%q: error %v", address, err)
		}
	}
}

func TestClient_Send(t *testing.T) {
	t.Run("gives the answers in order", func(t *testing.T) {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || r.URL.Path != "/api/commands" || r.Header.Get("Content-Type") != "application/x-ndjson" {
				t.Errorf("asked %s %s, %s", r.Method, r.URL, r.Header)
			}
			fmt.Fprintln(w, `{"line":1,"status":201,"commandId":"a","events":[{"type":"OrderPlaced"}],"position":"x/0/1","unknown":[1]}`)
			fmt.Fprintln(w, `{"line":2,"status":400,"code":"invalid-command","errors":[{"pointer":"/lines","code":"empty"}]}`)
		})
		var got []client.Answer
		if err := c.Send(t.Context(), []byte("{}\n{}\n"), func(a client.Answer) { got = append(got, a) }); err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || got[0].Status != 201 || len(got[0].Events) != 1 || got[0].Position != "x/0/1" || got[1].Errors[0].Pointer != "/lines" {
			t.Errorf("answers %+v", got)
		}
	})
	t.Run("says that an answer was cut off", func(t *testing.T) {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"line":1,"status":201}`+"\n"+`{"line":2,"sta`)
		})
		answers := 0
		err := c.Send(t.Context(), nil, func(client.Answer) { answers++ })
		if err == nil || answers != 1 || !strings.Contains(err.Error(), "reading the answers to a batch") {
			t.Errorf("%d answers, error %v", answers, err)
		}
	})
}

func TestClient_Problems(t *testing.T) {
	for name, c := range map[string]struct {
		header, body string
		status       int
		want         client.Problem
		text         string
	}{
		"the platform's": {
			"2", `{"status":503,"code":"behind","detail":"not yet","title":"Behind"}`, 503,
			client.Problem{Status: 503, Code: "behind", Detail: "not yet", Title: "Behind", RetryAfter: 2 * time.Second},
			"503 behind: not yet",
		},
		"a proxy's":       {"", "<html>", 502, client.Problem{Status: 502}, "502 Bad Gateway"},
		"a strange delay": {"tomorrow", "", 429, client.Problem{Status: 429}, "429 Too Many Requests"},
	} {
		t.Run(name, func(t *testing.T) {
			api := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", c.header)
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})
			_, err := api.Models(t.Context())
			var no *client.Problem
			if !errors.As(err, &no) || *no != c.want || err.Error() != c.text {
				t.Errorf("error %v, %+v", err, no)
			}
		})
	}
}

func TestClient_Reads(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.RequestURI {
		case "/api/queries":
			fmt.Fprint(w, `{"items":[{"name":"orders"},{"name":"totals"}]}`)
		case "/api/queries/orders?cursor=c%26&limit=2":
			fmt.Fprint(w, `{"items":[{"n":1},{"n":2}],"total":5,"next":"more","lagRecords":7}`)
		case "/api/commands/load:order:a%2Fb%20c":
			fmt.Fprint(w, `{"status":422,"code":"order-already-placed"}`)
		default:
			http.Error(w, "not a JSON "+r.RequestURI, http.StatusOK)
		}
	})
	if models, err := c.Models(t.Context()); err != nil || strings.Join(models, " ") != "orders totals" {
		t.Errorf("models %q, error %v", models, err)
	}
	page, err := client.List[struct{ N int }](t.Context(), c, "orders", url.Values{"limit": {"2"}, "cursor": {"c&"}})
	if err != nil || len(page.Items) != 2 || page.Items[1].N != 2 || page.Total != 5 || *page.Next != "more" || page.LagRecords != 7 {
		t.Errorf("page %+v, error %v", page, err)
	}
	if a, err := c.Outcome(t.Context(), "load:order:a/b c"); err != nil || a.Status != 422 || a.Code != "order-already-placed" {
		t.Errorf("outcome %+v, error %v", a, err)
	}
	if _, err := client.List[json.RawMessage](t.Context(), c, "none", nil); err == nil || !strings.Contains(err.Error(), "reading the answer of /api/queries/none") {
		t.Errorf("error %v", err)
	}
}
