// Package programtest runs the program, for tests: its subcommands, and processes that live until the test ends them.
// It is built as a user builds it, once per test binary.
package programtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience bounds every wait for something that a healthy system does at once or after its timeouts: a machine at work is
// slow, a hung system is found all the same.
const Patience = 2 * time.Minute

// toolPatience bounds a subcommand.
const toolPatience = 5 * time.Minute

var (
	folder, binary string   // where programs are built, and the module's own
	buildFlags     []string // of go build
	builds         sync.Mutex
)

// Main is the TestMain of a package that runs the program: it builds it, with the flags of go build, and runs the tests.
func Main(m *testing.M, flags ...string) {
	var err error
	if folder, err = os.MkdirTemp("", "nexus-program-"); err != nil {
		panic(err)
	}
	buildFlags = flags
	if binary, err = build("github.com/nexusblueprint/nexus/cmd/nexus"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go starter()
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// Build builds another program as Main built the module's, once.
func Build(t testing.TB, pkg string) (program string) {
	t.Helper()
	builds.Lock()
	defer builds.Unlock()
	program, err := build(pkg)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func build(pkg string) (program string, err error) {
	program = filepath.Join(folder, path.Base(pkg))
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	args := slices.Concat([]string{"build", "-o", program}, buildFlags, []string{pkg})
	//nolint:gosec,noctx // a program of this module
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return program, nil
}

var starts = make(chan func())

// starter starts all processes: Linux lets a child die with the thread that
// started it, so that must be one that stays.
func starter() {
	runtime.LockOSThread()
	for start := range starts {
		start()
	}
}

// begin starts a process whose end is bound to ours.
func begin(cmd *exec.Cmd) (err error) {
	cmd.SysProcAttr = child()
	done := make(chan struct{})
	starts <- func() { err = cmd.Start(); close(done) }
	<-done
	return err
}

// Command is a subcommand that the test runs by itself.
func Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, binary, args...) //nolint:gosec // the program that was just built
}

// Run executes a subcommand and returns what it printed and its exit code.
func Run(t testing.TB, args ...string) (out string, code int) {
	t.Helper()
	return runOf(t, binary, args...)
}

func runOf(t testing.TB, program string, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), toolPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // one that was just built
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), errors.Join(err, ctx.Err()), Tail(string(text)))
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// Must is Run for what has to succeed.
func Must(t testing.TB, args ...string) (out string) {
	t.Helper()
	return MustOf(t, binary, args...)
}

// MustOf is Must for a program of [Build].
func MustOf(t testing.TB, program string, args ...string) (out string) {
	t.Helper()
	out, code := runOf(t, program, args...)
	if code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s", filepath.Base(program), strings.Join(args, " "), code, Tail(out))
	}
	return out
}

// Eventually polls until f answers true.
func Eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !f(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", Patience, what)
		}
	}
}

// Tail is the end of a long text.
func Tail(s string) string {
	const bytesMax = 6000
	if len(s) > bytesMax {
		return "…" + s[len(s)-bytesMax:]
	}
	return s
}
