package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/internal/programtest"
)

// badBodies are commands that nothing may come of: body and what the answer says.
func badBodies() map[string][]string {
	stock := func(changed, to string) string {
		return strings.Replace(`{"sku":"A","description":"D","quantity":1,"reference":"r"}`, changed, to, 1)
	}
	order := func(changed, to string) string {
		return strings.Replace(`{"orderId":"1","customerId":"C","country":"EIRE","placedAt":"2011-08-01T08:26:00Z",`+
			`"lines":[{"sku":"A","description":"D","quantity":1,"unitPrice":"1.25"}]}`, changed, to, 1)
	}
	deep := strings.Repeat("[", 100_000)
	return map[string][]string{
		"malformed JSON":               {"ReceiveStock", `{"sku":`, "/sku", "malformed-json"},
		"an empty body":                {"ReceiveStock", ``, "the body is empty"},
		"two bodies":                   {"ReceiveStock", stock("", "") + "{}", "trailing-data"},
		"a wrong type":                 {"ReceiveStock", stock(`1,`, `"1",`), "/quantity", "wrong-type"},
		"a missing field":              {"ReceiveStock", stock(`"sku":"A",`, ``), "/sku", "missing-field"},
		"an unknown field":             {"ReceiveStock", stock(`{`, `{"colour":1,`), "/colour", "unknown-field"},
		"a key twice":                  {"ReceiveStock", stock(`{`, `{"s\u006bu":"A",`), "/sku", "duplicate-key"},
		"invalid UTF-8":                {"ReceiveStock", stock(`"A"`, "\"A\xff\""), "/sku", "invalid-utf8"},
		"half a surrogate pair":        {"ReceiveStock", stock(`"A"`, `"A\ud800"`), "/sku", "invalid-utf8"},
		"100,000 brackets":             {"ReceiveStock", deep, "too-deep"},
		"100,000 brackets in a field":  {"ReceiveStock", stock(`"A"`, deep), "/sku", "too-deep"},
		"a control character in an id": {"ReceiveStock", stock(`"A"`, `"A\u0001"`), "/sku", "id-control-character", "U+0001"},
		"an id of 10,000 characters":   {"ReceiveStock", stock(`"A"`, `"`+strings.Repeat("a", 10_000)+`"`), "/sku", "too-long"},
		"an empty id":                  {"ReceiveStock", stock(`"A"`, `""`), "/sku", "id-empty"},
		"a quantity of zero":           {"ReceiveStock", stock(`1,`, `0,`), "/quantity", "not-positive", "got 0"},
		"a quantity below zero":        {"PlaceOrder", order(`"quantity":1`, `"quantity":-1`), "/lines/0/quantity", "not-positive", "got -1"},
		"a number beyond 64 bits":      {"PlaceOrder", order(`"quantity":1`, `"quantity":9223372036854775808`), "/lines/0/quantity", "out-of-range"},
		"money beyond 64 bits":         {"PlaceOrder", order(`1.25`, `9223372036854775808`), "/lines/0/unitPrice", "out-of-range"},
		"a price of five decimals":     {"PlaceOrder", order(`1.25`, `1.23456`), "/lines/0/unitPrice", "too-many-decimals"},
		"a price as a number":          {"PlaceOrder", order(`"1.25"`, `1.25`), "/lines/0/unitPrice", "wrong-type"},
		"a date that is none":          {"PlaceOrder", order(`08-01T`, `02-30T`), "/placedAt", "not-a-timestamp"},
		"no lines":                     {"PlaceOrder", order(`{"sku":"A","description":"D","quantity":1,"unitPrice":"1.25"}`, ``), "/lines", "empty"},
	}
}

// Whatever is wrong is refused with its field and reason, and nothing comes of it.
func TestBadInput(t *testing.T) {
	n := newNode(t)
	api := n.start(t).API
	for name, c := range badBodies() {
		t.Run(name, func(t *testing.T) { send(t, api+"/api/commands/"+c[0], c[1], 400, c[2:]) })
	}
	t.Run("requests", func(t *testing.T) { badRequests(t, api) })
	t.Run("queries", func(t *testing.T) { badQueries(t, api) })
	t.Run("command lines", badLines)
	t.Run("files", func(t *testing.T) { badFiles(t, api) })
	t.Run("starts", func(t *testing.T) { badStarts(t, n, strings.TrimPrefix(api, "http://")) })
	t.Run("nothing came of it", func(t *testing.T) {
		// Two good commands stood among the bad ones; one that expected another version has its outcome, but no event.
		if out := programtest.Must(t, "check", "--server", api); !strings.Contains(out, "I2  ok                2 checked") {
			t.Errorf("want two events in the log:\n%s", out)
		}
	})
}

