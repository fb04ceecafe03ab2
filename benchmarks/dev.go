package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/nexusblueprint/nexus/internal/program"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/shop"
)

// nexusRole is the program of cmd/nexus itself, with these arguments.
func nexusRole(ctx context.Context, _ *wire, config []byte) error {
	var args []string
	if err := json.Unmarshal(config, &args); err != nil {
		return err
	}
	ended := make(chan int, 1)
	go func() { //nolint:contextcheck // a program ends by signals
		ended <- program.Run(shop.Topology(), program.Options{Commands: shop.Commands()}, args, os.Stdin, os.Stdout, os.Stderr)
	}()
	select {
	case code := <-ended:
		return exitOf(code)
	case <-ctx.Done():
	}
	// The parent closed our input. The program knows signals only.
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(os.Interrupt)
	}
	return errors.Join(err, exitOf(<-ended))
}

func exitOf(code int) error {
	if code == 0 {
		return nil
	}
	return exitCode(code)
}

// nexus runs a subcommand to its end.
func (r *runner) nexus(ctx context.Context, args ...string) error {
	c, err := spawn(ctx, "nexus", args, r.profileOf("nexus-"+args[0]), true)
	if err != nil {
		return err
	}
	defer func() { _ = c.in.Close() }()
	<-c.ended
	if c.err != nil {
		return fmt.Errorf("nexus %v: %w", args, c.failure())
	}
	return nil
}

// dev is a running `nexus dev`, or `nexus run` with all roles.
type dev struct {
	*child
	url   string
	ready time.Duration // from the start of its process
	http  *http.Client
}

// startPatience bounds one start.
const startPatience = 3 * time.Minute

// startDev starts `nexus dev` on a folder and returns when it is ready.
func (r *runner) startDev(ctx context.Context, folder string) (*dev, error) {
	return r.startNexus(ctx, folder, "dev", "--data", folder, "--no-sample", "--listen", "127.0.0.1:0", "--bus-listen", "127.0.0.1:0", "--registry-listen", "127.0.0.1:0")
}

// startNexus starts the program as a server, whose data folder is folder, and returns when it is ready.
func (r *runner) startNexus(ctx context.Context, folder string, args ...string) (*dev, error) {
	began := time.Now()
	c, err := spawn(ctx, "nexus", args, r.profileOf("nexus-"+args[0]), true)
	if err != nil {
		return nil, err
	}
	d := &dev{child: c, http: &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10},
	}}
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, fmt.Errorf("nexus %s was not ready within %v", args[0], startPatience))
	defer cancel()
	err = poll(ctx, 2*time.Millisecond, func() (bool, error) { return d.isReady(ctx, folder) })
	d.ready = time.Since(began)
	if err != nil {
		c.kill()
		return nil, fmt.Errorf("%w: %s", err, c.said)
	}
	return d, nil
}

// isReady asks /readyz of the address in the data folder. A file of an earlier,
// killed process names another process.
func (d *dev) isReady(ctx context.Context, folder string) (bool, error) {
	select {
	case <-d.ended:
		return false, d.failure()
	default:
	}
	text, err := os.ReadFile(filepath.Join(folder, system.EndpointsFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	var at system.Endpoints
	if err != nil || json.Unmarshal(text, &at) != nil || at.PID != d.pid() {
		return false, err
	}
	d.url = at.API
	status, _, err := d.do(ctx, http.MethodGet, "/readyz", "", nil)
	return err == nil && status == http.StatusOK, nil
}

func (d *dev) pid() int { return d.cmd.Process.Pid }

// do sends a request and returns the answer's status and body.
func (d *dev) do(ctx context.Context, method, path, mediaType string, body []byte) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, d.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if mediaType != "" {
		request.Header.Set("Content-Type", mediaType)
	}
	response, err := d.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// batch posts lines of commands and counts the answers by what they say:
// accepted, shed (429, 503) or anything else.
func (d *dev) batch(ctx context.Context, lines []byte) (accepted, shed, other int, err error) {
	status, answers, err := d.do(ctx, http.MethodPost, "/api/commands", "application/x-ndjson", lines)
	n := bytes.Count(lines, []byte{'\n'})
	switch {
	case err != nil:
		return 0, 0, 0, err
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return 0, n, 0, nil
	case status != http.StatusOK:
		return 0, 0, n, nil
	}
	for line := range bytes.Lines(answers) {
		switch {
		case bytes.Contains(line, []byte(`"status":201`)):
			accepted++
		case bytes.Contains(line, []byte(`"status":429`)), bytes.Contains(line, []byte(`"status":503`)):
			shed++
		default:
			other++
		}
	}
	return accepted, shed, other + n - accepted - shed - other, nil
}

// query is a page of a read model as far as benchmarks look at it.
type query[D any] struct {
	Items      []D
	Total      int64
	Lag        float64
	LagRecords int64
}

func ask[D any](ctx context.Context, d *dev, path string) (q query[D], err error) {
	status, body, err := d.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return q, err
	}
	if status != http.StatusOK {
		return q, fmt.Errorf("%s: %d %s", path, status, body)
	}
	return q, json.Unmarshal(body, &q)
}

// totals is the one hot document.
type totals struct{ Orders, StockAdjustments int64 }

// askTotals reads the hot document; before the first event there is none.
func (d *dev) askTotals(ctx context.Context) (t totals, lag float64, err error) {
	q, err := ask[totals](ctx, d, "/api/queries/totals?limit=1")
	if len(q.Items) > 0 {
		t = q.Items[0]
	}
	return t, q.Lag, err
}

// visiblePatience bounds the wait for read models.
const visiblePatience = 5 * time.Minute

// awaitTotals waits until the hot document shows what it should.
func (d *dev) awaitTotals(ctx context.Context, what string, want func(totals) bool) (last totals, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, visiblePatience, fmt.Errorf("the read model never showed %s", what))
	defer cancel()
	err = poll(ctx, 20*time.Millisecond, func() (bool, error) {
		last, _, err = d.askTotals(ctx)
		return want(last), err
	})
	return last, err
}
