package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/views"
)

const (
	productJSON = `{"sku":"85123A","description":"HEART","unitsSold":6,"sales":"15.30","credits":"0.00","onHand":-6}`
	listPath    = "/api/queries/products"
)

func TestQueries_list_of_models(t *testing.T) {
	r := newRig(t)
	r.lag = views.Lag{Seconds: 0.25, Records: 7, Position: views.Position{{Topic: "shop.order.events", Partition: 3}: 12}}
	a := r.do(http.MethodGet, "/api/queries", "").is(200)
	items := jsonObject(t, a.body)["items"].([]any)
	var names []string
	for _, item := range items {
		names = append(names, item.(map[string]any)["name"].(string))
	}
	if want := []string{"orders", "sales-by-country", "sales-by-month", "products", "customers", "totals"}; !slices.Equal(names, want) {
		t.Errorf("models %q, want %q", names, want)
	}
	want := `{"name":"products","version":1,"fields":[{"name":"sku","type":"string"},{"name":"description","type":"string"},` +
		`{"name":"unitsSold","type":"long"},{"name":"sales","type":"money"},{"name":"credits","type":"money"},{"name":"onHand","type":"long"}],` +
		`"count":42,"lag":0.25,"lagRecords":7,"position":"shop.order.events/3/12"}`
	if !strings.Contains(a.body, want) {
		t.Errorf("products is not as it should be in %s", a.body)
	}
	for _, part := range []string{`{"name":"placedAt","type":"timestamp"}`, `{"name":"lines","type":"array"}`, `{"name":"status","type":"string"}`} {
		if !strings.Contains(a.body, part) {
			t.Errorf("no %s in %s", part, a.body)
		}
	}
	r.do(http.MethodGet, "/api/queries?limit=1", "").is(400).says("code", "invalid-parameter")
}

func TestQuery_list(t *testing.T) {
	r := newRig(t)
	r.lag = views.Lag{Seconds: 1.5, Records: 2, Position: views.Position{{Topic: "shop.stock.events"}: 5}}
	stored := `{"sku": "a",  "x":1}` // not even white space is touched
	r.found.page = ports.Page{Documents: []ports.Document{{ID: "a", JSON: []byte(stored)}, {ID: "b", JSON: []byte(productJSON)}}, Total: 77, Next: "abc"}
	rec := r.raw(http.MethodGet, listPath)
	want := `{"items":[` + stored + `,` + productJSON + `],"total":77,"next":"abc","lag":1.5,"lagRecords":2,"position":"shop.stock.events/0/5"}` + "\n"
	if rec != want {
		t.Errorf("got  %s\nwant %s", rec, want)
	}
	if r.found.index != "products.v1" || !reflect.DeepEqual(r.found.asked[0], ports.Query{Limit: 20}) {
		t.Errorf("asked %s for %+v", r.found.index, r.found.asked[0])
	}
	r.found.page = ports.Page{}
	r.do(http.MethodGet, listPath, "").is(200).says("next", nil, "total", 0)
}

func TestQuery_parameters(t *testing.T) {
	r := newRig(t)
	at, err := avro.ParseMillis("2011-01-02T03:04:05.678Z")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		model, query string
		want         ports.Query
	}{
		{"products", "limit=1000&cursor=x&q=white+heart", ports.Query{Limit: 1000, Cursor: "x", Text: "white heart"}},
		{"products", "sort=-unitsSold,sku", ports.Query{Limit: 20, Sort: []ports.Sort{{Field: "unitsSold", Desc: true}, {Field: "sku"}}}},
		{"products", "filter[sku]=85123A", ports.Query{Limit: 20, Filters: []ports.Filter{{Field: "sku", Op: ports.OpEq, Value: "85123A"}}}},
		{"products", "filter[sku]=", ports.Query{Limit: 20, Filters: []ports.Filter{{Field: "sku", Op: ports.OpEq, Value: ""}}}},
		{"products", "filter%5Bsales%5D%5Bgte%5D=-12.5", ports.Query{Limit: 20, Filters: []ports.Filter{{Field: "sales", Op: ports.OpGte, Value: int64(-12500)}}}},
		{"products", "filter[onHand][lt]=-9223372036854775808", ports.Query{Limit: 20, Filters: []ports.Filter{{Field: "onHand", Op: ports.OpLt, Value: int64(-1 << 63)}}}},
		{"orders", "filter[placedAt][gt]=2011-01-02T03:04:05.678Z", ports.Query{Limit: 20, Filters: []ports.Filter{{Field: "placedAt", Op: ports.OpGt, Value: int64(at)}}}},
		{"orders", "filter[placedAt][lte]=2011-01-02T04:04:05.678%2B01:00&filter[country]=EIRE", ports.Query{Limit: 20, Filters: []ports.Filter{
			{Field: "country", Op: ports.OpEq, Value: "EIRE"}, {Field: "placedAt", Op: ports.OpLte, Value: int64(at)},
		}}},
	} {
		r.found.asked = nil
		r.do(http.MethodGet, "/api/queries/"+c.model+"?"+c.query, "").is(200)
		if got := r.found.asked[0]; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: asked for %+v, want %+v", c.query, got, c.want)
		}
	}
}

