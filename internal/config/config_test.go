package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "rewrite the reference page")

func load(t *testing.T, file string, env map[string]string, args ...string) (*Config, error) {
	t.Helper()
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "nexus.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(Sources{File: path, Flags: fs, Lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
}

const stack = `
listen: 127.0.0.1:8080
data: ./nexus-data
bus: kafka://127.0.0.1:29092
registry: http://127.0.0.1:28081/apis/ccompat/v7
search: elasticsearch+http://127.0.0.1:29200
`

func TestLoad_the_file_then_the_environment_then_flags(t *testing.T) {
	c, err := load(t, stack+"instance: a\nroles: [sink, gateway]\n", map[string]string{"NEXUS_LISTEN": "127.0.0.1:1", "NEXUS_DATA": "/env", "NEXUS_BUS_USER": "u", "NEXUS_BUS_PASSWORD": "p"}, "--data", "/flag", "--bus-mechanism", "PLAIN")
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(c.Roles, c.Listen, c.Data, c.Instance, c.Bus.Brokers(), c.Bus.User, c.Bus.Password.Reveal(), c.Bus.Mechanism, c.Registry.URL, c.Search.HTTP())
	want := "[sink gateway] 127.0.0.1:1 /flag a [127.0.0.1:29092] u p PLAIN http://127.0.0.1:28081/apis/ccompat/v7 http://127.0.0.1:29200\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := fmt.Sprint(c.Bus.Platform(), c.Stated()["data"], c.Stated()["bus.password"]); got != "[User:u] {/flag --data} { NEXUS_BUS_PASSWORD}" {
		t.Errorf("stated: %s", got)
	}
}

func TestLoad_a_section_is_its_URL_or_a_mapping(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, "bus: {url: 'kafka+tls://a:1,b:2', user: u, passwordFile: "+secret+", allowTransactionV1: true}\nregistry: https://r\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Bus.TLS() || len(c.Bus.Brokers()) != 2 || c.Bus.Password.Reveal() != "hush" || !c.Bus.AllowTransactionV1 || c.Bus.Mechanism != ScramSHA512 {
		t.Errorf("%+v", c.Bus)
	}
}

func TestLoad_without_anything_is_the_embedded_system(t *testing.T) {
	c, err := load(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Bus.Embedded() || !c.Registry.Embedded() || !c.Search.Embedded() || len(c.Roles) != len(known) || c.Instance == "" {
		t.Errorf("%+v", c)
	}
}

// Every fault is named at once, with its place.
func TestLoad_names_all_faults(t *testing.T) {
	for _, c := range []struct {
		name, file string
		env        map[string]string
		args       []string
		want       []string
	}{
		{"unknown and misspelt keys", "lissen: x\nbus: {usr: x}\nurl: x\nLISTEN: x\n", nil, nil, []string{
			"nexus.yaml:1:1: unknown key lissen; the keys are in", "nexus.yaml:2:7: unknown key bus.usr", "nexus.yaml:3:1: unknown key url: is bus.url meant?", "nexus.yaml:4:1: unknown key LISTEN: is listen meant?",
		}},
		{"values of the wrong kind", stack + "roles: gateway,router\nreplication: many\nstandby: perhaps\ngovernance: off\n", map[string]string{"NEXUS_LISTEN": "8080"}, []string{"--bus-mechanism", "GSSAPI"}, []string{
			`nexus.yaml:7:8: roles: there is no role "router": gateway, processors, sink are known`, "nexus.yaml:8:14: replication:", "nexus.yaml:9:10: standby:", `nexus.yaml:10:13: governance: "off": enforce or warn is wanted`, "NEXUS_LISTEN: listen:", "--bus-mechanism: bus.mechanism:",
		}},
		{"addresses", "bus: kafka://a,b:2/x\nregistry: ftp://r\nsearch: http://s\n", nil, nil, []string{`nexus.yaml:1:6: bus.url: "a"`, `bus.url: "b:2/x"`, "nexus.yaml:2:11: registry.url:", "nexus.yaml:3:9: search.url:"}},
		{"a password in the file", "bus: {url: 'kafka://a:1', user: u, password: hush}\nregistry: http://r\n", nil, nil, []string{"bus.password does not belong into this file: set NEXUS_BUS_PASSWORD, or name a file with bus.passwordFile"}},
		{"a password in an address", "bus: kafka://u:hush@a:1\nregistry: http://u:hush@r\nsearch: elasticsearch+http://u:hush@s\n", nil, nil, []string{`bus.url: "…@a:1"`, "registry.url: credentials do not belong into the address", "search.url: credentials"}},
		{"halves of pairs", stack, map[string]string{"NEXUS_BUS_USER": "u", "NEXUS_SEARCH_PASSWORD": "hush"}, []string{"--bus-ca-file", "x"}, []string{"NEXUS_BUS_USER: bus.user: the password is missing", "search.user: a password is given, but no user", "--bus-ca-file: bus.caFile: it has no meaning without TLS"}},
		{"the embedded broker has all roles", "roles: gateway\n", nil, nil, []string{"nexus.yaml:1:8: roles: the embedded broker lives in one process"}},
		{"no embedded registry beside Kafka", "bus: kafka://a:1\n", nil, nil, []string{"default: registry.url: the embedded registry goes with the embedded broker"}},
		{"an embedded store apart from its reader", "bus: kafka://a:1\nregistry: http://r\nroles: sink\n", nil, nil, []string{"search.url: the embedded store lives in one process"}},
		{"twice", "listen: a:1\nlisten: b:1\n", nil, nil, []string{"nexus.yaml:2:1: listen is there twice"}},
		{"a second document", "listen: a:1\n---\nlisten: b:1\n", nil, nil, []string{"nexus.yaml:2: a second document begins here"}},
		{"a second document after an empty one", "---\n---\nlisten: b:1\n", nil, nil, []string{"nexus.yaml:2: a second document begins here"}},
		{"a second document that is none", "listen: a:1\n---\na: [\n", nil, nil, []string{"nexus.yaml: line"}},
		{"no mapping", "- a\n", nil, nil, []string{"nexus.yaml:1:1: keys with values are wanted here"}},
		{"no YAML", "a: [\n", nil, nil, []string{"nexus.yaml: line"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.file, c.env, c.args...)
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("error %v", err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("no word of %q in:\n%v", part, err)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("a secret is printed: %v", err)
			}
		})
	}
}

