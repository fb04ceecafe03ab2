package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

func guest(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	return newClient(t, append([]kgo.Opt{
		kgo.SeedBrokers(b.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequestRetries(1),
		kgo.RetryTimeout(2 * time.Second), kgo.RecordRetries(1),
	}, opts...)...)
}

func TestGuests(t *testing.T) {
	b := openBroker(t, Config{Dir: t.TempDir(), OwnGroups: []string{"shop."}})
	b.createTopic(t, "orders", 1, map[string]string{"retention.ms": "-1"})
	produce(t, b.client(t), record("orders", 0, "k", "v"))
	adm := kadm.NewClient(guest(t, b))
	ctx := t.Context()

	t.Run("read topics, offsets and settings without credentials", func(t *testing.T) {
		if got := values(readAll(t, []kgo.Opt{kgo.SeedBrokers(b.Addr())}, "orders")); got != "0:v" {
			t.Errorf("read %q", got)
		}
		if m, err := adm.Metadata(ctx); err != nil || len(m.Topics) != 1 || len(m.Brokers) != 1 {
			t.Errorf("%+v, %v", m, err)
		}
		if rs, err := adm.DescribeTopicConfigs(ctx, "orders"); err != nil || rs[0].Err != nil || len(rs[0].Configs) == 0 {
			t.Errorf("%+v, %v", rs, err)
		}
	})
	t.Run("use groups other than the platform's", func(t *testing.T) {
		o := kadm.Offsets{}
		o.Add(kadm.Offset{Topic: "orders", Partition: 0, At: 1})
		if err := adm.CommitAllOffsets(ctx, "mine", o); err != nil {
			t.Error(err)
		}
		if err := adm.CommitAllOffsets(ctx, "shop.order", o); !errors.Is(err, kerr.GroupAuthorizationFailed) {
			t.Errorf("commit in the platform's group: %v", err)
		}
		if err := kadm.NewClient(b.client(t)).CommitAllOffsets(ctx, "shop.order", o); err != nil {
			t.Errorf("the platform in its own group: %v", err)
		}
		if got, err := adm.FetchOffsets(ctx, "shop.order"); err != nil || got["orders"][0].At != 1 {
			t.Errorf("lag of the platform's group: %v, %v", got, err)
		}
		if rs, err := adm.DeleteGroups(ctx, "shop.order"); err == nil && rs.Error() == nil {
			t.Error("a guest deleted the platform's group")
		}
	})
	t.Run("write nothing", func(t *testing.T) {
		for name, opts := range map[string][]kgo.Opt{"idempotent": nil, "plain": {kgo.DisableIdempotentWrite()}} {
			if err := guest(t, b, opts...).ProduceSync(ctx, record("orders", 0, "k", "forged")).FirstErr(); err == nil {
				t.Errorf("a guest's %s produce was accepted", name)
			}
		}
		if _, err := adm.CreateTopic(ctx, 1, 1, nil, "mine"); !errors.Is(err, kerr.TopicAuthorizationFailed) && !errors.Is(err, kerr.ClusterAuthorizationFailed) {
			t.Errorf("create: %v", err)
		}
		if rs, err := adm.DeleteTopics(ctx, "orders"); err == nil && rs.Error() == nil {
			t.Error("a guest deleted a topic")
		}
		to := kadm.Offsets{}
		to.Add(kadm.Offset{Topic: "orders", Partition: 0, At: 1})
		if rs, err := adm.DeleteRecords(ctx, to); err == nil && rs.Error() == nil {
			t.Error("a guest deleted records")
		}
		if rs, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: kadm.StringPtr("1")}}, "orders"); err == nil && rs[0].Err == nil {
			t.Error("a guest changed a topic")
		}
		if rs, err := adm.CreateACLs(ctx, kadm.NewACLs().Allow("User:*").AllowHosts("*").Topics("*").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kmsg.ACLOperationAll)); err == nil && rs[0].Err == nil {
			t.Error("a guest gave itself rights")
		}
		scram := []kadm.UpsertSCRAM{{User: b.cfg.Platform.User, Mechanism: kadm.ScramSha256, Iterations: 4096, Password: "x"}}
		if rs, err := adm.AlterUserSCRAMs(ctx, nil, scram); err == nil && rs[b.cfg.Platform.User].Err == nil {
			t.Error("a guest made a password for the platform's user")
		}
		if got := values(readAll(t, b.ClientOpts(), "orders")); got != "0:v" {
			t.Errorf("the topic now holds %q", got)
		}
	})
	t.Run("are not let in with a wrong password", func(t *testing.T) {
		cl := guest(t, b, kgo.SASL(plain.Auth{User: b.cfg.Platform.User, Pass: "guess"}.AsMechanism()))
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if err := cl.Ping(ctx); err == nil {
			t.Error("let in")
		}
	})
	t.Run("under another name have no more rights than without", func(t *testing.T) {
		cl := guest(t, b, kgo.SASL(plain.Auth{User: "somebody", Pass: ""}.AsMechanism()), kgo.DisableIdempotentWrite())
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if err := cl.ProduceSync(ctx, record("orders", 0, "k", "forged")).FirstErr(); err == nil {
			t.Error("a produce was accepted")
		}
	})
}

// A guest must not be able to end a transaction of the platform in the eyes of the hooks, which see requests before
// kfake checks who sends them.
func TestGuests_CannotForgeADecision(t *testing.T) {
	b := openBroker(t, Config{Dir: t.TempDir()})
	b.createTopic(t, "out", 1, nil)
	cl := b.client(t, kgo.TransactionalID("engine"))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, record("out", 0, "k", "open"))
	id, epoch, err := cl.ProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = "engine", id, epoch, true
	if _, err := end.RequestWith(t.Context(), guest(t, b)); err == nil {
		t.Error("a guest's EndTxn was answered")
	}
	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionalID, init.TransactionTimeoutMillis = kmsg.StringPtr("engine"), 1
	if _, err := init.RequestWith(t.Context(), guest(t, b)); err == nil {
		t.Error("a guest's InitProducerID was answered")
	}
	init.TransactionalID = kmsg.StringPtr(strings.Repeat("x", 2*peekBytes))
	if _, err := init.RequestWith(t.Context(), guest(t, b)); err == nil {
		t.Error("a guest's InitProducerID was answered, its id is longer than what the gate looks at")
	}
	if b.slot.full {
		t.Error("a decision was written")
	}
	if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Errorf("the platform's own commit: %v", err)
	}
}

func TestGate(t *testing.T) {
	b := openBroker(t, Config{Dir: t.TempDir()})
	frame := func(size uint32, key, version uint16) []byte {
		raw := binary.BigEndian.AppendUint32(nil, size)
		raw = binary.BigEndian.AppendUint16(raw, key)
		raw = binary.BigEndian.AppendUint16(raw, version)
		return append(raw, make([]byte, 16)...)
	}
	for name, raw := range map[string][]byte{
		"a web browser":           []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"a TLS client":            {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0},
		"an unknown kind":         frame(20, 9999, 0), // kfake alone panics
		"an unknown version":      frame(20, 3, 200),
		"a length of 2 GiB":       frame(1<<31, 3, 1),
		"a length of nothing":     frame(3, 3, 1),
		"a transaction cut short": frame(20, uint16(kmsg.EndTxn), 3),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", b.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(raw); err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, conn); n > 0 || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("answered %d bytes, %v", n, err)
			}
		})
	}
	if err := b.client(t).Ping(t.Context()); err != nil {
		t.Errorf("the broker no longer answers: %v", err)
	}
}
