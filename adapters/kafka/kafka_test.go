package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
)

func ping(t *testing.T, cfg config.Bus) error {
	t.Helper()
	opts, err := Options(cfg)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(opts, kgo.RetryTimeout(2*time.Second))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	return cl.Ping(ctx)
}

func TestOptions_connect_with_TLS_and_SASL(t *testing.T) {
	own := kafkatest.NewAuthority(t)
	caFile, otherCA := own.CAFile, kafkatest.NewAuthority(t).CAFile
	b := kafkatest.Kfake(t, kfake.EnableSASL(), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{own.Certificate}, MinVersion: tls.VersionTLS12}),
		kfake.Superuser("PLAIN", "p", "secret-p"), kfake.Superuser("SCRAM-SHA-256", "s256", "secret-s256"), kfake.Superuser("SCRAM-SHA-512", "s512", "secret-s512"))
	at := strings.Join(b.Addrs, ",")
	for _, c := range []struct {
		name, url, user, password, mechanism, ca string
		want                                     bool
	}{
		{"PLAIN", "kafka+tls://" + at, "p", "secret-p", config.Plain, caFile, true},
		{"SCRAM-SHA-256", "kafka+tls://" + at, "s256", "secret-s256", config.ScramSHA256, caFile, true},
		{"SCRAM-SHA-512", "kafka+tls://" + at, "s512", "secret-s512", config.ScramSHA512, caFile, true},
		{"wrong password", "kafka+tls://" + at, "p", "other", config.Plain, caFile, false},
		{"no user", "kafka+tls://" + at, "", "", config.Plain, caFile, false},
		{"another authority", "kafka+tls://" + at, "p", "secret-p", config.Plain, otherCA, false},
		{"the system's authorities", "kafka+tls://" + at, "p", "secret-p", config.Plain, "", false},
		{"no TLS", "kafka://" + at, "p", "secret-p", config.Plain, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := ping(t, config.Bus{URL: c.url, User: c.user, Password: config.NewSecret(c.password), Mechanism: c.mechanism, CAFile: c.ca})
			if (err == nil) != c.want {
				t.Errorf("connected: %v (%v), want %v", err == nil, err, c.want)
			}
			if err != nil && c.password != "" && strings.Contains(err.Error(), c.password) {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
}

func TestOptions_names_a_file_that_is_no_authority(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + ".gone"} {
		if _, err := Options(config.Bus{URL: "kafka+tls://a:1", CAFile: path}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestLook_at_a_real_cluster(t *testing.T) {
	b := kafkatest.Kafka(t)
	b.Create(t, kafkatest.Topic{Name: b.Prefix + "x", Partitions: 2, Config: map[string]string{"unclean.leader.election.enable": "true"}})
	admin := kadm.NewClient(b.Client(t))
	c, err := Look(t.Context(), admin, b.Prefix+"x", b.Prefix+"missing")
	if err != nil {
		t.Fatal(err)
	}
	if c.Brokers != 1 || len(c.topics) != 1 {
		t.Errorf("%d brokers, %d topics", c.Brokers, len(c.topics))
	}
	if faults := c.Faults(Needs{Session: 9 * time.Second, Transaction: 8 * time.Second, RecordBytes: 8 << 20}); len(faults) > 0 {
		t.Errorf("faults of a usual broker: %q", faults)
	}
	if got := strings.Join(c.Warnings(), "\n"); !strings.Contains(got, "one replica") || !strings.Contains(got, "unclean.leader.election.enable=true") {
		t.Errorf("warnings: %s", got)
	}
	if acls, err := ACLs(t.Context(), b.Client(t)); !errors.Is(err, ErrNoAuthorizer) {
		t.Errorf("a broker without authorizer has the ACLs %v: %v", acls, err)
	}
	if alone, err := Look(t.Context(), admin); err != nil || len(alone.topics) > 0 || alone.Brokers != 1 {
		t.Errorf("without topics: %+v %v", alone, err)
	}
}

func TestCluster_says_what_does_not_fit(t *testing.T) {
	c := &Cluster{Brokers: 3, Settings: map[string]string{
		"group.min.session.timeout.ms": "10000", "group.max.session.timeout.ms": "5000", "transaction.max.timeout.ms": "1000",
		"socket.request.max.bytes": "1000", "offsets.retention.minutes": "60",
	}, topics: []topic{
		{"a", 3, map[string]string{"min.insync.replicas": "1"}}, {"b", 3, map[string]string{"min.insync.replicas": "3"}}, {"c", 3, map[string]string{"min.insync.replicas": "2"}},
	}}
	if faults := c.Faults(Needs{Session: 9 * time.Second, Transaction: 8 * time.Second, RecordBytes: 8 << 20}); len(faults) != 4 {
		t.Errorf("%d faults: %q", len(faults), faults)
	}
	warnings := c.Warnings()
	if got := strings.Join(warnings, "\n"); len(warnings) != 3 || strings.Contains(got, ": c") {
		t.Errorf("warnings: %s", got)
	}
}
