package programtest

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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Process is a name under which processes run, one after the other, on one
// data folder.
type Process struct {
	Name string
	Data string     // the data folder
	File string     // the configuration file; "" for one that has none
	Log  Transcript // what all of its processes printed
	// Program is what runs next, of [Build]; "" is the module's own.
	Program string

	args      []string
	endpoints atomic.Pointer[Endpoints]
	pid       int // 0: none runs
	done      chan error
}

// Endpoints are where a process that is ready takes requests.
type Endpoints struct {
	API, Bus, Registry string
	PID                int
}

// New makes a name for processes on a data folder, which run a subcommand. The last one ends with the test, and if
// the test failed, its log tells the end of what was printed.
func New(t testing.TB, name, data string, args ...string) *Process {
	t.Helper()
	p := &Process{Name: name, Data: data, args: args}
	t.Cleanup(func() {
		if p.Runs() {
			p.Kill(t)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, Tail(p.Log.String()))
		}
	})
	return p
}

// Settings are the lines of a configuration file.
type Settings map[string]string

// Instance is an instance of `nexus run` whose configuration file lies in dir, and so does its data folder unless the
// settings name another.
func Instance(t testing.TB, dir, name string, s Settings) *Process {
	t.Helper()
	all := Settings{"instance": name, "listen": "127.0.0.1:0", "data": filepath.Join(dir, name)}
	maps.Copy(all, s)
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s: %q\n", key, all[key])
	}
	file := filepath.Join(dir, name+".yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := New(t, name, all["data"], "run", "--config", file)
	p.File = file
	return p
}

// Begin starts a process and does not wait.
func (p *Process) Begin(t testing.TB, more ...string) {
	t.Helper()
	cmd := exec.Command(cmp.Or(p.Program, binary), slices.Concat(p.args, more)...) //nolint:gosec,noctx // the program, which lives until the test ends it
	cmd.Stdout, cmd.Stderr = &p.Log, &p.Log
	if err := begin(cmd); err != nil {
		t.Fatal(err)
	}
	p.pid, p.done = cmd.Process.Pid, make(chan error, 1)
	go func(done chan error) { done <- cmd.Wait() }(p.done)
}

// Ready waits for the process to be ready.
func (p *Process) Ready(t testing.TB) Endpoints {
	t.Helper()
	var e Endpoints
	p.Eventually(t, "it is ready", func() bool {
		text, err := os.ReadFile(filepath.Join(p.Data, "endpoints.json"))
		return err == nil && json.Unmarshal(text, &e) == nil && e.PID == p.pid
	})
	p.endpoints.Store(&e)
	return e
}

// Start begins a process and waits until it is ready.
func (p *Process) Start(t testing.TB, more ...string) Endpoints {
	t.Helper()
	p.Begin(t, more...)
	return p.Ready(t)
}

// API is where the process that was ready last takes requests, or took them.
func (p *Process) API() string {
	if e := p.endpoints.Load(); e != nil {
		return e.API
	}
	return ""
}

// PID is the id of the process that runs; 0: none does.
func (p *Process) PID() int { return p.pid }

// Runs says whether a process was begun whose end was not waited for.
func (p *Process) Runs() bool { return p.pid != 0 }

// Ended says whether the process has ended by itself.
func (p *Process) Ended() bool {
	select {
	case err := <-p.done:
		p.done <- err
		return true
	default:
		return false
	}
}

// Eventually polls until f answers true, while the process lives.
func (p *Process) Eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	Eventually(t, p.Name+": "+what, func() bool {
		if p.Ended() {
			t.Fatalf("%s ended before %s:\n%s", p.Name, what, Tail(p.Log.String()))
		}
		return f()
	})
}

// Signal sends a signal to the process and its children.
func (p *Process) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if !p.Runs() {
		t.Fatalf("%s does not run", p.Name)
	}
	if err := syscall.Kill(-p.pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatalf("%s to %s: %v", s, p.Name, err)
	}
}

// Kill ends the process as a crash does.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGKILL)
	_ = p.reap() // that it was killed
}

// reap takes the end of a process that is ending.
func (p *Process) reap() error {
	err := <-p.done
	p.pid = 0
	return err
}

// Exit waits for the end of the process and returns its exit code.
func (p *Process) Exit(t testing.TB) int {
	t.Helper()
	select {
	case err := <-p.done:
		p.pid = 0
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit):
			return exit.ExitCode()
		case err != nil:
			t.Fatalf("waiting for %s: %v", p.Name, err)
		}
		return 0
	case <-time.After(Patience):
		p.Signal(t, syscall.SIGQUIT) // every goroutine goes into the log
		_ = p.reap()
		t.Fatalf("%s did not end within %v:\n%s", p.Name, Patience, Tail(p.Log.String()))
		return -1
	}
}

// Stop ends the process as an operator does and demands a clean exit.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	if code := p.Exit(t); code != 0 {
		t.Fatalf("%s, told to stop, ended with %d:\n%s", p.Name, code, Tail(p.Log.String()))
	}
}

// Transcript takes what processes print while the test reads it.
type Transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends what was printed.
func (b *Transcript) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is what was printed since the last Reset.
func (b *Transcript) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Reset forgets what was printed.
func (b *Transcript) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Reset()
}
