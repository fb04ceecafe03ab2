package gateway

import (
	"bytes"
	"context"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestOpenAPI_is_valid_and_as_agreed(t *testing.T) {
	r := newRig(t)
	doc, err := openapi3.NewLoader().LoadFromData(r.openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background(), openapi3.EnableSchemaFormatValidation()); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "openapi.json")
	if *update {
		if err := os.WriteFile(golden, r.openAPI, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.openAPI, want) {
		t.Errorf("the OpenAPI document of the shop is not %s; if that is meant, run go test ./gateway -update and read the diff", golden)
	}
}

func TestOpenAPI_has_every_route(t *testing.T) {
	r := newRig(t)
	doc, err := openapi3.NewLoader().LoadFromData(r.openAPI)
	if err != nil {
		t.Fatal(err)
	}
	// What a route's first variable part stands for in the document.
	instances := strings.NewReplacer(
		"/api/queries/:name", "/api/queries/products", "/api/aggregates/:type", "/api/aggregates/order", "/api/commands/:type", "/api/commands/PlaceOrder", "/:id", "/{id}",
	)
	for _, route := range r.engine.Routes() {
		if route.Path == "/" || route.Method == http.MethodHead { // which is GET without its body
			continue
		}
		path := instances.Replace(route.Path)
		item := doc.Paths.Value(path)
		if item == nil || item.GetOperation(route.Method) == nil {
			t.Errorf("%s %s is answered, but the document has no %s", route.Method, route.Path, path)
		}
	}
}

func TestOpenAPI_judges_what_the_parser_judges(t *testing.T) {
	r := newRig(t)
	for query, valid := range map[string]bool{
		"limit=1": true, "limit=1000": true, "limit=0": false, "limit=1001": false, "limit=x": false,
		"sort=-unitsSold,sku": true, "sort=unitsSold,": false, "sort=describedAt": false,
		"wait=5s": true, "wait=500ms": true, "wait=5": false, "wait=1h": false,
		"filter[sales][gte]=12.75": true, "filter[sales]=12.5": true, "filter[sales]=1.0005": false, "filter[sales]=x": false,
		"filter[unitsSold][lt]=7": true, "filter[unitsSold][lt]=7.5": false,
	} {
		req := request(http.MethodGet, "/api/queries/products?"+strings.ReplaceAll(query, "[", "%5B"), "")
		_, no := r.byName["products"].parseList(req.URL.RawQuery)
		if (no == nil) != valid {
			t.Errorf("parser on %s: %v", query, no)
		}
		input := contractInput(t, req)
		if err := openapi3filter.ValidateRequest(req.Context(), input); (err == nil) != valid {
			t.Errorf("document on %s: %v", query, err)
		}
	}
}

// contract is the document of the shop as a router, made once.
var contract = sync.OnceValues(func() (routers.Router, error) {
	doc, err := os.ReadFile(filepath.Join("testdata", "openapi.json"))
	if err != nil {
		return nil, err
	}
	parsed, err := openapi3.NewLoader().LoadFromData(doc)
	if err != nil {
		return nil, err
	}
	for _, media := range []string{"application/problem+json", "application/x-ndjson"} {
		openapi3filter.RegisterBodyDecoder(media, openapi3filter.JSONBodyDecoder)
	}
	return gorillamux.NewRouter(parsed)
})

func contractInput(t testing.TB, req *http.Request) *openapi3filter.RequestValidationInput {
	t.Helper()
	router, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	copied := req.Clone(req.Context())
	copied.URL.Host, copied.URL.Scheme = "", ""
	route, params, err := router.FindRoute(copied)
	if err != nil {
		return nil
	}
	return &openapi3filter.RequestValidationInput{Request: copied, PathParams: params, Route: route}
}

// checkContract holds an answer against the document. Answers of paths that the
// document does not have must be 404 or 405.
func checkContract(t testing.TB, req *http.Request, a answered) {
	t.Helper()
	input := contractInput(t, req)
	if input == nil {
		if a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed && a.status != http.StatusFound {
			t.Errorf("%s %s answers %d, but the document does not have it", req.Method, req.URL, a.status)
		}
		return
	}
	response := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: a.status, Header: a.header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	bodies := []string{a.body}
	if a.header.Get("Content-Type") == "application/x-ndjson" {
		bodies = strings.Split(strings.TrimSpace(a.body), "\n")
	}
	for _, body := range bodies {
		if body == "" && a.status != http.StatusNotModified {
			continue
		}
		response.SetBodyBytes([]byte(body))
		if err := openapi3filter.ValidateResponse(req.Context(), response); err != nil {
			t.Errorf("%s %s answers %d against the document: %v", req.Method, req.URL, a.status, err)
		}
	}
}
