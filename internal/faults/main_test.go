package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// binary is the program as a user builds it.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "nexus-faults-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "nexus")
	if err := build(binary, "../../cmd/nexus"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go starter()
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// build builds programs as the tests are built.
func build(to string, packages ...string) error {
	args := []string{"build", "-o", to}
	if race {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, packages...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("building %v: %w\n%s", packages, err, out)
	}
	return nil
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

// toolPatience bounds a subcommand.
const toolPatience = 4 * time.Minute

// nexus executes a subcommand, which has to succeed.
func nexus(t *testing.T, args ...string) string {
	t.Helper()
	return execute(t, binary, args...)
}

func execute(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), toolPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), errors.Join(err, ctx.Err()), tail(string(out)))
	}
	return string(out)
}

// rounds of a scenario: n, or n times NEXUS_SOAK.
func rounds(t *testing.T, n int) int {
	t.Helper()
	if v := os.Getenv("NEXUS_SOAK"); v != "" {
		times, err := strconv.Atoi(v)
		if err != nil || times < 1 {
			t.Fatalf("NEXUS_SOAK=%s is not a number of times", v)
		}
		if times == 1 { // as in `make soak`
			times = soakTimes
		}
		return n * times
	}
	return n
}

// soakTimes is how many quick forms the long form is.
const soakTimes = 20

// seeded is the randomness of a test, whose seed it prints.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("NEXUS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("NEXUS_SEED=%s: %v", s, err)
		}
	}
	t.Logf("seed %d (set NEXUS_SEED to repeat it)", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// patience bounds every wait for something that a healthy system does at once or
// after its timeouts: a machine at work is slow, a hung system is found all the same.
const patience = 2 * time.Minute

// eventually polls until f answers true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); wait(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func wait(d time.Duration) { <-time.After(d) }

// between is a random time.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)+1))
}

func tail(s string) string {
	const bytesMax = 6000
	if len(s) > bytesMax {
		return "…" + s[len(s)-bytesMax:]
	}
	return s
}
