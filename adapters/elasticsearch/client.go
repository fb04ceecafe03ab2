package elasticsearch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v8/esapi"
	"github.com/go-json-experiment/json"

	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/trust"
)

// client sends the requests of go-elasticsearch through its transport, which chooses the node and tries again.
type client struct {
	transport *elastictransport.Client
	http      *http.Transport
	timeout   time.Duration
	name      string // of the cluster, for errors
}

// A node or shard that is busy (429) or on the move (502 to 504) is asked again, after a while that grows. What is still
// refused then is the caller's to send again. Nothing here can be done twice: writes carry versions.
const (
	triesMax = 4
	waitMin  = 100 * time.Millisecond
)

var triedAgain = []int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

const (
	// timeoutDefault bounds each request, tries after 429 and 503 included.
	timeoutDefault = 30 * time.Second
	dialTimeout    = 5 * time.Second
	idleConnsMax   = 16
)

func newClient(cfg config.Search, timeout time.Duration) (*client, error) {
	if err := config.CheckHTTP(cfg.HTTP()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	u, err := url.Parse(strings.TrimRight(cfg.HTTP(), "/"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	conns, err := transport(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	options := []elastictransport.Option{
		elastictransport.WithURLs(u),
		elastictransport.WithTransport(conns),
		elastictransport.WithRetry(triesMax-1, triedAgain...),
		elastictransport.WithRetryBackoff(func(attempt int) time.Duration { return waitMin << (attempt - 1) }),
	}
	if !cfg.APIKey.Empty() {
		options = append(options, elastictransport.WithAPIKey(cfg.APIKey.Reveal()))
	} else if cfg.User != "" {
		options = append(options, elastictransport.WithBasicAuth(cfg.User, cfg.Password.Reveal()))
	}
	t, err := elastictransport.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return &client{transport: t, http: conns, timeout: timeout, name: u.String()}, nil
}

// transport is the HTTP side of the client.
func transport(caFile string) (*http.Transport, error) {
	tlsConfig, err := trust.Config(caFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: idleConnsMax,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,
		TLSClientConfig:     tlsConfig,
	}, nil
}

func (c *client) close() error {
	err := c.transport.Close(context.Background())
	c.http.CloseIdleConnections()
	if errors.Is(err, elastictransport.ErrAlreadyClosed) {
		return nil
	}
	return err
}

// do sends a request and reads the answer into into, unless that is nil.
// Errors: *answerError, ErrUnavailable, ErrUnsupported, ctx's.
func (c *client) do(ctx context.Context, request esapi.Request, into any) error {
	bounded, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := request.Do(bounded, c.transport)
	if err != nil {
		return c.failure(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read to its end, or its error is known
	if resp.IsError() {
		return answer(resp)
	}
	// OpenSearch, or a page of something between us and the cluster, would be taken at its word otherwise.
	if resp.Header.Get("X-Elastic-Product") != "Elasticsearch" {
		return fmt.Errorf("%w: what answers at %s is no Elasticsearch: %s", ErrUnsupported, c.name, supported)
	}
	if into == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		err = json.UnmarshalRead(resp.Body, into)
	}
	if err != nil {
		return c.failure(ctx, fmt.Errorf("reading the answer: %w", err))
	}
	return nil
}

// failure names an error of the way to the cluster and back.
func (c *client) failure(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("asking elasticsearch at %s: %w", c.name, ctx.Err())
	case errors.Is(err, elastictransport.ErrClosed):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: no answer of elasticsearch at %s within %v", ErrUnavailable, c.name, c.timeout)
	}
	return fmt.Errorf("%w: elasticsearch at %s cannot be reached: %w", ErrUnavailable, c.name, err)
}

const answerBytesMax = 64 << 10

// answer reads an answer that is no success.
func answer(resp *esapi.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		text = nil
	}
	var body struct {
		Error struct {
			Type   string `json:"type"`
			Reason string `json:"reason"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &body) != nil {
		body.Error.Reason = string(bytes.TrimSpace(text[:min(len(text), 200)]))
	}
	return &answerError{Status: resp.StatusCode, Type: body.Error.Type, Reason: body.Error.Reason}
}
