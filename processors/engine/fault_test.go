package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/processors/engine"
)

// losing dials connections that lose the answers to some requests: the broker has
// acted, the client does not know.
type losing struct {
	key   kmsg.Key
	every int64
	seen  atomic.Int64
	lost  atomic.Int64
}

func (l *losing) dial(ctx context.Context, network, host string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, host)
	if err != nil {
		return nil, err
	}
	return &losingConn{Conn: c, l: l}, nil
}

type losingConn struct {
	net.Conn
	l    *losing
	mu   sync.Mutex
	lose bool
}

// Write sees whole requests: size (4), key (2), …
func (c *losingConn) Write(b []byte) (int, error) {
	if len(b) > 6 && kmsg.Key(binary.BigEndian.Uint16(b[4:])) == c.l.key && c.l.seen.Add(1)%c.l.every == 0 {
		c.mu.Lock()
		c.lose = true
		c.mu.Unlock()
	}
	return c.Conn.Write(b)
}

func (c *losingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lose && err == nil {
		c.l.lost.Add(1)
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// The broker has ended a transaction, committed offsets or taken records, and its
// answer is lost: whatever the client makes of it, everything happens exactly once.
func TestFault_LostAnswers(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.EndTxn, kmsg.TxnOffsetCommit, kmsg.Produce, kmsg.Heartbeat, kmsg.Fetch} {
		t.Run(key.Name(), func(t *testing.T) {
			kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
				n := setup(t, b)
				l := &losing{key: key, every: 4}
				s := openStore(t, t.TempDir())
				e := newEngine(t, b, n.Group, withStore(s), func(c *engine.Config) {
					c.ClientOpts = []kgo.Opt{kgo.Dialer(l.dial)}
					c.CommitMin, c.CommitMax = time.Millisecond, 5*time.Millisecond
				})
				r := start(t, b, e, n.graph(0))
				const batches, size = 30, 50
				for i := range uint64(batches) { // a transaction each, at least
					n.produce(t, b, i*size+1, (i+1)*size, 20, 7)
					kafkatest.Eventually(t, 30*time.Second, "the batch is processed", func() bool { return e.Stats().Records >= int64((i+1)*size) })
				}
				n.drained(t, b, 60*time.Second)
				for k := range uint64(20) {
					key := string(keyOf(k, 20))
					kafkatest.Eventually(t, 10*time.Second, "the local store of "+key, func() bool {
						v, err := e.Committed(engine.PartitionOf(key, partitions), key)
						if err != nil || v == nil {
							return false
						}
						st, err := decodeState(v)
						return err == nil && st.Version == batches*size/20
					})
				}
				r.stop()
				n.verify(t, b, batches*size, 20)
				if l.lost.Load() == 0 {
					t.Errorf("no answer of %d was lost: this test proves nothing", l.seen.Load())
				}
				t.Logf("%d of %d answers lost, %+v", l.lost.Load(), l.seen.Load(), e.Stats())
			})
		})
	}
}

// Whoever takes over the transactional id ends the other one, and Run's error says so.
func TestFault_Fenced(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		e := newEngine(t, b, n.Group)
		r := start(t, b, e, n.graph(0)).ready()
		n.produce(t, b, 1, 100, 10, 0)
		n.drained(t, b, 20*time.Second)
		thief := b.Client(t, kgo.TransactionalID(n.Group+".a"))
		_, _, err := thief.ProducerID(t.Context())
		must(t, err)
		n.produce(t, b, 101, 200, 10, 0)
		if err := r.end(); !errors.Is(err, engine.ErrFenced) || !errors.Is(e.Err(), engine.ErrFenced) {
			t.Errorf("Run returned %v, Err %v", err, e.Err())
		}
		if st := e.Stats(); st.Fenced != 1 || st.OpenTxn != 0 {
			t.Errorf("%+v", st)
		}
		r = start(t, b, newEngine(t, b, n.Group), n.graph(0))
		n.drained(t, b, 20*time.Second)
		r.stop()
		n.verify(t, b, 200, 10)
	})
}

// The broker ends a transaction that takes too long, as in its own failover, and raises
// the epoch. Nobody has taken our name, so the engine goes on by itself.
func TestFault_TransactionEndedByTheBroker(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		n := setup(t, b)
		e := newEngine(t, b, n.Group, func(c *engine.Config) { c.StaticMember = true })
		r := start(t, b, e, n.graph(0)).ready()
		n.produce(t, b, 1, 100, 10, 0)
		n.drained(t, b, 20*time.Second)
		// What the broker's timeout does to the id, anybody's InitProducerID does.
		coordinator := b.Client(t, kgo.TransactionalID(n.Group+".a"))
		_, _, err := coordinator.ProducerID(t.Context())
		must(t, err)
		n.produce(t, b, 101, 200, 10, 0)
		n.drained(t, b, 30*time.Second)
		if st := e.Stats(); st.Fenced != 0 || st.Sessions < 2 {
			t.Errorf("the id was not taken away: this test proves nothing: %+v", st)
		}
		r.stop()
		n.verify(t, b, 200, 10)
	})
}

