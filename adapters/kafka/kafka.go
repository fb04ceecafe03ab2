// Package kafka reaches an Apache Kafka cluster, or what speaks its protocol, as
// the configuration says, and looks at what the platform's guarantees need of it.
// It reads and changes no topics: emitters, processors, views and sinks do.
package kafka

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/trust"
)

// dialTimeout bounds one try to reach a broker: a host that is gone answers
// nothing, and the next one should be tried soon.
const dialTimeout = 5 * time.Second

// Options are those of every client of the cluster: seeds, TLS, SASL. They
// connect nothing. The error says which file cannot be read.
func Options(cfg config.Bus) ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(cfg.Brokers()...)}
	if cfg.TLS() {
		tlsConfig, err := trust.Config(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("bus.caFile: %w", err)
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
