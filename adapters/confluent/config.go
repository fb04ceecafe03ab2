package confluent

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/nexusblueprint/nexus/internal/trust"
)

// Config says where the registry is and who asks.
type Config struct {
	// URLs are the base addresses of its API, http://host:port or https://…, with a path if the API has one (Apicurio:
	// http://host:8080/apis/ccompat/v7). The next is asked where one cannot be reached. At least one.
	URLs []string
	// Username and Password authenticate by HTTP Basic; for Confluent Cloud they are an API key and its secret.
	Username, Password string
	// Token is sent as a bearer token instead.
	Token string
	// CAFile is a PEM file with the authorities that may have signed the registry's certificate. Default: the system's.
	CAFile string
}

// String is the configuration without its secrets, which no way of printing it shows.
func (c Config) String() string {
	who := "without credentials"
	switch {
	case c.Token != "":
		who = "with a bearer token"
	case c.Username != "":
		who = "as " + c.Username
	}
	return c.place() + " " + who
}

// GoString is String.
func (c Config) GoString() string { return c.String() }

// MarshalText is String, so that neither JSON nor a log handler shows more.
func (c Config) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

func (c Config) place() string {
	shown := make([]string, len(c.URLs))
	for i, text := range c.URLs {
		shown[i] = redacted(text)
	}
	return strings.Join(shown, ", ")
}

// redacted is a URL without the password that it should not hold.
func redacted(text string) string {
	if u, err := url.Parse(text); err == nil {
		return u.Redacted()
	}
	return "(a URL that cannot be read)"
}

// check returns every fault at once.
func (c Config) check() error {
	var faults []error
	if len(c.URLs) == 0 {
		faults = append(faults, errors.New("no URL: give http://host:port"))
	}
	for _, text := range c.URLs {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			faults = append(faults, errors.New("a URL cannot be read: give http://host:port")) // err repeats it, password and all
		case u.User != nil:
			faults = append(faults, fmt.Errorf("%s: credentials do not belong into the URL, which is shown: give user name and password by themselves", u.Redacted()))
		case (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
			faults = append(faults, fmt.Errorf("%q is no address of a registry: give http://host:port or https://host:port, with the path of its API if it has one", text))
		}
	}
	switch {
	case c.Token != "" && (c.Username != "" || c.Password != ""):
		faults = append(faults, errors.New("both a bearer token and a user: give one"))
	case (c.Username == "") != (c.Password == ""):
		faults = append(faults, errors.New("a user name and a password go together: one of them is missing"))
	}
	return errors.Join(faults...)
}

// options are those of the client.
func (c Config) options() ([]sr.ClientOpt, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	var err error
	if transport.TLSClientConfig, err = trust.Config(c.CAFile); err != nil {
		return nil, err
	}
	opts := []sr.ClientOpt{
		sr.URLs(append([]string(nil), c.URLs...)...), sr.UserAgent("nexus"),
		sr.HTTPClient(&http.Client{Timeout: requestTimeout, Transport: bounded{transport}}),
	}
	if c.Token != "" {
		opts = append(opts, sr.BearerToken(c.Token))
	}
	if c.Username != "" {
		opts = append(opts, sr.BasicAuth(c.Username, c.Password))
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
