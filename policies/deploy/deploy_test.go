package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nexusblueprint/nexus/internal/foldertest"
)

func read(t *testing.T, files map[string]string) *Facts {
	t.Helper()
	dir := t.TempDir()
	foldertest.Write(t, dir, files)
	f, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRead_takes_what_is_of_a_format_and_says_what_it_could_not_read(t *testing.T) {
	f := read(t, map[string]string{
		"a.yaml":                     "services:\n  web: {image: web}\n---\nsome: thing\n",
		"chart/Chart.yaml":           "name: chart\n",
		"chart/templates/x.yaml":     "kind: {{ .Kind }}\n",
		"broken.yml":                 "a: b\n  c: d\n",
		"testdata/b.yaml":            "services:\n  web: {image: web}\n",
		"list.yaml":                  "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: m}\n",
		"openapi.yaml":               "openapi: 3.0.0\nservices: none\n",
		"kong.yaml":                  "_format_version: \"3.0\"\nservices: [{name: s, url: http://orders:80/x}]\n",
		"traefik/dynamic.yaml":       "http:\n  services:\n    s: {loadBalancer: {servers: [{url: http://orders}]}}\n",
		"manifests/deployment.yaml":  "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {template: {spec: {containers: [{image: d}]}}}\n",
		"manifests/not-a-string.yml": "1: 2\n3: 4\n",
	})
	var got []string
	for _, d := range f.Documents {
		got = append(got, d.File+" "+d.Format+" "+d.Kind+" "+d.Name)
	}
	want := []string{"a.yaml compose  ", "kong.yaml kong  ", "list.yaml kubernetes ConfigMap m", "manifests/deployment.yaml kubernetes Deployment d", "traefik/dynamic.yaml traefik  "}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("documents: %q", got)
	}
	if len(f.Unread) != 1 || f.Unread[0].File != "broken.yml" {
		t.Errorf("unread: %+v", f.Unread)
	}
	if len(f.Routes) != 2 || f.Routes[0].Backend != "orders" || f.Routes[1].Backend != "orders" {
		t.Errorf("routes: %+v", f.Routes)
	}
}

func TestRead_says_what_no_rule_can_judge(t *testing.T) {
	dir := t.TempDir()
	foldertest.Write(t, dir, map[string]string{
		"twice.yaml":  "apiVersion: v1\nkind: Service\nkind: Service\n",
		"within.yaml": "apiVersion: v1\nkind: Service\nmetadata: &a\n  labels: *a\n",
	})
	if err := os.Symlink("gone", filepath.Join(dir, "lock.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []Unread{
		{"lock.yaml", 1, "is a link to nothing"},
		{"pipe.yaml", 1, "is no regular file"},
		{"twice.yaml", 3, "line 3: mapping key \"kind\" already defined at line 2"},
		{"within.yaml", 1, "anchor 'a' value contains itself"},
	}
	if !slices.Equal(f.Unread, want) || len(f.Documents) != 0 {
		t.Errorf("unread: %+v, documents: %+v", f.Unread, f.Documents)
	}
}

func TestRead_leaves_out_JSON_that_it_cannot_take_in(t *testing.T) {
	dir := t.TempDir()
	foldertest.Write(t, dir, map[string]string{
		"data/orders.json": `[{"apiVersion": 1, "kind": "order"}` + strings.Repeat(" ", fileBytesMax) + `]`,
		"broken.json":      `{"apiVersion": "v1", "kind": ]`,
	})
	for link, to := range map[string]string{"gone.json": "nowhere", "itself.json": "itself.json", "folder.json": "data"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Unread) != 1 || f.Unread[0].File != "broken.json" {
		t.Errorf("unread: %+v", f.Unread)
	}
}

func TestRead_finds_addresses_in_every_place_of_settings(t *testing.T) {
	f := read(t, map[string]string{
		"compose.yaml": "services:\n  a:\n    image: a\n    env_file: a.env\n    environment: [\"STOCK=stock:80\"]\n    command: [\"--stock=http://stock/x\"]\n",
		"a.env":        "# where\nSTOCK_URL=\"https://user:word@stock.shop.svc.cluster.local:443/api\"\n",
		"k8s.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}\nspec:\n  template:\n    spec:\n      containers:\n      - image: b\n        envFrom:\n        - configMapRef: {name: m}\n" +
			"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata:\n  BROKERS: kafka-0:9092,kafka-1:9092\n  TEXT: no address\n",
	})
	got := map[string]int{}
	for _, w := range f.Workloads {
		for _, target := range w.Targets {
			got[w.Name+" "+target.Name+" "+target.Scheme+" "+target.Host+" "+target.File] = target.Line
		}
	}
	for want, line := range map[string]int{
		"a STOCK  stock compose.yaml": 5, "a stock http stock compose.yaml": 6, "a STOCK_URL https stock a.env": 2,
		"b BROKERS  kafka-0 k8s.yaml": 16, "b BROKERS  kafka-1 k8s.yaml": 16,
	} {
		if got[want] != line {
			t.Errorf("%q at line %d, want %d", want, got[want], line)
		}
	}
	if len(got) != 5 {
		t.Errorf("targets: %v", got)
	}
}

func TestRoleOf_tells_services_from_what_they_stand_on(t *testing.T) {
	for role, workloads := range map[string][]Workload{
		Service: {
			{Images: []string{"registry.example.com/shop/orders:1"}},
			{Images: []string{"shop"}, Command: []string{"run", "--roles", "processors,sink"}},
			{Images: []string{"shop", "envoyproxy/envoy"}},
			{Images: []string{"example.com/kafka-orders"}},
			{Images: []string{"example.com/order-postgres"}},
			{Images: []string{"node:22"}},
			{Images: []string{"node:22"}, Command: []string{"npm", "run", "dev"}},
			{Images: []string{"shop/prices"}, Command: []string{"prices", "--env", "dev"}},
			{Images: []string{"confluentinc/cp-kafka"}, Labels: map[string]string{"nexus.role": "service"}},
		},
		Gateway: {
			{Images: []string{"shop"}, Command: []string{"run", "--roles=gateway,processors"}},
			{Images: []string{"shop"}, Command: []string{"nexus", "dev"}},
			{Images: []string{"shop"}, Command: []string{"run", "--config", "nexus.yaml"}},
			{Images: []string{"shop"}, Command: []string{"nexus", "run", "--instance", "a", "--config", "nexus.yaml"}},
		},
		Infrastructure: {
			{Images: []string{"confluentinc/cp-kafka:7.9"}},
			{Images: []string{"docker.io/library/postgres@sha256:abc"}},
			{Images: []string{"localhost:5000/prom/prometheus:v3"}},
			{Images: []string{"otel/opentelemetry-collector-contrib:0.99"}},
			{Images: []string{"apicurio/apicurio-registry-sql"}},
			{Images: []string{"prom/node-exporter"}},
		},
	} {
		for _, w := range workloads {
			if got := roleOf(&w); got != role {
				t.Errorf("%v is %s, want %s", w, got, role)
			}
		}
	}
}
