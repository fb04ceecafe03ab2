package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/internal/programtest"
)

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// The HTTP reference is executed as written, top to bottom, on a new system
// with the sample data; only the address is the test's own.
func TestDocs_every_curl_of_the_reference_works(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("curl is needed to run the documentation as written: install it")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "reference", "http.md"))
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t)
	n.sample = true
	e := n.start(t)
	n.loaded(t)
	blocks := shellBlock.FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 14 {
		t.Fatalf("%d examples only", len(blocks))
	}
	for _, block := range blocks {
		script := strings.ReplaceAll(block[1], "http://127.0.0.1:8080", e.API)
		out, err := exec.Command("bash", "-euo", "pipefail", "-c", script).CombinedOutput()
		if err != nil {
			t.Errorf("%s\n%v\n%s", block[1], err, programtest.Tail(string(out)))
			continue
		}
		judge(t, block[1], string(out))
	}
	n.stop(t)
}

// What the program suggests for a first look works, whatever is in the folder.
func TestDev_suggests_what_works(t *testing.T) {
	n := newNode(t)
	n.start(t)
	n.loaded(t)
	suggested := func() (lines []string) {
		_, after, _ := strings.Cut(n.Log.String(), "\ntry\n")
		for line := range strings.Lines(after) {
			if curl, ok := strings.CutPrefix(line, "  curl "); ok {
				lines = append(lines, "curl "+curl)
			}
		}
		return lines
	}
	lines := suggested()
	for _, line := range lines {
		out, err := exec.Command("bash", "-euo", "pipefail", "-c", line).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, programtest.Tail(string(out)))
		}
		judge(t, line, string(out))
	}
	n.stop(t)
	n.sample = true
	n.start(t)
	n.loaded(t)
	if again := suggested(); len(lines) < 2 || len(again) != len(lines) {
		t.Errorf("without the sample data it suggests\n%s\nand, started again,\n%s", strings.Join(lines, ""), strings.Join(again, ""))
	}
	n.stop(t)
}

// judge demands an answer that is no problem, apart from the line that shows
// one.
func judge(t *testing.T, example, out string) {
	t.Helper()
	if strings.Contains(example, "/metrics") {
		for _, metric := range []string{"nexus_outcomes_total{", `nexus_transactions_total{end="committed",group="shop.order"}`, "nexus_group_sessions_total{"} {
			if !strings.Contains(out, metric) {
				t.Errorf("%s\nno %s: %s", example, metric, programtest.Tail(out))
			}
		}
		return
	}
	for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
		var answer map[string]any
		if err := json.Unmarshal([]byte(line), &answer); err != nil && !strings.Contains(example, "openapi") {
			t.Errorf("%s\nanswers no JSON: %v\n%s", example, err, programtest.Tail(out))
			return
		}
		shown := strings.Contains(example, "--data-binary") && i == 1
		if _, problem := answer["code"]; problem != shown {
			t.Errorf("%s\nline %d: %s", example, i+1, programtest.Tail(line))
		}
	}
}
