package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// ClientOpts connect a client of this process with all rights.
func (b *Broker) ClientOpts() []kgo.Opt {
	p := b.cfg.Platform
	return []kgo.Opt{
		kgo.SeedBrokers(b.Addr()),
		kgo.SASL(plain.Auth{User: p.User, Pass: p.Password}.AsMechanism()),
	}
}

// admitGuests lets everyone read topics, their settings and groups, and use groups other than the platform's own.
// kfake denies what no rule allows, and the platform's user is above rules.
func (b *Broker) admitGuests(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(b.ClientOpts()...)
	if err != nil {
		return fmt.Errorf("admitting readers: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	all := func() *kadm.ACLBuilder { return kadm.NewACLs().Allow("User:*").AllowHosts("*") }
	rules := []*kadm.ACLBuilder{
		all().Topics("*").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kmsg.ACLOperationRead, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs),
		all().Groups("*").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kmsg.ACLOperationDescribe),
		all().Clusters().ResourcePatternType(kadm.ACLPatternLiteral).Operations(kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs),
	}
	if len(b.cfg.OwnGroups) > 0 {
		rules = append(rules,
			all().Groups("*").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kmsg.ACLOperationRead, kmsg.ACLOperationDelete),
			kadm.NewACLs().Deny("User:*").DenyHosts("*").Groups(b.cfg.OwnGroups...).ResourcePatternType(kadm.ACLPatternPrefixed).
				Operations(kmsg.ACLOperationRead, kmsg.ACLOperationDelete))
	}
	for _, rule := range rules {
		results, err := adm.CreateACLs(ctx, rule)
		if err != nil {
			return fmt.Errorf("admitting readers: %w", err)
		}
		for _, r := range results {
			if r.Err != nil {
				return fmt.Errorf("admitting readers: %s %q: %w", r.Operation, r.Name, r.Err)
			}
		}
	}
	return nil
}