// A broker that is late with the markers of the last transaction refuses the records of
// the next one for a moment. That must not last until the client's next look at the
// metadata, which by default is up to 5 s away.
func TestFault_RecordsRefusedForAMoment(t *testing.T) {
	b := kafkatest.Kfake(t)
	n := setup(t, b)
	r := start(t, b, newEngine(t, b, n.Group), n.graph(0)).ready()
	n.produce(t, b, 1, 100, 10, 0)
	n.drained(t, b, 20*time.Second)
	refused := b.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: n.Events, Err: kerr.ConcurrentTransactions, Count: 1})
	n.produce(t, b, 101, 200, 10, 0)
	n.drained(t, b, 2*time.Second)
	if refused.Hits() != 1 {
		t.Errorf("%d requests were refused: this test proves nothing", refused.Hits())
	}
	r.stop()
	n.verify(t, b, 200, 10)
}

// A busy broker is late with the markers of a transaction, and refuses offsets that come alone until it has written them.
func TestFault_OffsetsAloneAfterACommit(t *testing.T) {
	b := kafkatest.Kfake(t)
	n := setup(t, b)
	e := newEngine(t, b, n.Group)
	r := start(t, b, e, n.graph(0)).ready()
	n.produce(t, b, 1, 100, 10, 0)
	n.drained(t, b, 20*time.Second)

	until := time.Now().Add(300 * time.Millisecond)
	var asked, refused atomic.Int64
	b.Fake.ControlKey(kmsg.DescribeTransactions.Int16(), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		if asked.Add(1); time.Now().After(until) {
			return nil, nil, false
		}
		req := kreq.(*kmsg.DescribeTransactionsRequest)
		resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
		resp.TransactionStates = []kmsg.DescribeTransactionsResponseTransactionState{{TransactionalID: req.TransactionalIDs[0], State: "PrepareCommit"}}
		return resp, nil, true
	})
	b.Fake.ControlKey(kmsg.TxnOffsetCommit.Int16(), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		if time.Now().After(until) {
			return nil, nil, false
		}
		refused.Add(1)
		req := kreq.(*kmsg.TxnOffsetCommitRequest)
		resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewTxnOffsetCommitResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				st.Partitions = append(st.Partitions, kmsg.TxnOffsetCommitResponseTopicPartition{Partition: rp.Partition, ErrorCode: kerr.ConcurrentTransactions.Code})
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	n.produce(t, b, 100, 100, 10, 0) // again: it changes nothing
	n.drained(t, b, 20*time.Second)
	if asked.Load() < 2 {
		t.Errorf("asked %d times: this test proves nothing", asked.Load())
	}
	if st := e.Stats(); refused.Load() > 0 || st.Sessions != 1 {
		t.Errorf("%d commits of offsets were refused, %d sessions", refused.Load(), st.Sessions)
	}
	r.stop()
	n.verify(t, b, 100, 10)
}

// Topics with wrong settings are refused with a sentence, and never created.
func TestFault_WrongTopics(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		for i, c := range []struct {
			name   string
			topics func(names) []kafkatest.Topic
			says   string
		}{
			{"no table", func(n names) []kafkatest.Topic {
				return []kafkatest.Topic{{Name: n.Commands, Partitions: 4}, {Name: n.Events, Partitions: 4}}
			}, "does not exist"},
			{"other partitions", func(n names) []kafkatest.Topic {
				return []kafkatest.Topic{{Name: n.Commands, Partitions: 4}, {Name: n.Events, Partitions: 4}, {Name: n.Table, Partitions: 3, Config: map[string]string{"cleanup.policy": "compact"}}}
			}, "must have 4"},
			{"not compacted", func(n names) []kafkatest.Topic {
				return []kafkatest.Topic{{Name: n.Commands, Partitions: 4}, {Name: n.Events, Partitions: 4}, {Name: n.Table, Partitions: 4}}
			}, "set it to compact"},
		} {
			t.Run(c.name, func(t *testing.T) {
				n := namesOf(fmt.Sprint(b.Prefix, i, "."))
				b.Create(t, c.topics(n)...)
				_, err := newProcessor(b, newEngine(t, b, n.Group), n.graph(0))
				if err == nil || !contains(err, c.says) {
					t.Errorf("NewProcessor returned %v", err)
				}
			})
		}
	})
}

func TestBroker_TransactionVersion(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, b *kafkatest.Broker) {
		if v, err := engine.TransactionVersion(t.Context(), b.Client(t)); err != nil || v != 2 {
			t.Errorf("TransactionVersion returned %d %v", v, err)
		}
	})
}
