package servertest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// stack runs stack.sh on a folder and ports of this test.
func stack(t *testing.T, verb, dir, ports string) (string, error) {
	t.Helper()
	cmd := exec.Command("bash", filepath.Join(deploy, "local", "stack.sh"), verb)
	cmd.Env = append(os.Environ(), "STACK_DIR="+dir, "STACK_PORTS="+ports, "KAFKA_OPTS=-XX:TieredStopAtLevel=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// freePorts are three ports that nobody listens on, nor on what a Kafka there also takes.
func freePorts(t *testing.T) string {
	t.Helper()
	var ports []string
	for base := 24000 + os.Getpid()%1000; len(ports) < 3 && base < 32000; base += 20 {
		free := func(port int) bool {
			l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
			if err == nil {
				l.Close()
			}
			return err == nil
		}
		if free(base) && free(base+10) {
			ports = append(ports, fmt.Sprint(base))
		}
	}
	if len(ports) < 3 {
		t.Fatal("no free ports between 24000 and 32000")
	}
	return strings.Join(ports, " ")
}

func TestStack(t *testing.T) {
	dir, ports := t.TempDir(), freePorts(t)
	t.Cleanup(func() {
		for range 2 { // the second finds nothing to do
			if out, err := stack(t, "down", dir, ports); err != nil {
				t.Errorf("down: %v\n%s", err, out)
			}
		}
		for _, port := range strings.Fields(ports) {
			if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
				c.Close()
				t.Errorf("somebody still listens on %s", port)
			}
		}
	})

	t.Run("says which port is taken, and starts nothing", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:"+strings.Fields(ports)[1])
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out, err := stack(t, "up", dir, ports)
		if want := "port " + strings.Fields(ports)[1] + " of 127.0.0.1 is taken"; err == nil || !strings.Contains(out, want) {
			t.Fatalf("%v, not %q:\n%s", err, want, out)
		}
	})

	for range 2 { // the second finds all of it running
		if out, err := stack(t, "up", dir, ports); err != nil {
			t.Fatalf("up: %v\n%s", err, out)
		}
	}

	text, err := os.ReadFile(filepath.Join(dir, "nexus.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]string
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	get := func(url string) string {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	if c, err := net.Dial("tcp", strings.TrimPrefix(config["bus"], "kafka://")); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	if got := get(config["registry"] + "/config"); !strings.Contains(got, "BACKWARD_TRANSITIVE") {
		t.Errorf("the registry of nexus.yaml says %s", got)
	}
	if got := get(strings.TrimPrefix(config["search"], "elasticsearch+")); !strings.Contains(got, "lucene_version") {
		t.Errorf("the search store of nexus.yaml says %s", got)
	}
	if config["listen"] != "127.0.0.1:8080" || config["data"] != filepath.Join(dir, "nexus-data") || len(config) != 5 {
		t.Errorf("nexus.yaml: %v", config)
	}
	for _, log := range []string{"kafka-1.out", "apicurio.out", "elasticsearch.out"} {
		if _, err := os.Stat(filepath.Join(dir, "logs", log)); err != nil {
			t.Error(err)
		}
	}
}
