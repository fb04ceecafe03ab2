package program

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/adapters/confluent"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/registrytest"
	"github.com/nexusblueprint/nexus/ports"
)

// TestSchemas_on_a_real_registry takes an empty Apicurio to one that has every schema, past one that breaks readers.
func TestSchemas_on_a_real_registry(t *testing.T) {
	server := registrytest.Apicurio(t)
	const subject = "shop.order.OrderPlaced"
	expect := func(code int, part string, args ...string) {
		t.Helper()
		if out, got := nexus(t, append(args, "--registry", server.URL)...); got != code || !strings.Contains(out, part) {
			t.Errorf("nexus %s: exit code %d, want %d and %q in\n%s", strings.Join(args, " "), got, code, part, out)
		}
	}
	expect(0, "new      "+subject, "schemas", "diff")
	expect(0, " 0 comparisons, 0 breaks", "schemas", "check")

	registry, err := confluent.New(config.Registry{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Register(t.Context(), ports.Schema{Subject: subject, Text: `{"type":"record","name":"` + subject + `","fields":[]}`}); err != nil {
		t.Fatal(err)
	}
	expect(1, subject+" breaks with version 1 in the registry", "schemas", "check")
	expect(1, "schema "+subject+": schema-evolution: breaks with version 1 in the registry", "verify", "../..")
	expect(0, "breaks   "+subject, "schemas", "diff")
	expect(1, "schema "+subject+": schema-evolution: breaks with version 1 in the registry", "schemas", "register")
	expect(1, "registering schema "+subject+": schema is incompatible", "schemas", "register", "--governance", "warn")
	if versions, err := registry.Versions(t.Context(), subject); err != nil || len(versions) != 1 {
		t.Errorf("what was refused has become a version: %+v, %v", versions, err)
	}

	registrytest.SetLevel(t, server.URL, subject, "NONE")
	expect(1, "registry: subject "+subject+": registry-compatibility: has the level NONE", "verify", "../..")
	expect(1, "nothing is registered", "schemas", "register")
	expect(2, "--governance: ", "schemas", "register", "--governance", "later")
	if versions, err := registry.Versions(t.Context(), subject); err != nil || len(versions) != 1 {
		t.Errorf("what the policies refused has become a version: %+v, %v", versions, err)
	}
	expect(0, "schemas are registered at "+server.URL, "schemas", "register", "--governance", "warn")
	expect(0, "schemas are registered at "+server.URL, "schemas", "register", "--governance", "warn")
	if out, code := nexus(t, "schemas", "diff", "--registry", server.URL); code != 0 || out != "" {
		t.Errorf("a registry with every schema differs: exit code %d\n%s", code, out)
	}
	if out, code := nexus(t, "schemas", "register", "--registry", strings.TrimSuffix(server.URL, "/apis/ccompat/v7")); code == 0 || !strings.Contains(out, "/apis/ccompat/v7") {
		t.Errorf("a URL without the path of the API: exit code %d\n%s", code, out)
	}
}

// An empty variable is no baseline left out.
func TestSchemas_refuse_an_empty_registry(t *testing.T) {
	for _, command := range []string{"check", "diff", "register"} {
		nx(t, "schemas", command, "--registry", "").is(t, 2).has(t, "--registry is empty: give it a value, or leave it out")
		nx(t, "schemas", command, "--config", "").is(t, 2).has(t, "--config is empty: give it a value, or leave it out")
	}
	nx(t, "events", "import", t.TempDir(), "--config", "").is(t, 2).has(t, "--config is empty") // not into ./nexus-data
}

func TestSchemas_register_says_that_nobody_answers(t *testing.T) {
	out, code := nexus(t, "schemas", "register", "--registry", "http://127.0.0.1:1")
	if code != 2 || !strings.Contains(out, "http://127.0.0.1:1") || !strings.Contains(out, ports.ErrRegistryUnavailable.Error()) {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// A registry that wants a password gets it from the settings of nexus run, and from nowhere else.
func TestSchemas_at_a_registry_that_wants_a_password(t *testing.T) {
	behind, err := url.Parse(world.Registry)
	if err != nil {
		t.Fatal(err)
	}
	through := httputil.NewSingleHostReverseProxy(behind)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ci" || password != "hush" {
			http.Error(w, `{"error_code":40101,"message":"who are you"}`, http.StatusUnauthorized)
			return
		}
		through.ServeHTTP(w, r)
	}))
	defer server.Close()
	nx(t, "schemas", "register", "--registry", server.URL).is(t, 2).has(t, "401")

	file := filepath.Join(t.TempDir(), "nexus.yaml")
	if err := os.WriteFile(file, []byte("bus: kafka://127.0.0.1:1\nregistry: {url: '"+server.URL+"', user: ci}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	nx(t, "schemas", "register", "--config", file).is(t, 2).has(t, "NEXUS_REGISTRY_PASSWORD")
	t.Setenv("NEXUS_REGISTRY_PASSWORD", "hush")
	nx(t, "schemas", "register", "--config", file).is(t, 0).has(t, "schemas are registered at "+server.URL)
	nx(t, "schemas", "check", "--config", file).is(t, 0).has(t, " 0 breaks")
	nx(t, "schemas", "diff", "--config", file).is(t, 0)
	nx(t, "schemas", "register", "--config", file, "--registry", server.URL).is(t, 2).has(t, "registry", "config")

	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NEXUS_REGISTRY_PASSWORD", "")
	nx(t, "schemas", "register", "--config", file).is(t, 2).has(t, "names the embedded registry")
}

// A registry may judge by other rules than ours, and it is the one that decides.
func TestSchemas_check_asks_the_registry_too(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = w.Write([]byte(`{"is_compatible":` + map[bool]string{true: `false,"messages":["no new orders"]`, false: "true"}[strings.Contains(r.URL.Path, "OrderPlaced")] + `}`))
			return
		}
		http.Error(w, `{"error_code":40401,"message":"not here"}`, http.StatusNotFound)
	}))
	defer server.Close()
	out, code := nexus(t, "schemas", "check", "--registry", server.URL)
	if code != 1 || !strings.Contains(out, "shop.order.OrderPlaced would be refused by the registry") || !strings.Contains(out, "no new orders") || !strings.Contains(out, " 1 breaks") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// nexus dev keeps the schemas that it reads its log with from whoever reaches its registry.
func TestRegistry_of_dev_keeps_what_the_system_reads_with(t *testing.T) {
	for _, subject := range testTopology().Subjects() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, world.Registry+"/subjects/"+subject, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnprocessableEntity {
			t.Fatalf("DELETE of %s is answered with %d", subject, resp.StatusCode)
		}
	}
}
