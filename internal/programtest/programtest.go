// Package programtest runs the program, for tests: its subcommands, and processes that live until the test ends them.
// It is built as a user builds it, once per test binary.
package programtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Patience bounds every wait for something that a healthy system does at once or after its timeouts: a machine at work is
// slow, a hung system is found all the same.
const Patience = 2 * time.Minute

// toolPatience bounds a subcommand.
const toolPatience = 5 * time.Minute

var binary string

// Main is the TestMain of a package that runs the program: it builds it, with the flags of go build, and runs the tests.
func Main(m *testing.M, flags ...string) {
	dir, err := os.MkdirTemp("", "nexus-program-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "nexus")
	args := append([]string{"build", "-o", binary}, flags...)
	//nolint:gosec,noctx // the module's own program, built once
	if out, err := exec.Command("go", append(args, "github.com/nexusblueprint/nexus/cmd/nexus")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		os.Exit(1)
	}
	go starter()
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
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
	ctx, cancel := context.WithTimeout(context.Background(), toolPatience)
	defer cancel()
	cmd := Command(ctx, args...)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("nexus %s: %v\n%s", strings.Join(args, " "), errors.Join(err, ctx.Err()), Tail(string(text)))
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// Must is Run for what has to succeed.
func Must(t testing.TB, args ...string) (out string) {
	t.Helper()
	out, code := Run(t, args...)
	if code != 0 {
		t.Fatalf("nexus %s: exit code %d\n%s", strings.Join(args, " "), code, Tail(out))
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
