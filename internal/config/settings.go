package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// setting declares one setting. Its flag and the name of its environment
// variable are made from its key.
type setting struct {
	key    string // in the file: name, or section.name
	value  string // what it takes, for help
	first  string // default, as text
	doc    string // one sentence per line
	secret bool   // from the environment or a file of its own, never from file or flags
	set    func(c *Config, text string) error
}

// settings are all there are, in the order of the reference page.
var settings = []setting{
	{
		key: "roles", value: "role,…", first: strings.Join(known, ","), set: setRoles,
		doc: "What this instance does: gateway (HTTP API), processors (commands and read models), sink (search store). Each may run alone or with others, in any number of instances.",
	},
	{
		key: "listen", value: "host:port", first: "127.0.0.1:8080", set: text(func(c *Config) *string { return &c.Listen }),
		doc: "Where the API listens; without the role gateway, where /healthz, /readyz and /metrics do. Port 0 takes a free one.",
	},
	{
		key: "data", value: "folder", first: "./nexus-data", set: text(func(c *Config) *string { return &c.Data }),
		doc: "The folder of this instance: its local copy of the tables it holds. Lost, it is filled again from the log. Two instances never share one.",
	},
	{
		key: "instance", value: "name", first: "", set: text(func(c *Config) *string { return &c.Instance }),
		doc: "Name of this instance: unique among all of the context, and the same after a restart (a pod's name in a stateful set). Of two processes with one name the older is shut out and ends. Default: the host's name.",
	},
	{
		key: "replication", value: "n", first: "0", set: setReplication,
		doc: "Replicas of the topics that the start creates. 0 means three, or one for each broker if there are fewer. With three, min.insync.replicas is set to 2.",
	},
	{
		key: "standby", value: "true|false", first: "false", set: truth(func(c *Config) *bool { return &c.Standby }),
		doc: "Keep copies of the tables that other instances hold, so that a partition moves without a restore. It costs every instance the disk and the reading of all tables.",
	},
	{
		key: "governance", value: Enforce + "|" + Warn, first: Enforce, set: SetGovernance,
		doc: "What a start does with violations of the policies. enforce: it stops. warn: it goes on, and shows them in the log, at /readyz and as nexus_governance_violations. What nothing can run with stops it all the same: faults of the topology, other partitions, schemas that are not registered.",
	},
	{
		key: "leaveOnStop", value: "true|false", first: "false", set: truth(func(c *Config) *bool { return &c.LeaveOnStop }),
		doc: "What a stop means. false: the instance comes back, its partitions wait for it until the session timeout. true: it does not, its partitions move at once.",
	},
	{
		key: "bus.url", value: "URL", first: Embedded, set: text(func(c *Config) *string { return &c.Bus.URL }),
		doc: "The broker: embedded:, or kafka://host:port,host:port, or kafka+tls://host:port,host:port. Short: bus: URL.",
	},
	{
		key: "bus.listen", value: "host:port", first: "127.0.0.1:9092", set: text(func(c *Config) *string { return &c.Bus.Listen }),
		doc: "Where the embedded broker listens.",
	},
	{
		key: "bus.user", value: "name", set: text(func(c *Config) *string { return &c.Bus.User }),
		doc: "SASL user; empty: no authentication.",
	},
	{
		key: "bus.password", secret: true, set: hidden(func(c *Config) *Secret { return &c.Bus.Password }),
		doc: "SASL password.",
	},
	{
		key: "bus.passwordFile", value: "path", set: text(func(c *Config) *string { return &c.Bus.passwordFile }),
		doc: "File that holds the SASL password.",
	},
	{
		key: "bus.mechanism", value: "name", first: ScramSHA512, set: text(func(c *Config) *string { return &c.Bus.Mechanism }),
		doc: "SASL mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.",
	},
	{
		key: "bus.caFile", value: "path", set: text(func(c *Config) *string { return &c.Bus.CAFile }),
		doc: "Authorities that the brokers' certificates are checked against, as PEM. Empty: the system's.",
	},
	{
		key: "bus.allowTransactionV1", value: "true|false", first: "false", set: truth(func(c *Config) *bool { return &c.Bus.AllowTransactionV1 }),
		doc: "Run on brokers without transaction.version=2 (before Kafka 4.0). There, a produce request that arrives late may join a transaction it does not belong to. Every start warns of it.",
	},
	{
		key: "bus.principals", value: "principal,…", set: principals(func(c *Config) *[]string { return &c.Bus.Principals }),
		doc: "The platform's principals at the broker that write events, such as User:processors; the name alone means a User. Nobody else may: where the broker tells its ACLs, the policies judge it. Default: bus.user.",
	},
	{
		key: "bus.breakGlass", value: "principal,…", set: principals(func(c *Config) *[]string { return &c.Bus.BreakGlass }),
		doc: "The principals for emergencies: nobody else may have the right to delete or alter event topics or their records. Default: nobody.",
	},
	{
		key: "registry.url", value: "URL", first: Embedded, set: text(func(c *Config) *string { return &c.Registry.URL }),
		doc: "The schema registry: embedded: (with the embedded broker only), or the base of a Confluent-compatible API, http://… or https://…. Short: registry: URL.",
	},
	{
		key: "registry.listen", value: "host:port", first: "127.0.0.1:8081", set: text(func(c *Config) *string { return &c.Registry.Listen }),
		doc: "Where the embedded registry listens.",
	},
	{
		key: "registry.user", value: "name", set: text(func(c *Config) *string { return &c.Registry.User }),
		doc: "User of basic authentication.",
	},
	{
		key: "registry.password", secret: true, set: hidden(func(c *Config) *Secret { return &c.Registry.Password }),
		doc: "Password of basic authentication.",
	},
	{
		key: "registry.passwordFile", value: "path", set: text(func(c *Config) *string { return &c.Registry.passwordFile }),
		doc: "File that holds the password.",
	},
	{
		key: "registry.caFile", value: "path", set: text(func(c *Config) *string { return &c.Registry.CAFile }),
		doc: "Authorities that the registry's certificate is checked against, as PEM. Empty: the system's.",
	},
	{
		key: "search.url", value: "URL", first: Embedded, set: text(func(c *Config) *string { return &c.Search.URL }),
		doc: "The search store: embedded: (one instance with gateway and sink), or elasticsearch+http://host:port, or elasticsearch+https://host:port. Short: search: URL.",
	},
	{
		key: "search.user", value: "name", set: text(func(c *Config) *string { return &c.Search.User }),
		doc: "User of basic authentication.",
	},
	{
		key: "search.password", secret: true, set: hidden(func(c *Config) *Secret { return &c.Search.Password }),
		doc: "Password of basic authentication.",
	},
	{
		key: "search.passwordFile", value: "path", set: text(func(c *Config) *string { return &c.Search.passwordFile }),
		doc: "File that holds the password.",
	},
	{
		key: "search.apiKey", secret: true, set: hidden(func(c *Config) *Secret { return &c.Search.APIKey }),
		doc: "API key, in place of user and password.",
	},
	{
		key: "search.apiKeyFile", value: "path", set: text(func(c *Config) *string { return &c.Search.apiKeyFile }),
		doc: "File that holds the API key.",
	},
	{
		key: "search.caFile", value: "path", set: text(func(c *Config) *string { return &c.Search.CAFile }),
		doc: "Authorities that the store's certificate is checked against, as PEM. Empty: the system's.",
	},
}

