package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// SASL mechanisms.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
)

var instanceName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

// check judges the whole: values, and pairs that do not go together.
func (l *loader) check() {
	c := l.c
	l.hostPort("listen", c.Listen)
	l.hostPort("bus.listen", c.Bus.Listen)
	l.hostPort("registry.listen", c.Registry.Listen)
	if c.Data == "" {
		l.fault(l.place("data"), "data: name a folder")
	}
	if !instanceName.MatchString(c.Instance) {
		l.fault(l.place("instance"), "instance: %q: 1 to 100 letters, digits, '.', '_' and '-' are wanted", c.Instance)
	}
	l.bus()
	l.registry()
	l.search()
}

func (l *loader) hostPort(key, v string) {
	if _, _, err := net.SplitHostPort(v); err != nil {
		l.fault(l.place(key), "%s: %q: host:port is wanted", key, v)
	}
}

func (l *loader) bus() {
	b, at := &l.c.Bus, l.place("bus.url")
	scheme, hosts, found := strings.Cut(b.URL, "://")
	switch {
	case b.Embedded():
		if len(l.c.Roles) != len(known) {
			l.fault(l.place("roles"), "roles: the embedded broker lives in one process, which has all roles: name a kafka:// bus, or leave roles out")
		}
	case !found || scheme != "kafka" && scheme != "kafka+tls":
		l.fault(at, "bus.url: %q: embedded:, kafka://host:port,… or kafka+tls://host:port,… is wanted", clean(b.URL))
	default:
		for host := range strings.SplitSeq(hosts, ",") {
			if h, port, err := net.SplitHostPort(host); err != nil || h == "" || port == "" || strings.ContainsAny(host, "@/") {
				l.fault(at, "bus.url: %q: host:port is wanted, several with commas, and nothing else", clean(host))
			}
		}
	}
	if !slices.Contains([]string{Plain, ScramSHA256, ScramSHA512}, b.Mechanism) {
		l.fault(l.place("bus.mechanism"), "bus.mechanism: %q: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 is wanted", b.Mechanism)
	}
	l.pair("bus", b.User, b.Password)
	if b.CAFile != "" && !b.TLS() {
		l.fault(l.place("bus.caFile"), "bus.caFile: it has no meaning without TLS: use kafka+tls://")
	}
}

func (l *loader) registry() {
	r := &l.c.Registry
	if r.Embedded() {
		if !l.c.Bus.Embedded() {
			l.fault(l.place("registry.url"), "registry.url: the embedded registry goes with the embedded broker: name the http:// address of one that all instances share")
		}
		return
	}
	l.web("registry", r.URL, r.CAFile)
	l.pair("registry", r.User, r.Password)
}

func (l *loader) search() {
	s := &l.c.Search
	if s.Embedded() {
		if l.c.Has(Gateway) != l.c.Has(Sink) {
			l.fault(l.place("search.url"), "search.url: the embedded store lives in one process, which needs the roles gateway and sink: name a store that all instances share")
		}
		return
	}
	if !strings.HasPrefix(s.URL, elasticsearch) {
		l.fault(l.place("search.url"), "search.url: %q: embedded:, elasticsearch+http://host:port or elasticsearch+https://host:port is wanted", clean(s.URL))
		return
	}
	l.web("search", s.HTTP(), s.CAFile)
	l.pair("search", s.User, s.Password)
	if inClear(s.HTTP()) && (s.User != "" || !s.APIKey.Empty()) {
		l.fault(l.place("search.url"), "search.url: it would carry the password or API key readable for all on its way: use elasticsearch+https://")
	}
	if s.User != "" && !s.APIKey.Empty() {
		l.fault(l.place("search.user"), "search.user: an API key is given, too: choose one")
	}
}

func (l *loader) web(section, address, caFile string) {
	err := CheckHTTP(address)
	switch {
	case errors.Is(err, errCredentials):
		l.fault(l.place(section+".url"), "%s.url: %v: use %s.user and NEXUS_%s_PASSWORD", section, err, section, strings.ToUpper(section))
	case err != nil:
		l.fault(l.place(section+".url"), "%s.url: %v", section, err)
	case caFile != "" && !strings.HasPrefix(address, "https:"):
		l.fault(l.place(section+".caFile"), "%s.caFile: it has no meaning without https", section)
	}
}

var errCredentials = errors.New("credentials do not belong into the address, where they would be printed")

// CheckHTTP says what is wrong with the address of an HTTP server. The error shows no
// password.
func CheckHTTP(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("%q: an http:// or https:// address is wanted", clean(address))
	case u.User != nil:
		return errCredentials
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q: an address without ? and # is wanted", address)
	}
	return nil
}

func (l *loader) pair(section, user string, password Secret) {
	if user == "" && !password.Empty() {
		l.fault(l.place(section+".user"), "%s.user: a password is given, but no user", section)
	}
	if user != "" && password.Empty() {
		l.fault(l.place(section+".user"), "%s.user: the password is missing: set NEXUS_%s_PASSWORD, or name a file with %s.passwordFile", section, strings.ToUpper(section), section)
	}
}

// clean keeps what may be a password out of messages.
func clean(address string) string {
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		return "…@" + address[at+1:]
	}
	return address
}

func onLoopback(hosts ...string) bool {
	for _, host := range hosts {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}
