package faults

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// instance is a name under which processes run, one after the other, on one
// folder and one configuration file.
type instance struct {
	name, data, file string
	program          string       // what begins next; empty: binary
	api              atomic.Value // string: address of the process that was ready last
	pid              int          // 0: none runs
	log              transcript
	done             chan error
}

// transcript takes what processes print while the test reads it.
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

// address is where the process that was ready last takes requests, or took them.
func (i *instance) address() string {
	address, _ := i.api.Load().(string)
	return address
}

// settings are the lines of a configuration file.
type settings map[string]string

// configure writes the instance's file.
func (i *instance) configure(t *testing.T, s settings) {
	t.Helper()
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s: %q\n", key, s[key])
	}
	if err := os.WriteFile(i.file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// begin starts a process and does not wait.
func (i *instance) begin(t *testing.T) {
	t.Helper()
	cmd := exec.Command(cmp.Or(i.program, binary), "run", "--config", i.file)
	cmd.Stdout, cmd.Stderr = &i.log, &i.log
	if err := begin(cmd); err != nil {
		t.Fatal(err)
	}
	i.pid, i.done = cmd.Process.Pid, make(chan error, 1)
	go func(done chan error) { done <- cmd.Wait() }(i.done)
}

// ready waits for the process to be ready.
func (i *instance) ready(t *testing.T) {
	t.Helper()
	i.eventually(t, "it is ready", func() bool {
		var e struct {
			API string
			PID int
		}
		text, err := os.ReadFile(filepath.Join(i.data, "endpoints.json"))
		if err != nil || json.Unmarshal(text, &e) != nil || e.PID != i.pid {
			return false
		}
		i.api.Store(e.API)
		return true
	})
}

// eventually polls until f answers true, while the process lives.
func (i *instance) eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	eventually(t, i.name+": "+what, func() bool {
		if i.ended() {
			t.Fatalf("%s ended before %s:\n%s", i.name, what, tail(i.log.String()))
		}
		return f()
	})
}

// ended says whether the process has ended by itself.
func (i *instance) ended() bool {
	select {
	case err := <-i.done:
		i.done <- err
		return true
	default:
		return false
	}
}

func (i *instance) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if i.pid == 0 {
		t.Fatalf("%s does not run", i.name)
	}
	if err := syscall.Kill(-i.pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatalf("%s to %s: %v", s, i.name, err)
	}
}

// kill ends the process as a crash does.
func (i *instance) kill(t *testing.T) {
	t.Helper()
	i.signal(t, syscall.SIGKILL)
	<-i.done
	i.pid = 0
}

// exit waits for the end of the process and returns its exit code.
func (i *instance) exit(t *testing.T) int {
	t.Helper()
	select {
	case err := <-i.done:
		i.pid = 0
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit):
			return exit.ExitCode()
		case err != nil:
			t.Fatalf("waiting for %s: %v", i.name, err)
		}
		return 0
	case <-time.After(patience):
		i.signal(t, syscall.SIGQUIT) // every goroutine goes into the log
		<-i.done
		i.pid = 0
		t.Fatalf("%s did not end within %v:\n%s", i.name, patience, tail(i.log.String()))
		return -1
	}
}

// stop ends the process as an operator does and demands a clean exit.
func (i *instance) stop(t *testing.T) {
	t.Helper()
	i.signal(t, syscall.SIGTERM)
	if code := i.exit(t); code != 0 {
		t.Fatalf("%s, told to stop, ended with %d:\n%s", i.name, code, tail(i.log.String()))
	}
}

var generations = regexp.MustCompile(`msg=running .*generation=(\d+)`)

// generation is the greatest group generation that the instance took part in.
func (i *instance) generation() int {
	greatest := 0
	for _, m := range generations.FindAllStringSubmatch(i.log.String(), -1) {
		if n, err := strconv.Atoi(m[1]); err == nil {
			greatest = max(greatest, n)
		}
	}
	return greatest
}
