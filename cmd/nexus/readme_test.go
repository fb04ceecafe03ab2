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

	"github.com/nexusblueprint/nexus/internal/programtest"
)

// The README's way onto Kafka is executed as written; only ports and folders
// are the test's own, so that a stack of the developer's may stand beside it.
// While the stack is still empty, a laptop moves onto it as its page says.
func TestReadme_runs_on_kafka_as_written(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(read(t, "README.md"), "## Run it on your Kafka")
	block := shellBlock.FindStringSubmatch(section)
	if block == nil {
		t.Fatal("the README has no section with commands for Kafka")
	}
	if lines := strings.Count(block[1], "\n"); lines != 10 {
		t.Errorf("%d lines instead of ten", lines)
	}
	ports := freePorts(t, 5) // the broker's controller takes the port 10 above
	kafka, registry, search, api := ports[0], ports[1], ports[2], fmt.Sprintf("127.0.0.1:%d", ports[3])
	stack := filepath.Join(t.TempDir(), "run")
	own := strings.NewReplacer("127.0.0.1:8080", api, "deploy/local/run/", stack+"/", "127.0.0.1:29092", fmt.Sprintf("127.0.0.1:%d", kafka),
		"127.0.0.1:28081", fmt.Sprintf("127.0.0.1:%d", registry), "127.0.0.1:29200", fmt.Sprintf("127.0.0.1:%d", search))
	script := at(api, own.Replace(block[1]))

	move, laptop := moveToKafka(t, own, api)
	const up = "export PATH=$PWD/bin:$PATH\n"
	begin, rest, found := strings.Cut(script, up)
	if !found {
		t.Fatalf("the README does not say %q", up)
	}
	script = begin + up + "(\n" + move + ")\n" + rest

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
		t.Fatalf("%v\n%s", err, programtest.Tail(string(out)))
	}
	for _, part := range []string{"2025 accepted", "I5  ok", "shop.order ", "stopped"} {
		if !strings.Contains(string(out), part) {
			t.Errorf("no word of %q in:\n%s", part, programtest.Tail(string(out)))
		}
	}
	laptop.stop(t)
}

// moveToKafka is what the page on it says, from a laptop with real orders of its
// own, in a folder of its own. It ends with a command that is sent again.
func moveToKafka(t *testing.T, own *strings.Replacer, api string) (script string, laptop *node) {
	t.Helper()
	page := read(t, "docs", "how-to", "move-to-kafka.md")
	blocks := shellBlock.FindAllStringSubmatch(page, -1)
	settings := yamlBlock.FindStringSubmatch(page)
	if len(blocks) != 3 || settings == nil {
		t.Fatalf("the page has %d blocks of commands and the settings %q", len(blocks), settings)
	}
	laptop = newNode(t)
	e := laptop.start(t)
	programtest.Must(t, "load", "online-retail", filepath.Join("..", "..", "shop", "data", "2011-01.csv.gz"), "--server", e.API)
	once := func(api string) string {
		return "curl -fsS -H 'Content-Type: application/json' -H 'Idempotency-Key: moved-1' -d '{\"sku\":\"22423\",\"description\":\"MUG\",\"quantity\":5,\"reference\":\"moved\"}' " + api + "/api/commands/ReceiveStock | sed 's/\"position.*//'\n"
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "nexus.yaml"), []byte(own.Replace(settings[1])), 0o600); err != nil {
		t.Fatal(err)
	}
	script = "cd " + dir + "\nfirst=$(" + once(e.API) + ")\n" + at(strings.TrimPrefix(e.API, "http://"), blocks[0][1])
	for _, block := range blocks[1:] {
		script += at(api, own.Replace(block[1]))
	}
	return script + "again=$(" + once("http://"+api) + ")\n[ \"$again\" = \"$first\" ]\nkill %1 && wait %1\n", laptop
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// at names the server in commands of tools: they ask at 8080 unless they are told
// another address.
func at(api, script string) string {
	return regexp.MustCompile(`nexus (load|figures|check|events export)`).ReplaceAllString(script, "nexus $1 --server http://"+api)
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
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
