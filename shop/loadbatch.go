package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"syscall"
	"time"

	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/shop/client"
	"github.com/nexusblueprint/nexus/shop/retailcsv"
	"github.com/nexusblueprint/nexus/topology"
)

// batch holds commands on their way to the server.
type batch struct {
	commands []sent
	bytes    int
}

// sent is a command as a line of NDJSON.
type sent struct {
	id   string
	line []byte
}

func (b *batch) full() bool { return len(b.commands) >= batchCommandsMax || b.bytes >= batchBytesMax }

func (b *batch) add(c retailcsv.Command) error {
	name := c.Record.AvroName()
	head, err := json.Marshal(struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	}{topology.ShortName(name), c.ID})
	if err != nil {
		return fmt.Errorf("writing the id of command %s as JSON: %w", c.ID, err)
	}
	line := head[:len(head)-1] // without the brace
	line = append(line, `,"command":`...)
	line, err = avro.AppendJSON(line, avro.Sets{retail.Schemas}.Find(name).Schema(), c.Record.AppendAvro(nil))
	if err != nil {
		return fmt.Errorf("writing command %s as JSON: %w", c.ID, err)
	}
	line = append(line, '}', '\n')
	b.commands = append(b.commands, sent{id: c.ID, line: line})
	b.bytes += len(line)
	return nil
}

// send sends the commands until each has its answer. What is not answered, or
// not for good, is sent again after a pause: under the same id that is safe.
func (l *loader) send(ctx context.Context, b batch) error {
	left, most := b.commands, len(b.commands)
	for attempt := 0; len(left) > 0; attempt++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := min(most, len(left))
		again, err := l.attempt(ctx, left[:n])
		if len(again) < n {
			attempt = 0
		}
		left = append(again, left[n:]...)
		if err == nil {
			continue
		}
		var no *client.Problem
		switch isProblem := errors.As(err, &no); {
		case isProblem && no.Status == http.StatusRequestEntityTooLarge && n > 1:
			most = n / 2
		case isProblem && no.Status == http.StatusRequestEntityTooLarge:
			l.settle(left[0].id, client.Answer{Status: no.Status, Code: no.Code, Detail: no.Detail})
			left = left[1:]
		case isProblem && !passing(no.Status):
			return fmt.Errorf("sending commands: %w", err)
		default:
			if err := l.pause(ctx, attempt, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// attempt sends the commands once and returns those to send again, with the
// reason if there are any.
func (l *loader) attempt(ctx context.Context, commands []sent) (again []sent, err error) {
	var body []byte
	for _, c := range commands {
		body = append(body, c.line...)
	}
	settled := make([]bool, len(commands))
	var pending []int
	var last *client.Problem
	err = l.client.Send(ctx, body, func(a client.Answer) {
		n := a.Line - 1
		switch {
		case n < 0 || n >= len(commands):
		case a.Status == http.StatusAccepted:
			pending = append(pending, n)
		case passing(a.Status) || a.Code == "batch-too-large":
			last = &client.Problem{Status: a.Status, Code: a.Code, Detail: a.Detail}
		default:
			settled[n] = true
			l.settle(commands[n].id, a)
		}
	})
	for _, n := range pending {
		known, err := l.follow(ctx, commands[n].id)
		if err != nil {
			return nil, err
		}
		settled[n] = known
	}
	for n, c := range commands {
		if !settled[n] {
			again = append(again, c)
		}
	}
	switch {
	case err != nil || len(again) == 0:
	case last != nil:
		err = last
	default:
		err = errNotAllAnswered
	}
	return again, err
}

var errNotAllAnswered = errors.New("the server did not answer every command of a batch")

// follow asks for the outcome of a command until there is one. known is false
// where the server has forgotten the command: it must be sent again.
func (l *loader) follow(ctx context.Context, id string) (known bool, err error) {
	for attempt := 0; ; attempt++ {
		a, err := l.client.Outcome(ctx, id)
		var no *client.Problem
		switch isProblem := errors.As(err, &no); {
		case err == nil && a.Status != http.StatusAccepted:
			l.settle(id, a)
			return true, nil
		case isProblem && no.Status == http.StatusNotFound:
			return false, nil
		case isProblem && !passing(no.Status):
			return false, fmt.Errorf("asking for the outcome of %s: %w", id, err)
		}
		if err := l.pause(ctx, attempt, err); err != nil {
			return false, err
		}
	}
}

// settle counts the final answer to a command.
func (l *loader) settle(id string, a client.Answer) {
	l.heard()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case a.Status < 300:
		l.positions.join(a.Position)
		if a.Replayed {
			l.report.AlreadyThere++
			return
		}
		l.report.Accepted++
		l.report.Events += len(a.Events)
	case alreadyThere[a.Code]:
		l.report.AlreadyThere++
	default:
		l.report.Failed++
		if len(l.report.Failures) < failuresKept {
			l.report.Failures = append(l.report.Failures, failure(id, a))
		}
	}
}

// heard notes that the server answers.
func (l *loader) heard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastAnswer, l.answers, l.told = now(), true, false
}

// alreadyThere are the rejections that mean: somebody did this before.
var alreadyThere = map[string]bool{
	"order-already-placed": true, "credit-note-already-issued": true,
	"ledger-already-adjusted": true, "reference-already-booked": true,
}

func failure(id string, a client.Answer) Failure {
	f := Failure{CommandID: id, Status: a.Status, Code: a.Code, Detail: a.Detail}
	if len(a.Errors) > 0 {
		f.Detail += fmt.Sprintf(" (%s at %s: %s)", a.Errors[0].Code, a.Errors[0].Pointer, a.Errors[0].Detail)
	}
	return f
}

// passing says whether a status may be another one in a moment.
func passing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// missed gives up at once where nobody listens and nobody ever did, and tells
// people once when a server that answered is gone, or has taken nothing for a while.
func (l *loader) missed(why error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	unreachable := errors.Is(why, client.ErrUnreachable)
	switch {
	case unreachable && !l.answers && errors.Is(why, syscall.ECONNREFUSED):
		return why
	case l.told || why == nil:
	case unreachable && l.answers, now().Sub(l.lastAnswer) > min(quietMost, l.patience/4):
		l.told = true
		l.tell("%v; trying again for %s", why, l.patience)
	}
	return nil
}

// quietMost is how long a server may take nothing before people are told why.
const quietMost = 5 * time.Second

const (
	pauseLeast = 50 * time.Millisecond
	pauseMost  = 5 * time.Second
)

// pause waits before the next attempt, longer each time, at least as long as
// the server asks for, and gives up when nothing was answered for too long.
func (l *loader) pause(ctx context.Context, attempt int, why error) error {
	if err := l.missed(why); err != nil {
		return err
	}
	l.mu.Lock()
	silent := now().Sub(l.lastAnswer)
	l.mu.Unlock()
	if silent > l.patience {
		if why == nil {
			why = errors.New("the outcome is still pending")
		}
		return fmt.Errorf("no useful answer for %s: %w", silent.Round(time.Second), why)
	}
	pause := min(pauseMost, pauseLeast<<min(attempt, 10))
	pause -= time.Duration(rand.Int64N(int64(pause) / 2)) // senders must not come back all at once
	var no *client.Problem
	if errors.As(why, &no) {
		pause = max(pause, min(no.RetryAfter, 30*time.Second))
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
