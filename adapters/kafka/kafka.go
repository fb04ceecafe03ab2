// Package kafka reaches an Apache Kafka cluster, or what speaks its protocol, as
// the configuration says, and looks at what the platform's guarantees need of it.
// It reads and changes no topics: emitters, processors, views and sinks do.
package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/nexusblueprint/nexus/internal/config"
)

// dialTimeout bounds one try to reach a broker: a host that is gone answers
// nothing, and the next one should be tried soon.
const dialTimeout = 5 * time.Second

// Options are those of every client of the cluster: seeds, TLS, SASL. They
// connect nothing. The error says which file cannot be read.
func Options(cfg config.Bus) ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(cfg.Brokers()...)}
	if cfg.TLS() {
		tlsConfig, err := trust(cfg.CAFile)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(tlsConfig), kgo.DialTimeout(dialTimeout))
	} else {
		opts = append(opts, kgo.DialTimeout(dialTimeout))
	}
	if cfg.User != "" {
		opts = append(opts, kgo.SASL(mechanism(cfg)))
	}
	return opts, nil
}

// trust is the TLS configuration that checks certificates against the file's
// authorities, or the system's.
func trust(caFile string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading bus.caFile: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("bus.caFile %s holds no certificate in PEM form", caFile)
	}
	return c, nil
}

func mechanism(cfg config.Bus) sasl.Mechanism {
	switch cfg.Mechanism {
	case config.Plain:
		return plain.Auth{User: cfg.User, Pass: cfg.Password.Reveal()}.AsMechanism()
	case config.ScramSHA256:
		return scram.Auth{User: cfg.User, Pass: cfg.Password.Reveal()}.AsSha256Mechanism()
	default:
		return scram.Auth{User: cfg.User, Pass: cfg.Password.Reveal()}.AsSha512Mechanism()
	}
}
