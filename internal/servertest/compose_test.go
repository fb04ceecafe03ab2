package servertest

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const deploy = "../../deploy"

// compose is what we use of the file; a key that is not here is an error, so that a
// slip of the pen is not taken for nothing.
type compose struct {
	Name     string
	Services map[string]struct {
		Image       string
		Ports       []string
		Environment map[string]string
		Healthcheck struct {
			Test              []string
			Interval, Timeout string
			Retries           int
		}
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deploy, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// find is the first group of a pattern in a file of deploy.
func find(t *testing.T, path, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text(t, path))
	if m == nil {
		t.Fatalf("%s holds no %s", path, pattern)
	}
	return m[1]
}

// properties reads a .properties file.
func properties(t *testing.T, path string) map[string]string {
	t.Helper()
	read := map[string]string{}
	for line := range strings.Lines(text(t, path)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("%s: no = in %q", path, line)
		}
		read[name] = value
	}
	return read
}

func TestCompose(t *testing.T) {
	var c compose
	d := yaml.NewDecoder(strings.NewReader(text(t, "compose.yaml")))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(c.Services)); !slices.Equal(got, []string{"elasticsearch", "kafka", "registry"}) {
		t.Fatalf("services %v", got)
	}

	t.Run("images are the versions of the scripts", func(t *testing.T) {
		for service, want := range map[string]string{
			"kafka":    "apache/kafka:" + find(t, "local/kafka.sh", `(?m)^VERSION=(.+)$`),
			"registry": "apicurio/apicurio-registry:" + find(t, "local/registry.sh", `(?m)^VERSION=(.+)$`),
		} {
			if got := c.Services[service].Image; got != want {
				t.Errorf("%s is %s, not %s", service, got, want)
			}
		}
		// The scripts can only have 7.17; Docker shows the other major that Nexus supports.
		if got := c.Services["elasticsearch"].Image; !strings.HasPrefix(got, "docker.elastic.co/elasticsearch/elasticsearch:8.") {
			t.Errorf("elasticsearch is %s, not 8", got)
		}
	})

	t.Run("ports are those of make stack-up, on loopback", func(t *testing.T) {
		ports := strings.Fields(find(t, "local/stack.sh", `STACK_PORTS:-([0-9 ]+)}`))
		for i, service := range []string{"kafka", "registry", "elasticsearch"} {
			got := c.Services[service].Ports
			if len(got) != 1 || !strings.HasPrefix(got[0], "127.0.0.1:"+ports[i]+":") {
				t.Errorf("%s is published as %v, not at 127.0.0.1:%s", service, got, ports[i])
			}
		}
	})

	t.Run("the broker's settings are those of kafka.properties", func(t *testing.T) {
		want := properties(t, "local/kafka.properties")
		for _, name := range []string{"auto.create.topics.enable", "transaction.state.log.replication.factor", "transaction.state.log.min.isr"} {
			if want[name] == "" {
				t.Errorf("kafka.properties says nothing of %s", name)
			}
		}
		env := c.Services["kafka"].Environment
		for name, value := range want {
			variable := "KAFKA_" + strings.ToUpper(strings.ReplaceAll(name, ".", "_"))
			if env[variable] != value {
				t.Errorf("%s is %q; kafka.properties says %s=%s", variable, env[variable], name, value)
			}
			delete(env, variable)
		}
		// What remains is where the broker is, not how it behaves.
		places := []string{
			"KAFKA_ADVERTISED_LISTENERS", "KAFKA_CONTROLLER_LISTENER_NAMES", "KAFKA_CONTROLLER_QUORUM_VOTERS", "KAFKA_HEAP_OPTS",
			"KAFKA_INTER_BROKER_LISTENER_NAME", "KAFKA_LISTENERS", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "KAFKA_NODE_ID", "KAFKA_PROCESS_ROLES",
		}
		if got := slices.Sorted(maps.Keys(env)); !slices.Equal(got, places) {
			t.Errorf("further settings: %v, not %v", got, places)
		}
	})

	t.Run("the registry refuses what breaks readers, as that of registry.sh", func(t *testing.T) {
		want := find(t, "local/registry.sh", `-Dapicurio\.rules\.global\.compatibility=(\w+)`)
		if got := c.Services["registry"].Environment["APICURIO_RULES_GLOBAL_COMPATIBILITY"]; got != want {
			t.Errorf("the level is %q, not %s", got, want)
		}
	})

	t.Run("Elasticsearch is one open node", func(t *testing.T) {
		env := c.Services["elasticsearch"].Environment
		if env["discovery.type"] != "single-node" || env["xpack.security.enabled"] != "false" {
			t.Errorf("environment %v", env)
		}
	})
}

func TestThreeBrokersLoseNothingWithOne(t *testing.T) {
	set := properties(t, "local/kafka.properties")
	maps.Copy(set, properties(t, "local/kafka-3.properties")) // later lines win
	for name, want := range map[string]string{
		"default.replication.factor": "3", "min.insync.replicas": "2", "offsets.topic.replication.factor": "3",
		"transaction.state.log.replication.factor": "3", "transaction.state.log.min.isr": "2", "unclean.leader.election.enable": "false",
	} {
		if set[name] != want {
			t.Errorf("%s is %q, not %s", name, set[name], want)
		}
	}
}
