package gateway

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Bounds of connections.
const (
	headerReadMax  = 5 * time.Second
	headerBytesMax = 32 << 10
	idleMax        = 2 * time.Minute
	// requestMax bounds reading a request, and answerMax all of it. They exceed
	// the longest wait: an expired read deadline looks like a client that left.
	// Batches move theirs as long as lines come.
	requestMax = 75 * time.Second
	answerMax  = 90 * time.Second

	// drainMax is how long requests may go on after the end was asked for, and
	// hurryMax how long their handlers then have to say so.
	drainMax = 5 * time.Second
	hurryMax = 3 * time.Second
)

// Run serves on the listener until ctx ends, then drains: no new connections,
// requests under way get their answers. It closes the listener.
//
// On a loopback listener Host and Origin are checked. Elsewhere they cannot be,
// because others name the server as they like, and the log is told so.
func (g *Gateway) Run(ctx context.Context, listener net.Listener) error {
	return g.serve(ctx, listener, g, "the API listens beyond this machine, without authentication: everyone who reaches the port can send commands and read everything; "+
		"Host and Origin are not checked there; listen on 127.0.0.1, or put a proxy that knows who asks before it")
}

// serve answers until ctx ends, then drains. beyond is the warning for a
// listener that others reach.
func (o *surface) serve(ctx context.Context, listener net.Listener, handler http.Handler, beyond string) error {
	rule := loopbackRule(listener.Addr())
	if rule == nil {
		o.log.Warn(beyond, "addr", listener.Addr().String()) //nolint:sloglint // one of two constant texts
	}
	o.hosts.Store(rule)
	base, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: headerReadMax, ReadTimeout: requestMax, WriteTimeout: answerMax, IdleTimeout: idleMax,
		MaxHeaderBytes: headerBytesMax, BaseContext: func(net.Listener) context.Context { return base },
		ErrorLog: log.New(serverLog{o.log}, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving HTTP on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	o.draining.Store(true)
	err := drain(base, server, giveUp)
	<-served //nolint:errcheck // only that it has ended counts
	return err
}

// drain waits for requests under way; those that take too long are told to stop
// waiting, and answer that they did.
func drain(ctx context.Context, server *http.Server, giveUp func()) error {
	patient, cancel := context.WithTimeout(ctx, drainMax)
	defer cancel()
	err := server.Shutdown(patient)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	hurried, cancel := context.WithTimeout(context.WithoutCancel(ctx), hurryMax)
	defer cancel()
	giveUp()
	if err := server.Shutdown(hurried); err != nil {
		return errors.Join(fmt.Errorf("draining HTTP: %w", err), server.Close())
	}
	return nil
}

// serverLog takes what net/http has to say: mostly about clients that leave.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Write(line []byte) (int, error) {
	l.log.Debug("http server", "says", string(line))
	return len(line), nil
}
