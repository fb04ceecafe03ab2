// Package config is what an operator chooses: one typed struct, filled from a
// file, then the environment, then flags. Every setting is declared once, in
// settings.go; parsing, help, environment names and the reference page come from
// that. It opens nothing: the wiring does.
package config

import (
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Config of one instance. [Default] has every default; [Load] fills it.
type Config struct {
	Roles       []string // of Known
	Listen      string   // host:port of the API and of /readyz; port 0 takes a free one
	Data        string   // folder, of this instance alone
	Instance    string   // name of this instance, stable over restarts, of no other
	Replication int      // replicas of topics that are created; 0: three, or as many as there are brokers
	Standby     bool     // keep copies of the tables of all other instances
	Governance  string   // Enforce or Warn: what violations of the policies do to a start
	LeaveOnStop bool     // give the partitions away at a stop instead of keeping them for a restart
	Bus         Bus
	Registry    Registry
	Search      Search
	warnings    []string // found while loading
	stated      map[string]Stated
}

// Stated is a setting as it was given.
type Stated struct {
	Value string // empty for a secret
	From  string // file:line:column, environment variable, flag or "default"
}

// Stated are all settings by their keys, secrets only if there are any; none if
// the configuration was not loaded.
func (c *Config) Stated() map[string]Stated { return maps.Clone(c.stated) }

// The roles.
const (
	Gateway    = "gateway"
	Processors = "processors"
	Sink       = "sink"
)

// What a start does with violations of the policies.
const (
	Enforce = "enforce" // it stops
	Warn    = "warn"    // it goes on and shows them
)

// Known are all roles, in the order of a command's way.
var known = []string{Gateway, Processors, Sink}

// Has says whether this instance has a role.
func (c *Config) Has(role string) bool { return slices.Contains(c.Roles, role) }

// Bus says how to reach the broker.
type Bus struct {
	URL                string // embedded:, or kafka://host:port,… or kafka+tls://host:port,…
	Listen             string // host:port of the embedded broker
	User               string
	Password           Secret
	Mechanism          string // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; of no meaning without a user
	CAFile             string // PEM; empty: the system's authorities
	AllowTransactionV1 bool   // run on brokers without transaction.version=2

	// Principals of the platform, empty: User alone, and those for emergencies, as the
	// broker names them: "User:gateway".
	Principals, BreakGlass []string

	passwordFile string
}

// Platform are the principals that may write events: those that are named, or this
// instance's own.
func (b *Bus) Platform() []string {
	if len(b.Principals) == 0 && b.User != "" {
		return []string{"User:" + b.User}
	}
	return b.Principals
}

// Embedded says that this process carries its own broker.
func (b *Bus) Embedded() bool { return b.URL == Embedded }

// Brokers are the seeds, host:port each.
func (b *Bus) Brokers() []string {
	_, hosts, _ := strings.Cut(b.URL, "://")
	return strings.Split(hosts, ",")
}

// TLS says whether connections are encrypted.
func (b *Bus) TLS() bool { return strings.HasPrefix(b.URL, "kafka+tls:") }

// Registry says how to reach the schema registry.
type Registry struct {
	URL          string // embedded:, http://… or https://…
	Listen       string // host:port of the embedded registry
	User         string
	Password     Secret
	CAFile       string
	passwordFile string
}

// Embedded says that this process carries its own registry.
func (r *Registry) Embedded() bool { return r.URL == Embedded }

// Search says how to reach the search store.
type Search struct {
	URL                      string // embedded:, elasticsearch+http://… or elasticsearch+https://…
	User                     string
	Password                 Secret
	APIKey                   Secret
	CAFile                   string
	passwordFile, apiKeyFile string
}

// Embedded says that this process carries its own search store.
func (s *Search) Embedded() bool { return s.URL == Embedded }

// HTTP is the store's address without the name of its kind.
func (s *Search) HTTP() string { return strings.TrimPrefix(s.URL, elasticsearch) }

// Embedded is the address of a provider that lives in this process.
const Embedded = "embedded:"

const elasticsearch = "elasticsearch+"

// Secret is text that is never printed: every way of formatting it shows stars.
type Secret struct{ text string }

// NewSecret wraps a secret.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the secret itself, for the one who sends it to its server.
func (s Secret) Reveal() string { return s.text }

// Empty says that there is none.
func (s Secret) Empty() bool { return s.text == "" }

func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return "***"
}

// GoString keeps it out of dumps, as the methods below out of JSON and logs.
func (s Secret) GoString() string { return s.String() }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Warnings are what may be meant so, and should be known.
func (c *Config) Warnings() []string {
	all := slices.Clone(c.warnings)
	warn := func(when bool, text string) {
		if when {
			all = append(all, text)
		}
	}
	warn(c.Bus.User != "" && c.Bus.Mechanism == Plain && !c.Bus.TLS() && !onLoopback(c.Bus.Brokers()...),
		"bus.mechanism PLAIN without TLS sends the password in clear text: use kafka+tls:// or SCRAM-SHA-512")
	warn(inClear(c.Registry.URL) && c.Registry.User != "", "the password of the registry is sent in clear text: use https://")
	warn(c.Search.Embedded() && !c.Bus.Embedded() && c.Has(Gateway), "search: embedded: lives in this process alone: no other instance may have the role gateway or sink")
	return all
}

func inClear(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "http" && !onLoopback(u.Host)
}