func badRequests(t *testing.T, api string) { //nolint:thelper // a test of its own: its lines tell where it failed
	const good = `{"sku":"A","description":"D","quantity":1,"reference":"r"}`
	commands, stock := api+"/api/commands", api+"/api/commands/ReceiveStock"
	send(t, api+"/api/commands/ReceiveStocks", good, 404, []string{"unknown-command", `\"ReceiveStocks\"`, "/api/openapi.json"})
	send(t, stock, strings.Repeat(" ", 1<<20)+good, 413, []string{"body-too-large", "1048576"})
	send(t, stock, good, 415, []string{"unsupported-media-type", "text/plain"}, "Content-Type", "text/plain")
	send(t, stock, good, 400, []string{"invalid-precondition", "If-Match"}, "If-Match", "1")
	send(t, stock, good, 412, []string{"version-conflict", "does not exist"}, "If-Match", "*")
	send(t, stock, good, 400, []string{"invalid-idempotency-key", "128"}, "Idempotency-Key", strings.Repeat("k", 129))
	send(t, stock, good, 403, []string{"forbidden-origin", "evil.example"}, "Origin", "http://evil.example")
	send(t, stock, good, 403, []string{"forbidden-host", "evil.example"}, "Host", "evil.example")
	send(t, stock, good, 201, nil, "Idempotency-Key", "k")
	send(t, stock, strings.Replace(good, "1", "2", 1), 409, []string{"command-id-reused", "k was used for another command"}, "Idempotency-Key", "k")

	line := func(sku, quantity string) string {
		return `{"type":"ReceiveStock","id":"batch-` + sku + `","command":{"sku":"` + sku + `","description":"D","quantity":` + quantity + `,"reference":"r"}}`
	}
	batch := strings.Join([]string{line("B", "0"), `{"type":`, "\xff", line("C", "1")}, "\n")
	want := []string{`"/quantity"`, `"line":1`, `"line":2`, `"line":3`, `"commandId":"batch-C"`, `"status":201,"line":4`}
	send(t, commands, batch, 200, want, "Content-Type", "application/x-ndjson")
}

func badQueries(t *testing.T, api string) { //nolint:thelper // a test of its own: its lines tell where it failed
	for query, c := range map[string][]string{
		"queries/products?limit=1001":                        {"/limit", "from 1 to 1000"},
		"queries/products?limit=99999999999999999999":        {"/limit", "from 1 to 1000"},
		"queries/products?limit=1&limit=2":                   {"/limit", "repeated-parameter"},
		"queries/products?colour=blue":                       {"/colour", "unknown-parameter"},
		"queries/products?sort=colour":                       {"/sort", "unitsSold"},
		"queries/products?filter[sales][gte]=1.23456":        {"/filter[sales][gte]", "three fraction digits"},
		"queries/products?filter[sku][like]=A":               {"/filter[sku][like]", "gte, gt, lte and lt"},
		"queries/products?cursor=AAAA":                       {"/cursor", "first page"},
		"queries/products?position=x":                        {"/position", "topic/partition/offset"},
		"queries/products?position=shop.stock.event/0/0":     {"/position", "shop.stock.event,"},
		"queries/products?q=%ff":                             {"/q", "UTF-8"},
		"aggregates/stock/%01":                               {"invalid-id", "U+0001"},
		"aggregates/stock/" + strings.Repeat("a", 10_000):    {"invalid-id", "10000 bytes"},
		"aggregates/stock/A?minVersion=99999999999999999999": {"/minVersion", "whole number"},
	} {
		request(t, http.MethodGet, api+"/api/"+query, "", 400, c)
	}
}

// A word that no group of subcommands knows is a mistake, not a request for help.
func badLines(t *testing.T) {
	for line, want := range map[string]string{
		"load": "load online-retail", "load x": `there is no "x", but nexus load online-retail`, "schemas": "schemas check, diff",
		"events x": "events export", "figures x": "unknown command", "load online-retail --x": "unknown flag",
		"figures --server http://127.0.0.1:1": "nexus dev", "check --server http://127.0.0.1:1": "nexus dev", "load online-retail --server http://127.0.0.1:1": "nexus dev",
	} {
		if out, code := programtest.Run(t, strings.Fields(line)...); code != 2 || !strings.Contains(out, want) {
			t.Errorf("nexus %s: exit code %d, want 2 and %q:\n%s", line, code, want, out)
		}
	}
}