// shorts are sections that may be given as their URL alone.
var shorts = map[string]string{"bus": "bus.url", "registry": "registry.url", "search": "search.url"}

func find(key string) *setting {
	i := slices.IndexFunc(settings, func(s setting) bool { return s.key == key })
	if i < 0 {
		return nil
	}
	return &settings[i]
}

// words splits a key: bus.caFile is bus, ca, file.
func (s *setting) words() []string {
	var b strings.Builder
	for i, r := range strings.TrimSuffix(s.key, ".url") {
		upper := unicode.IsUpper(r) && (i == 0 || !unicode.IsUpper(rune(s.key[i-1])))
		switch {
		case r == '.':
			b.WriteByte(' ')
			continue
		case upper:
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.Fields(b.String())
}

func (s *setting) flag() string { return strings.Join(s.words(), "-") }

func (s *setting) env() string { return "NEXUS_" + strings.ToUpper(strings.Join(s.words(), "_")) }

func text(of func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error { *of(c) = strings.TrimSpace(v); return nil }
}

func hidden(of func(*Config) *Secret) func(*Config, string) error {
	return func(c *Config, v string) error { *of(c) = Secret{v}; return nil }
}

func truth(of func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, v string) (err error) {
		if *of(c), err = strconv.ParseBool(strings.TrimSpace(v)); err != nil {
			return fmt.Errorf("%q: true or false is wanted", v)
		}
		return nil
	}
}

func principals(of func(*Config) *[]string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*of(c) = nil
		for name := range strings.SplitSeq(v, ",") {
			name = strings.TrimSpace(name)
			switch {
			case name == "":
				continue
			case !strings.Contains(name, ":"):
				name = "User:" + name
			}
			*of(c) = append(*of(c), name)
		}
		return nil
	}
}

func setReplication(c *Config, v string) error {
	n, err := strconv.Atoi(strings.TrimSpace(v))
	if err != nil || n < 0 || n > 1000 {
		return fmt.Errorf("%q: a whole number from 0 is wanted", v)
	}
	c.Replication = n
	return nil
}

// SetGovernance takes what a start does with violations of the policies.
func SetGovernance(c *Config, v string) error {
	v = strings.TrimSpace(v)
	if v != Enforce && v != Warn {
		return fmt.Errorf("%q: %s or %s is wanted", v, Enforce, Warn)
	}
	c.Governance = v
	return nil
}

func setRoles(c *Config, v string) error {
	c.Roles = nil
	for role := range strings.SplitSeq(v, ",") {
		role = strings.TrimSpace(role)
		switch {
		case !slices.Contains(known, role):
			return fmt.Errorf("there is no role %q: %s are known", role, strings.Join(known, ", "))
		case !slices.Contains(c.Roles, role):
			c.Roles = append(c.Roles, role)
		}
	}
	return nil
}
