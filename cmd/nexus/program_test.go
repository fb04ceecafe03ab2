package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the program as a user builds it.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "nexus")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "nexus")
	build := exec.Command("go", "build", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// node is one data folder and the process that runs on it.
type node struct {
	t    *testing.T
	data string
	args []string
	// sample leaves the sample data to be loaded by the first start.
	sample bool
	cmd    *exec.Cmd
	log    transcript
	done   chan error
}

// transcript takes what a process prints while the test reads it.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *transcript) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *transcript) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *transcript) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Reset()
}

func newNode(t *testing.T, args ...string) *node {
	t.Helper()
	n := &node{t: t, data: filepath.Join(t.TempDir(), "data"), args: args}
	t.Cleanup(func() {
		if n.cmd != nil {
			n.kill()
		}
		if t.Failed() {
			t.Logf("log of the last process:\n%s", tail(n.log.String()))
		}
	})
	return n
}

type endpoints struct {
	API, Bus, Registry string
	PID                int
}

// start runs nexus dev and returns once it is ready.
func (n *node) start() endpoints {
	n.t.Helper()
	n.begin()
	return n.ready()
}

// begin runs nexus dev.
func (n *node) begin() {
	n.t.Helper()
	args := append([]string{"dev", "--data", n.data, "--listen", "127.0.0.1:0", "--bus-listen", "127.0.0.1:0", "--registry-listen", "127.0.0.1:0", "-v"}, n.args...)
	if !n.sample {
		args = append(args, "--no-sample")
	}
	n.cmd = exec.Command(binary, args...)
	n.log.Reset()
	n.cmd.Stdout, n.cmd.Stderr = &n.log, &n.log
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(n.cmd, n.done)
}

// ready waits for the endpoints of the running process.
func (n *node) ready() endpoints {
	n.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for time.Now().Before(deadline) {
		select {
		case err := <-n.done:
			n.cmd = nil
			n.t.Fatalf("nexus dev ended while starting: %v\n%s", err, tail(n.log.String()))
		default:
		}
		var e endpoints
		text, err := os.ReadFile(filepath.Join(n.data, "endpoints.json"))
		if err == nil && json.Unmarshal(text, &e) == nil && e.PID == n.cmd.Process.Pid {
			return e
		}
		wait(5 * time.Millisecond)
	}
	n.t.Fatalf("nexus dev is not ready after a minute:\n%s", tail(n.log.String()))
	return endpoints{}
}

// loaded waits until the sample data is in.
func (n *node) loaded() {
	n.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); wait(20 * time.Millisecond) {
		if strings.Contains(n.log.String(), "\ntry\n") {
			return
		}
	}
	n.t.Fatalf("the sample data is not loaded after three minutes:\n%s", tail(n.log.String()))
}

// kill ends the process as a crash does.
func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	<-n.done
	n.cmd = nil
}

// stop ends the process as Ctrl-C does and demands a clean exit.
func (n *node) stop() {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGINT); err != nil {
		n.t.Fatal(err)
	}
	select {
	case err := <-n.done:
		n.cmd = nil
		if err != nil {
			n.t.Fatalf("nexus dev ended with %v:\n%s", err, tail(n.log.String()))
		}
	case <-time.After(30 * time.Second):
		n.t.Fatalf("nexus dev does not end:\n%s", tail(n.log.String()))
	}
	if _, err := os.Stat(filepath.Join(n.data, "endpoints.json")); !errors.Is(err, os.ErrNotExist) {
		n.t.Errorf("endpoints.json is there after a clean stop: %v", err)
	}
}

// run executes a subcommand and returns what it printed and its exit code.
func run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// must is run for what has to succeed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	out, code := run(t, args...)
	if code != 0 {
		t.Fatalf("nexus %s: exit code %d\n%s", strings.Join(args, " "), code, tail(out))
	}
	return out
}

func wait(d time.Duration) { <-time.After(d) }

func tail(s string) string {
	const bytesMax = 6000
	if len(s) > bytesMax {
		return "…" + s[len(s)-bytesMax:]
	}
	return s
}