// What is no file of a size for settings is refused before it is opened: a pipe would be waited for.
func TestLoad_reads_regular_files_alone(t *testing.T) {
	dir := t.TempDir()
	pipe, large := filepath.Join(dir, "pipe"), filepath.Join(dir, "large")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, make([]byte, fileBytesMax+1), 0o600); err != nil {
		t.Fatal(err)
	}
	none := func(string) (string, bool) { return "", false }
	for path, want := range map[string]string{
		pipe: "is a pipe or a device", "/dev/zero": "is a pipe or a device", dir: "is a folder", large: "has 1048577 bytes, more than 1048576",
		filepath.Join(dir, "missing"): "no such file or directory",
	} {
		if _, err := Load(Sources{File: path, Lookup: none}); err == nil || !strings.Contains(err.Error(), path+": "+want) || !strings.Contains(err.Error(), "name a file of settings with --config") {
			t.Errorf("%s: %v; want: %s", path, err, want)
		}
		env := map[string]string{"NEXUS_BUS_PASSWORD_FILE": path}
		if _, err := Load(Sources{Lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}); err == nil || !strings.Contains(err.Error(), "NEXUS_BUS_PASSWORD_FILE: bus.passwordFile: "+path+": "+want) {
			t.Errorf("a password in %s: %v; want: %s", path, err, want)
		}
	}
}

func TestSecret_is_never_printed(t *testing.T) {
	c := struct {
		Bus Bus
		S   Secret
		P   *Secret
	}{Bus{Password: NewSecret("hush")}, NewSecret("hush"), &Secret{"hush"}}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", c.S, "all", c)
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(c.S), fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c.S, c.S), string(asJSON), log.String(), fmt.Sprintf("%v", c.P)} {
		if strings.Contains(text, "hush") {
			t.Errorf("printed: %s", text)
		}
	}
}

func TestWarnings(t *testing.T) {
	c, err := load(t, strings.ReplaceAll(stack, "127.0.0.1", "10.0.0.1"), map[string]string{
		"NEXUS_BUS_USER": "u", "NEXUS_BUS_PASSWORD": "p", "NEXUS_BUS_MECHANISM": "PLAIN", "NEXUS_REGISTRY_USER": "u", "NEXUS_REGISTRY_PASSWORD": "p",
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Warnings(); len(got) != 2 {
		t.Errorf("%d warnings: %q", len(got), got)
	}
}

func TestWarnings_of_secrets_that_others_may_read(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o400: "",
		0o640: "bus.passwordFile: " + file + " (mode 0640) is open to other users of this machine: chmod 600 " + file,
		0o604: "bus.passwordFile: " + file + " (mode 0604) is open to other users of this machine: chmod 600 " + file,
	} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		c, err := load(t, stack, map[string]string{"NEXUS_BUS_USER": "u", "NEXUS_BUS_PASSWORD_FILE": file})
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, text := range c.Warnings() {
			if strings.Contains(text, file) {
				all = append(all, text)
			}
		}
		if got := strings.Join(all, "\n"); got != want {
			t.Errorf("%04o: %q, want %q", mode, got, want)
		}
	}
}

// A secret of another user's is for the group that he chose, and for no others.
func TestExposed_of_another_user(t *testing.T) {
	for mode, want := range map[os.FileMode]string{0o440: "", 0o444: "/run/s (mode 0444) is another user's and open to all of this machine: chmod 640 /run/s, with a group of this process; for a secret that Kubernetes mounts, defaultMode: 0440 and an fsGroup"} {
		if got := exposed("/run/s", anothers{mode}); got != want {
			t.Errorf("%04o: %q, want %q", mode, got, want)
		}
	}
}

// anothers is what the system says of a file of another user.
type anothers struct{ mode os.FileMode }

func (a anothers) Name() string       { return "s" }
func (a anothers) Size() int64        { return 4 }
func (a anothers) Mode() os.FileMode  { return a.mode }
func (a anothers) ModTime() time.Time { return time.Time{} }
func (a anothers) IsDir() bool        { return false }
func (a anothers) Sys() any           { return &syscall.Stat_t{Uid: uint32(os.Geteuid()) + 1} }

func TestReference_page_is_up_to_date(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "reference", "config.md")
	if *update {
		if err := os.WriteFile(page, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil || string(got) != Reference() {
		t.Errorf("%s is stale (%v): go test ./internal/config -update", page, err)
	}
}
