package elasticsearch

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/nexusblueprint/nexus/internal/trust"
)

// Config says where the cluster is, and who we are to it. Printed, logged or marshalled it shows no secret.
type Config struct {
	// URLs of nodes of one cluster: http or https, host, port if it is not 80 or 443, perhaps a path. Requests take turns
	// between the nodes that answer. Required.
	URLs []string

	// Username and Password, or APIKey in the encoded form that Elasticsearch hands out; none for a cluster without
	// security. With either of them the URLs have to be https, or of this machine.
	Username string
	Password string `json:"-"`
	APIKey   string `json:"-"`

	// CAFile holds the certificates, in PEM, of the authorities that may vouch for the nodes; "": those of this machine.
	CAFile string

	// Timeout bounds each request, tries after 429 and 503 included; 0: 30 s.
	Timeout time.Duration
}

const (
	timeoutDefault = 30 * time.Second
	dialTimeout    = 5 * time.Second
	idleConnsMax   = 16 // per node
)

// check names every rule that the configuration breaks.
func (c Config) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.URLs) == 0 {
		fault("no URL of the cluster is given")
	}
	secret := c.Password != "" || c.APIKey != ""
	for _, text := range c.URLs {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			fault("a URL cannot be read: write it like https://host:9200") // err has the text, and perhaps a password in it
		case u.User != nil:
			fault("the URL of %s holds a user: put it into username and password", u.Host)
		case (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
			fault("%q is not a URL like https://host:9200", u.Redacted())
		case u.RawQuery != "" || u.Fragment != "":
			fault("the URL of %s has something behind its path: write it like https://host:9200", u.Host)
		case secret && u.Scheme == "http" && !loopback(u.Hostname()):
			fault("%s would carry the password or API key readable for all on its way: use https", u)
		}
	}
	if c.APIKey != "" && (c.Username != "" || c.Password != "") {
		fault("both an API key and a username or password are given: choose one")
	}
	if (c.Username == "") != (c.Password == "") {
		fault("username and password go together: one of them is missing")
	}
	if c.Timeout < 0 {
		fault("timeout %v is negative", c.Timeout)
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, errors.Join(faults...))
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// transport is the HTTP side of the configuration.
func (c Config) transport() (*http.Transport, error) {
	tlsConfig, err := trust.Config(c.CAFile)
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

// String shows the configuration without its secrets.
func (c Config) String() string {
	text := fmt.Sprintf("elasticsearch %v", c.addresses())
	switch {
	case c.APIKey != "":
		text += " with an API key"
	case c.Username != "":
		text += " as " + c.Username
	}
	return text
}

// addresses are the URLs, without what may be a secret in them.
func (c Config) addresses() []string {
	var all []string
	for _, text := range c.URLs {
		if u, err := url.Parse(text); err == nil {
			all = append(all, u.Redacted())
		} else {
			all = append(all, "(not a URL)")
		}
	}
	return all
}

// GoString is String.
func (c Config) GoString() string { return c.String() }

// LogValue is String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }
