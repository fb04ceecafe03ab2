package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/programtest"
)

func TestMain(m *testing.M) { programtest.Main(m) }

// node is one data folder and the process of nexus dev that runs on it. Its log is
// that of the last process.
type node struct {
	*programtest.Process
	// sample leaves the sample data to be loaded by the first start.
	sample bool
}

func newNode(t *testing.T) *node {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	return &node{Process: programtest.New(t, "nexus dev", data, "dev", "--data", data,
		"--listen", "127.0.0.1:0", "--bus-listen", "127.0.0.1:0", "--registry-listen", "127.0.0.1:0", "-v")}
}

// start runs nexus dev and returns once it is ready.
func (n *node) start(t *testing.T) programtest.Endpoints {
	t.Helper()
	n.Log.Reset()
	if n.sample {
		return n.Start(t)
	}
	return n.Start(t, "--no-sample")
}

// loaded waits until the sample data is in.
func (n *node) loaded(t *testing.T) {
	t.Helper()
	n.Eventually(t, "the sample data is loaded", func() bool { return strings.Contains(n.Log.String(), "\ntry\n") })
}

// stop ends the process as Ctrl-C does and demands a clean exit.
func (n *node) stop(t *testing.T) {
	t.Helper()
	n.Signal(t, syscall.SIGINT)
	if code := n.Exit(t); code != 0 {
		t.Fatalf("nexus dev ended with %d:\n%s", code, programtest.Tail(n.Log.String()))
	}
	if _, err := os.Stat(filepath.Join(n.Data, "endpoints.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("endpoints.json is there after a clean stop: %v", err)
	}
}

func wait(d time.Duration) { <-time.After(d) }
