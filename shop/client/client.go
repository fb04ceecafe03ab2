// Package client talks to a running platform over its HTTP API: it sends
// batches of commands, asks for outcomes and reads documents. It retries
// nothing and knows no domain; what to do about an answer is the caller's
// decision.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	answerBytesMax = 64 << 20 // of one answer that is read whole
	problemMax     = 64 << 10
	headerMax      = 90 * time.Second // longer than the longest wait a query can ask for
)

// Client is a connection to one server. It keeps idle connections open, until
// Close. It is safe for concurrent use.
type Client struct {
	base string
	//nexus:allow direct-calls the shop's subcommands are clients of the platform's own API
	http *http.Client
}

// New makes a client for a server's address, such as http://127.0.0.1:8080.
func New(server string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("the server address %q is none: want one such as http://127.0.0.1:8080", server)
	}
	//nexus:allow direct-calls keep-alive for many batches at once, else as usual
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	transport.ResponseHeaderTimeout = headerMax
	transport.WriteBufferSize, transport.ReadBufferSize = 64<<10, 64<<10
	//nexus:allow direct-calls only the server that the user names is asked
	c := &http.Client{Transport: transport}
	return &Client{base: strings.TrimSuffix(u.String(), "/"), http: c}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Answer is what became of a command: an acceptance or a problem.
type Answer struct {
	Line      int    `json:"line"`   // in its batch, from 1
	Status    int    `json:"status"` // as the single route would have answered
	CommandID string `json:"commandId"`
	Position  string `json:"position"` // at or after its last event
	Replayed  bool   `json:"replayed"` // the first answer to the same command
	Events    []struct {
		Type string `json:"type"`
	} `json:"events"`

	Code   string  `json:"code"`
	Detail string  `json:"detail"`
	Errors []Fault `json:"errors"`
}

// Fault is something wrong with a command itself.
type Fault struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

// Problem is an answer that says no to the whole request.
type Problem struct {
	Status     int           `json:"status"`
	Code       string        `json:"code"`
	Title      string        `json:"title"`
	Detail     string        `json:"detail"`
	RetryAfter time.Duration `json:"-"` // 0 if the server does not say
}

func (p *Problem) Error() string {
	text := strconv.Itoa(p.Status) + " " + p.Code
	if p.Code == "" {
		text = strconv.Itoa(p.Status) + " " + http.StatusText(p.Status)
	}
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	return text
}

// Send posts commands as NDJSON and calls each for every answer, in the order
// of the lines. An error means that the answers after the last call are not
// known: their commands may have been handled. Errors: *Problem where the
// server refused the batch, else ErrUnreachable, a broken answer, and those of ctx.
func (c *Client) Send(ctx context.Context, lines []byte, each func(Answer)) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/api/commands", bytes.NewReader(lines))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	response, err := c.do(request) //nolint:bodyclose // discard closes it
	if err != nil {
		return err
	}
	defer discard(response.Body)
	answers := json.NewDecoder(io.LimitReader(response.Body, answerBytesMax))
	for {
		var a Answer
		if err := answers.Decode(&a); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading the answers to a batch: %w", err)
		}
		each(a)
	}
}

// Outcome asks what became of a command: Status 202 while it is pending. A
// command that the server does not know is a *Problem of status 404.
func (c *Client) Outcome(ctx context.Context, commandID string) (Answer, error) {
	var a Answer
	err := c.get(ctx, "/api/commands/"+url.PathEscape(commandID), nil, &a)
	return a, err
}

// Page is a page of documents.
type Page[D any] struct {
	Items []D     `json:"items"`
	Total int64   `json:"total"`
	Next  *string `json:"next"`
	// LagRecords is how many records of the log the read model has not seen.
	LagRecords int64 `json:"lagRecords"`
}

// List reads one page of a read model.
func List[D any](ctx context.Context, c *Client, model string, query url.Values) (Page[D], error) {
	var page Page[D]
	err := c.get(ctx, "/api/queries/"+url.PathEscape(model), query, &page)
	return page, err
}

// Models are the names of the server's read models.
func (c *Client) Models(ctx context.Context) ([]string, error) {
	page := Page[struct {
		Name string `json:"name"`
	}]{}
	if err := c.get(ctx, "/api/queries", nil, &page); err != nil {
		return nil, err
	}
	names := make([]string, len(page.Items))
	for i, m := range page.Items {
		names[i] = m.Name
	}
	return names, nil
}

func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, http.NoBody)
	if err != nil {
		return err
	}
	response, err := c.do(request) //nolint:bodyclose // discard closes it
	if err != nil {
		return err
	}
	defer discard(response.Body)
	if err := json.NewDecoder(io.LimitReader(response.Body, answerBytesMax)).Decode(into); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", path, err)
	}
	return nil
}

// ErrUnreachable says that there was no connection to the server, or that it
// ended before the answer: nobody knows whether the request arrived.
var ErrUnreachable = errors.New("the server does not answer")

// do sends the request and makes a *Problem of an answer that is none of 2xx.
func (c *Client) do(request *http.Request) (*http.Response, error) {
	response, err := c.http.Do(request)
	if err != nil && request.Context().Err() == nil {
		var sent *url.Error
		if errors.As(err, &sent) {
			err = sent.Err // the address is said once
		}
		return nil, fmt.Errorf("asking %s: %w: %w", c.base, ErrUnreachable, err)
	}
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", c.base, err)
	}
	if response.StatusCode < 300 {
		return response, nil
	}
	defer discard(response.Body)
	body, err := io.ReadAll(io.LimitReader(response.Body, problemMax))
	if err != nil {
		return nil, fmt.Errorf("reading the problem of %s: %w", request.URL.Path, err)
	}
	no := &Problem{}
	if json.Unmarshal(body, no) != nil {
		no = &Problem{} // not the platform's: a proxy's, say
	}
	no.Status = response.StatusCode
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		no.RetryAfter = time.Duration(seconds) * time.Second
	}
	return nil, no
}

// discard reads the rest, so that the connection can be used again.
func discard(body io.ReadCloser) {
	// What cannot be read makes the connection unusable, no more.
	_, _ = io.Copy(io.Discard, io.LimitReader(body, problemMax))
	_ = body.Close()
}
