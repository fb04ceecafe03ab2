package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// machine is where and when figures were taken.
type machine struct {
	cpu, kernel, memory, commit string
	at                          time.Time
}

func machineNow(ctx context.Context, root string) machine {
	return machine{cpu: cpuModel(), kernel: kernel(), memory: memory(), commit: commit(ctx, root), at: time.Now().UTC()}
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s of memory, Linux %s, %s, commit %s, %s",
		m.cpu, runtime.NumCPU(), m.memory, m.kernel, runtime.Version(), m.commit, m.at.Format("2006-01-02 15:04 UTC"))
}

func cpuModel() string { return procField("/proc/cpuinfo", "model name") }

func memory() string {
	kb, err := strconv.Atoi(strings.TrimSuffix(procField("/proc/meminfo", "MemTotal"), " kB"))
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%.0f GiB", float64(kb)/(1<<20))
}

// procField reads the first "name : value" of a file in /proc.
func procField(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// loadAverage of the last minute and five minutes.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:2], " ")
}

// commit is the revision of the source, with a mark if it was changed since.
func commit(ctx context.Context, root string) string {
	git := func(args ...string) string {
		cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // fixed arguments
		cmd.Dir = root
		out, err := cmd.Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	id := git("rev-parse", "--short=10", "HEAD")
	switch {
	case id == "":
		return "unknown"
	case git("status", "--porcelain", "--untracked-files=no", "--", "*.go", "go.mod") != "":
		return id + " with changes"
	}
	return id
}

// cpuTime is what this process has used of all processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// statusBytes reads a size from a process's status: VmRSS is what it holds now,
// VmHWM the most it ever held. (The maximum that getrusage tells begins with the
// parent's.)
func statusBytes(pid int, field string) (float64, error) {
	text := procField(fmt.Sprintf("/proc/%d/status", pid), field)
	kb, err := strconv.ParseFloat(strings.TrimSuffix(text, " kB"), 64)
	if err != nil {
		return 0, fmt.Errorf("reading %s of process %d: %q", field, pid, text)
	}
	return kb * 1024, nil
}

const ticksPerSecond = 100 // USER_HZ, the same on every Linux that Go runs on

// cpuOf is what another process has used, to a hundredth of a second.
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in brackets, may hold anything: fields are counted after it.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("reading the times of process %d: %q", pid, text)
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("reading the times of process %d: %q", pid, text)
	}
	return time.Duration(user+system) * time.Second / ticksPerSecond, nil
}
