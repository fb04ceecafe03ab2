package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"
)

// Each subject runs in a process of its own, this program again in a role, so
// that its time and memory are its own. Parent and child speak in lines: words
// down, JSON up. A child ends when its input does, also when the parent died.
const (
	roleEnv    = "NEXUS_BENCH_ROLE"
	configEnv  = "NEXUS_BENCH_CONFIG"
	profileEnv = "NEXUS_BENCH_PROFILE"
)

// roles are what this program can be started as.
var roles = map[string]func(context.Context, *wire, []byte) error{
	"kfake":   kfakeRole,
	"nexus":   nexusRole,
	"subject": subjectRole,
}

// wire is a child's connection to its parent.
type wire struct {
	words <-chan string
	out   *json.Encoder
}

func (w *wire) tell(v any) error { return w.out.Encode(v) }

// exitCode is an error that ends a role with a code.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("ended with %d", int(e)) }

// runRole runs the role that the environment names, if it names one.
func runRole() (code int, is bool) {
	name := os.Getenv(roleEnv)
	if name == "" {
		return 0, false
	}
	role, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "no role %q\n", name)
		return 3, true
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	words := make(chan string)
	go func() {
		defer cancel()
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			select {
			case words <- in.Text():
			case <-ctx.Done():
			}
		}
	}()
	err := profiled(os.Getenv(profileEnv), func() error {
		return role(ctx, &wire{words: words, out: json.NewEncoder(os.Stdout)}, []byte(os.Getenv(configEnv)))
	})
	var exit exitCode
	switch {
	case err == nil:
		return 0, true
	case errors.As(err, &exit):
		return int(exit), true
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	return 1, true
}

// profiled writes a CPU profile of f to a file, if one is named.
func profiled(file string, f func() error) error {
	if file == "" {
		return f()
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil { //nolint:gosec // the folder that -profile names
		return err
	}
	out, err := os.Create(file) //nolint:gosec // the folder that -profile names
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	err = f()
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}

// child is a process in a role.
type child struct {
	role  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *json.Decoder
	said  *tail
	ended chan struct{}
	err   error // of its end
}

// spawn starts this program in a role. Plain children print text, which is
// kept for errors; the others tell JSON.
func spawn(ctx context.Context, role string, config any, profile string, plain bool) (*child, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self) //nolint:gosec // this program itself
	cmd.Env = append(os.Environ(), roleEnv+"="+role, configEnv+"="+string(text), profileEnv+"="+profile)
	return launch(role, cmd, plain)
}

// launch starts a child that keeps to the rules of spawn's.
func launch(role string, cmd *exec.Cmd, plain bool) (_ *child, err error) {
	c := &child{role: role, cmd: cmd, said: &tail{}, ended: make(chan struct{})}
	c.cmd.Stderr, c.cmd.Stdout = c.said, c.said
	var told *os.File
	if !plain {
		var tell *os.File
		if told, tell, err = os.Pipe(); err != nil {
			return nil, err
		}
		defer func() { _ = tell.Close() }()
		c.cmd.Stdout, c.out = tell, json.NewDecoder(told)
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", role, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

// next reads what the child tells next.
func (c *child) next(into any) error {
	if err := c.out.Decode(into); err != nil {
		<-c.ended
		return c.failure()
	}
	return nil
}

// ask sends a word and reads the answer.
func (c *child) ask(word string, into any) error {
	if _, err := io.WriteString(c.in, word+"\n"); err != nil {
		<-c.ended
		return c.failure()
	}
	return c.next(into)
}

func (c *child) failure() error {
	return fmt.Errorf("%s ended (%w): %s", c.role, c.err, c.said)
}

const stopPatience = 2 * time.Minute

// stop ends the child in order and waits for it.
func (c *child) stop() error {
	_ = c.in.Close()
	select {
	case <-c.ended:
	case <-time.After(stopPatience):
		c.kill()
		return fmt.Errorf("%s did not stop within %v: %s", c.role, stopPatience, c.said)
	}
	if c.err != nil {
		return c.failure()
	}
	return nil
}

// kill ends the child at once. It may have ended already.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