func TestQuery_bad_parameters(t *testing.T) {
	r := newRig(t)
	for query, fault := range map[string]string{
		"limit=0":                               "/limit invalid-value",
		"limit=1001":                            "/limit invalid-value",
		"limit=1.5":                             "/limit invalid-value",
		"limit=":                                "/limit invalid-value",
		"limit=1&limit=1":                       "/limit repeated-parameter",
		"Limit=1":                               "/Limit unknown-parameter",
		"offset=1":                              "/offset unknown-parameter",
		"a/b~c=1":                               "/a~1b~0c unknown-parameter",
		"cursor=":                               "/cursor invalid-value",
		"sort=":                                 "/sort invalid-value",
		"sort=--sku":                            "/sort invalid-value",
		"sort=sku,-sku":                         "/sort invalid-value",
		"sort=colour":                           "/sort invalid-value",
		"sort=describedBy":                      "/sort invalid-value",
		"q=%ff":                                 "/q invalid-value",
		"q=" + strings.Repeat("a", 1025):        "/q invalid-value",
		"wait=31s":                              "/wait invalid-value",
		"wait=-1s":                              "/wait invalid-value",
		"wait=5":                                "/wait invalid-value",
		"wait=99999999999s":                     "/wait invalid-value",
		"position=x":                            "/position invalid-value",
		"position=t/1/-1":                       "/position invalid-value",
		"filter[colour]=1":                      "/filter[colour] unknown-field",
		"filter[describedBy]=1":                 "/filter[describedBy] unknown-field",
		"filter[sku][like]=1":                   "/filter[sku][like] unknown-field",
		"filter[sku][eq]=1":                     "/filter[sku][eq] unknown-field",
		"filter[sku=1":                          "/filter[sku unknown-parameter",
		"filter=1":                              "/filter unknown-parameter",
		"filter[sku]=a&filter[sku]=b":           "/filter[sku] repeated-parameter",
		"filter[sku]=%ff":                       "/filter[sku] invalid-value",
		"filter[unitsSold]=1.5":                 "/filter[unitsSold] invalid-value",
		"filter[unitsSold]=9223372036854775808": "/filter[unitsSold] invalid-value",
		"filter[sales][gt]=1.0005":              "/filter[sales][gt] invalid-value",
		"filter[sales][gt]=1e3":                 "/filter[sales][gt] invalid-value",
	} {
		a := r.do(http.MethodGet, listPath+"?"+query, "").is(400).says("code", "invalid-parameter")
		if got := a.faults(); !slices.Equal(got, []string{fault}) {
			t.Errorf("%s: faults %q, want %q", query, got, fault)
		}
	}
	r.do(http.MethodGet, "/api/queries/orders?filter[placedAt]=2011", "").is(400)
	r.do(http.MethodGet, "/api/queries/orders?filter[lines]=x", "").is(400)
	r.do(http.MethodGet, listPath+"?a=%zz", "").is(400).says("code", "invalid-parameter")
	r.do(http.MethodGet, listPath+"?a;b=1", "").is(400)
	r.do(http.MethodGet, listPath+"?q="+strings.Repeat("a", 20_000), "").is(400)
	if len(r.found.asked) != 0 {
		t.Errorf("the store was asked %+v", r.found.asked)
	}
	all := r.do(http.MethodGet, listPath+"?limit=0&offset=1&sort=x", "").is(400).faults()
	if len(all) != 3 {
		t.Errorf("faults %q, want all three at once", all)
	}
}

func TestQuery_unknown_model(t *testing.T) {
	r := newRig(t)
	r.do(http.MethodGet, "/api/queries/nonsense", "").is(404).says("code", "unknown-read-model")
	r.do(http.MethodGet, "/api/queries/products.v1", "").is(404).says("code", "unknown-read-model")
	r.do(http.MethodGet, "/api/queries/nonsense/1", "").is(404).says("code", "unknown-read-model")
}

