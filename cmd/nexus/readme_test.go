package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The README's way onto Kafka is executed as written; only ports and folders
// are the test's own, so that a stack of the developer's may stand beside it.
func TestReadme_runs_on_kafka_as_written(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "## Run it on your Kafka")
	block := shellBlock.FindStringSubmatch(section)
	if !found || block == nil {
		t.Fatal("the README has no section with commands for Kafka")
	}
	if lines := strings.Count(block[1], "\n"); lines != 10 {
		t.Errorf("%d lines instead of ten", lines)
	}
	ports := freePorts(t, 5) // the broker's controller takes the port 10 above
	kafka, registry, search, api := ports[0], ports[1], ports[2], fmt.Sprintf("127.0.0.1:%d", ports[3])
	stack := filepath.Join(t.TempDir(), "run")
	script := strings.NewReplacer("127.0.0.1:8080", api, "127.0.0.1:28081", fmt.Sprintf("127.0.0.1:%d", registry), "deploy/local/run/", stack+"/").Replace(block[1])
	// Tools ask at 8080 unless they are told another address.
	script = regexp.MustCompile(`nexus (load|figures|check)`).ReplaceAllString(script, "nexus $1 --server http://"+api)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euxo", "pipefail", "-c", script)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "STACK_DIR="+stack, fmt.Sprintf("STACK_PORTS=%d %d %d", kafka, registry, search), "NEXUS_LISTEN="+api)
	t.Cleanup(func() { // a script that failed leaves its servers
		down := exec.Command("make", "stack-down")
		down.Dir, down.Env = cmd.Dir, cmd.Env
		if out, err := down.CombinedOutput(); err != nil {
			t.Errorf("make stack-down: %v\n%s", err, out)
		}
	})
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, tail(string(out)))
	}
	for _, part := range []string{"2025 accepted", "I5  ok", "shop.order ", "stopped"} {
		if !strings.Contains(string(out), part) {
			t.Errorf("no word of %q in:\n%s", part, tail(string(out)))
		}
	}
}

// freePorts are ports of which the one 10 above is free as well.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		port := l.Addr().(*net.TCPAddr).Port
		above, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+10))
		if err != nil {
			continue
		}
		defer above.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatal("no free ports")
	return nil
}
