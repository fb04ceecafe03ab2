package confluent

import (
	"net/http"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/trust"
)

// options are those of the client.
func options(cfg config.Registry) ([]sr.ClientOpt, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	var err error
	if transport.TLSClientConfig, err = trust.Config(cfg.CAFile); err != nil {
		return nil, err
	}
	opts := []sr.ClientOpt{
		sr.URLs(cfg.URL), sr.UserAgent("nexus"),
		sr.HTTPClient(&http.Client{Transport: bounded{transport}}),
	}
	if cfg.User != "" {
		opts = append(opts, sr.BasicAuth(cfg.User, cfg.Password.Reveal()))
	}
	return opts, nil
}

// bounded cuts off an answer that is larger than any of a registry.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, answerBytesMax)
	}
	return resp, err
}