func TestQuery_waits_for_a_position(t *testing.T) {
	r := newRig(t)
	r.found.doc = &ports.Document{ID: "85123A", Version: 3, JSON: []byte(productJSON)}
	for _, path := range []string{listPath, listPath + "/85123A"} {
		position := url.QueryEscape("shop.stock.events/1/2,shop.order.events/3/4")
		r.change(func() { r.waitErr = nil })
		r.do(http.MethodGet, path+"?position="+position, "").is(200)
		if got := r.waitedAt.String(); got != "shop.order.events/3/4,shop.stock.events/1/2" {
			t.Errorf("waited for %s", got)
		}
		r.change(func() { r.waitErr = errNeverCaughtUp })
		r.found.asked = nil
		r.do(http.MethodGet, path+"?position="+position+"&wait=10ms", "").is(503).says("code", "behind").has("Retry-After", "1")
		if len(r.found.asked) != 0 {
			t.Error("the store was asked although it is behind")
		}
		r.do(http.MethodGet, path+"?position=shop.orders.events/3/4", "").is(400).says("code", "invalid-parameter")
		r.change(func() { r.waitErr = views.ErrPosition })
		r.do(http.MethodGet, path+"?position="+position, "").is(400).says("code", "invalid-parameter")
		r.change(func() { r.waitErr = errors.New("secret") })
		r.do(http.MethodGet, path+"?position="+position, "").is(503).says("code", "unavailable")
		r.change(func() { r.waitErr = views.ErrCatchingUp })
		r.do(http.MethodGet, path+"?position="+position, "").is(503).says("code", "behind")
	}
}

func TestQuery_store_failures(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{ports.ErrBadCursor, 400, "invalid-parameter"},
		{ports.ErrBadQuery, 400, "invalid-parameter"},
		{ports.ErrNoIndex, 503, "unavailable"},
		{errors.New("secret"), 503, "unavailable"},
	} {
		r.found.err = fmt.Errorf("searching: %w", c.err)
		a := r.do(http.MethodGet, listPath, "").is(c.status).says("code", c.code)
		if strings.Contains(a.body, "secret") {
			t.Errorf("body %s", a.body)
		}
	}
	r.do(http.MethodGet, "/api/queries", "").is(503)
	r.do(http.MethodGet, listPath+"/x", "").is(503)
	r.found.err = nil
	r.change(func() { r.viewErr = views.ErrUnavailable })
	r.do(http.MethodGet, "/api/queries", "").is(503)
	r.do(http.MethodGet, listPath, "").is(503)
	r.queries = newGate(0)
	r.do(http.MethodGet, listPath, "").is(429).says("code", "overloaded").has("Retry-After", "1")
}

// silentStore takes questions and does not answer.
type silentStore struct{}

func (silentStore) Get(ctx context.Context, _, _ string) (ports.Document, bool, error) {
	<-ctx.Done()
	return ports.Document{}, false, ctx.Err()
}

func (silentStore) Search(ctx context.Context, _ string, _ ports.Query) (ports.Page, error) {
	<-ctx.Done()
	return ports.Page{}, ctx.Err()
}

func (silentStore) Count(ctx context.Context, _ string) (int64, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func TestQuery_of_a_store_that_does_not_answer(t *testing.T) {
	for _, path := range []string{"/api/queries", listPath, listPath + "/85123A"} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.search = silentStore{}
			began := time.Now()
			r.do(http.MethodGet, path, "").is(503).says("code", "unavailable").has("Retry-After", "2")
			if took := time.Since(began); took != searchPatience {
				t.Errorf("%s: answered after %v, not %v", path, took, searchPatience)
			}
		})
	}
}

func TestQuery_document(t *testing.T) {
	r := newRig(t)
	for path, id := range map[string]string{
		"85123A": "85123A", "a%2Fb": "a/b", "a%20b": "a b", "a+b": "a+b", "a%2Bb%2F": "a+b/", "%25": "%", "a%252Fb": "a%2Fb", "%D1%8E": "ю", "..": "..", "a%3Fb%23": "a?b#",
	} {
		r.found.doc = &ports.Document{ID: id, Version: 3, JSON: []byte(productJSON)}
		for range 2 { // the store's bytes are not ours to change
			if a := r.do(http.MethodGet, listPath+"/"+path, "").is(200).has("ETag", `"3"`); a.body != productJSON+"\n" {
				t.Errorf("%s: body %s", path, a.body)
			}
		}
	}
	r.found.doc = &ports.Document{ID: "a", JSON: []byte(productJSON)}
	r.do(http.MethodGet, listPath+"/A", "").is(404).says("code", "unknown-document")
	for _, bad := range []string{"%00", "a%0Ab", "%7F", "%C2%85", "%FF", strings.Repeat("x", 257), strings.Repeat("x", 10_000)} {
		r.do(http.MethodGet, listPath+"/"+bad, "").is(400).says("code", "invalid-id")
	}
	r.do(http.MethodGet, listPath+"/a?limit=1", "").is(400).says("code", "invalid-parameter")
}