const retailHeader = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

func badFiles(t *testing.T, api string) { //nolint:thelper // a test of its own: its lines tell where it failed
	text := []byte(retailHeader)
	for i := range 3000 { // many batches, had they been sent
		text = fmt.Appendf(text, "%d,A,,7,2011-08-01 08:26:00,1.25,,EIRE\n", i)
	}
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.NoCompression)
	_, _ = w.Write(text)
	_ = w.Close()
	for name, c := range map[string]struct {
		content []byte
		want    []string
	}{
		"truncated":       {text[:len(text)-9], []string{"line 3001", "cut off"}},
		"wrong header":    {text[1:], []string{"line 1", "want the header InvoiceNo"}},
		"truncated gzip":  {packed.Bytes()[:packed.Len()-20], []string{"cut off"}},
		"broken gzip":     {bytes.Replace(packed.Bytes(), []byte("\n2999,A,,7,"), []byte("\n2999,A,,9,"), 1), []string{"damaged", "checksum"}},
		"unparsable date": {append(bytes.Clone(text), "3000,A,,7,2011-99-01 08:26:00,1.25,,EIRE\n"...), []string{"line 3002", "InvoiceDate", "2011-99-01"}},
	} {
		file := filepath.Join(t.TempDir(), "f.csv")
		if err := os.WriteFile(file, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		out, code := programtest.Run(t, "load", "online-retail", file, "--server", api)
		if code != 1 {
			t.Errorf("%s: exit code %d, want 1", name, code)
		}
		demand(t, name, 0, out, 0, append(c.want, file, "nothing was loaded"))
	}
}

// badStarts starts more systems, on what the node n holds and on a folder of a newer release.
func badStarts(t *testing.T, n *node, taken string) { //nolint:thelper // a test of its own: its lines tell where it failed
	newer := t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, "format"), []byte("999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ args, want []string }{
		"a folder in use":                 {[]string{"--data", n.Data}, []string{n.Data, fmt.Sprint("process ", n.PID()), "--data"}},
		"a folder in use, to be emptied":  {[]string{"--data", n.Data, "--reset"}, []string{"in use"}},
		"a newer folder":                  {[]string{"--data", newer}, []string{"format 999", "run the release that wrote it"}},
		"a foreign folder, to be emptied": {[]string{"--data", foreign, "--reset"}, []string{"thesis.txt", "choose an empty folder"}},
		"a taken port of the API":         {[]string{"--listen", taken}, []string{taken, "in use", "--listen"}},
		"a taken port of the broker":      {[]string{"--bus-listen", taken}, []string{taken, "in use", "another port"}},
		"a taken port of the registry":    {[]string{"--registry-listen", taken}, []string{taken, "in use", "registry", "choose another"}},
	} {
		args := []string{"dev", "--no-sample", "--data", filepath.Join(t.TempDir(), "new"), "--listen", "127.0.0.1:0", "--bus-listen", "127.0.0.1:0", "--registry-listen", "127.0.0.1:0"}
		out, code := programtest.Run(t, append(args, c.args...)...) // the last of a flag counts
		if code != 2 {
			t.Errorf("%s: exit code %d, want 2", name, code)
		}
		demand(t, name, 0, out, 0, c.want)
	}
	if _, err := os.Stat(filepath.Join(foreign, "thesis.txt")); err != nil {
		t.Errorf("the foreign folder was emptied: %v", err)
	}
}

// send posts the body, as JSON unless headers say otherwise, and demands the
// status and what the answer says.
func send(t *testing.T, url, body string, status int, want []string, headers ...string) {
	t.Helper()
	request(t, http.MethodPost, url, body, status, want, headers...)
}

func request(t *testing.T, method, url, body string, status int, want []string, headers ...string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	demand(t, url, resp.StatusCode, string(answer), status, want)
}

func demand(t *testing.T, what string, status int, text string, wantStatus int, want []string) {
	t.Helper()
	if status != wantStatus {
		t.Errorf("%.80s: status %d, want %d: %.600s", what, status, wantStatus, text)
	}
	for _, part := range want {
		if !strings.Contains(text, part) {
			t.Errorf("%.80s: the answer does not say %q:\n%.600s", what, part, text)
		}
	}
}
