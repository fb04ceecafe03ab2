// Package servertest starts, for tests, the real servers that the scripts of deploy/local run. A server that cannot be
// started is an error that says what its script said; nothing is skipped.
package servertest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// patience is how long a server may take: the first start may install Java and download the server.
const patience = 8 * time.Minute

// Server is a running script of deploy/local and what it runs.
type Server struct {
	Dir     string // where the script keeps what its comment says, logs (*.out) among it
	Address string // host:port; comma-separated if the server is several

	script string
	env    []string
	stdin  io.Closer
	ended  chan error
}

// Start runs "deploy/local/<script> run" and returns when the server answers. It lives until Stop, or until this process
// ends, however that ends: the script sees its stdin close. Dir goes with it, but for that of a server that never answered.
// Each of env is name=value.
func Start(script string, env ...string) (*Server, error) {
	_, self, _, _ := runtime.Caller(0)
	s := &Server{
		script: filepath.Join(filepath.Dir(self), "..", "..", "deploy", "local", script),
		env:    append(env, "NEXUS_PASSING=1"), ended: make(chan error, 1),
	}
	var err error
	if s.Dir, err = os.MkdirTemp("", "nexus-"+strings.TrimSuffix(script, ".sh")+"-"); err != nil {
		return nil, err
	}
	said, err := os.Create(s.said())
	if err != nil {
		return nil, err
	}
	defer func() { _ = said.Close() }()
	cmd := s.command("run", s.Dir)
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.script, err)
	}
	go func() { s.ended <- cmd.Wait() }()
	return s, s.await()
}

func (s *Server) said() string { return filepath.Join(s.Dir, "script.out") }

func (s *Server) command(args ...string) *exec.Cmd {
	//nolint:gosec,noctx // the module's own script, which lives as long as the test program
	cmd := exec.Command("bash", append([]string{s.script}, args...)...)
	cmd.Env = append(os.Environ(), s.env...)
	return cmd
}

func (s *Server) await() error {
	deadline := time.After(patience)
	for {
		address, err := os.ReadFile(filepath.Join(s.Dir, "address"))
		if err == nil {
			s.Address = strings.TrimSpace(string(address))
			return nil
		}
		select {
		case err := <-s.ended:
			text, _ := os.ReadFile(s.said())
			return errors.Join(fmt.Errorf("%s ended before its server was ready:\n%s", s.script, text), err)
		case <-deadline:
			text, _ := os.ReadFile(s.said())
			return fmt.Errorf("%s was not ready within %v:\n%s", s.script, patience, text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Do runs another verb of the script: "script verb Dir args…".
func (s *Server) Do(verb string, args ...string) error {
	if text, err := s.command(append([]string{verb, s.Dir}, args...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s %s: %w:\n%s", s.script, verb, strings.Join(args, " "), err, text)
	}
	return nil
}

// Stop ends the server. It returns when the server and its folder are gone.
func (s *Server) Stop() error {
	_ = s.stdin.Close()
	select {
	case err := <-s.ended:
		if err != nil {
			return fmt.Errorf("%s, told to stop: %w", s.script, err)
		}
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("%s did not stop within a minute of being told to: its output is in %s", s.script, s.Dir)
	}
}
