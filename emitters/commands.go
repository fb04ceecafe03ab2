package emitters

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/domain"
	"github.com/nexusblueprint/nexus/internal/kafkalog"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/topology"
)

const (
	// linger gathers commands that come at the same time into one request.
	linger = time.Millisecond
	// Bounds of what waits for the broker; beyond them Send fails at once.
	bufferedRecordsMax = 16_384
	bufferedBytesMax   = 32 << 20
	// deliveryTimeout is how long a command may wait for a broker that does not answer.
	deliveryTimeout = 5 * time.Second
	// retryPause is the rest between two tries to reach the broker.
	retryPause = 100 * time.Millisecond
)

// Framer puts records into Confluent framing. Implementations are safe for concurrent use.
type Framer interface {
	// Append appends rec, framed, to dst. It fails for a record whose schema is not registered.
	Append(dst []byte, rec avro.Record) ([]byte, error)
}

// Config of an emitter. Every field is required, except where it says otherwise.
type Config struct {
	Topology *topology.Topology
	Framer   Framer
	// Client says how to reach the broker: seeds, TLS, SASL.
	Client []kgo.Opt
	// Logger gets what an operator needs after an accident. Default: discard.
	Logger *slog.Logger

	// Seams of the tests.
	deliveryTimeout time.Duration
	recordsMax      int
}

// Commands logs commands: it is the half of a [ports.EventBus] that goes out. It is safe for concurrent use.
type Commands struct {
	cfg    Config
	cl     *kgo.Client
	topics map[string]string // by aggregate type

	life   sync.RWMutex
	closed bool           // guarded by life
	onWay  sync.WaitGroup // commands whose done has not returned; added to under life
}

// NewCommands makes an emitter. It connects with the first command.
func NewCommands(cfg Config) (*Commands, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.deliveryTimeout == 0 {
		cfg.deliveryTimeout = deliveryTimeout
	}
	if cfg.recordsMax == 0 {
		cfg.recordsMax = bufferedRecordsMax
	}
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ClientID("nexus-emitters"), kafkalog.To(cfg.Logger),
		// Kafka's murmur2, what producers of every language use by default.
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(linger),
		kgo.MaxBufferedRecords(cfg.recordsMax), kgo.MaxBufferedBytes(bufferedBytesMax),
		// Holds only for what is certain not to be in the log; see sending.inDoubt for the others.
		kgo.RecordDeliveryTimeout(cfg.deliveryTimeout),
		// After an outage the next commands must not wait out the client's patience with the last ones.
		kgo.MetadataMinAge(retryPause), kgo.RetryBackoffFn(func(int) time.Duration { return retryPause }),
		kgo.ProducerBatchMaxBytes(batchBytesMax(cfg.Topology)),
	}, cfg.Client...)...)
	if err != nil {
		return nil, fmt.Errorf("setting up the emitter's client: %w", err)
	}
	c := &Commands{cfg: cfg, cl: cl, topics: map[string]string{}}
	for _, a := range cfg.Topology.Aggregates {
		c.topics[a.Name()] = cfg.Topology.Commands(a)
	}
	return c, nil
}

// Send implements [ports.EventBus].
func (c *Commands) Send(ctx context.Context, aggregateType, id string, cmd domain.Command, meta *platform.CommandMetadata, done func(error)) {
	topic, value, header, err := c.frame(aggregateType, cmd, meta)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = c.enter()
	}
	if err != nil {
		done(fmt.Errorf("sending %s: %w", cmd.AvroName(), err))
		return
	}
	s := &sending{c: c, name: cmd.AvroName(), done: done}
	s.doubt = time.AfterFunc(2*c.cfg.deliveryTimeout, s.inDoubt)
	// Not with ctx: when the context of one record ends, the client fails every record that waits for the partition,
	// also those of other callers.
	c.cl.TryProduce(context.Background(), &kgo.Record{
		Topic: topic, Key: []byte(id), Value: value,
		Headers: []kgo.RecordHeader{{Key: serde.MetaHeader, Value: header}},
	}, s.settled)
}

// frame finds where the command goes and what goes there.
func (c *Commands) frame(aggregateType string, cmd domain.Command, meta *platform.CommandMetadata) (topic string, value, header []byte, err error) {
	topic, ok := c.topics[aggregateType]
	if !ok {
		return "", nil, nil, fmt.Errorf("%w: %w: %q", ports.ErrRefused, ports.ErrUnknownType, aggregateType)
	}
	if value, err = c.cfg.Framer.Append(nil, cmd); err == nil {
		header, err = c.cfg.Framer.Append(nil, meta)
	}
	if err != nil {
		return "", nil, nil, fmt.Errorf("%w: %w", ports.ErrRefused, err)
	}
	return topic, value, header, nil
}

// enter counts a command on its way, unless the emitter is closed.
func (c *Commands) enter() error {
	c.life.RLock()
	defer c.life.RUnlock()
	if c.closed {
		return ports.ErrBusClosed
	}
	c.onWay.Add(1)
	return nil
}

// Close sends what is on its way, for at most five seconds, and closes the emitter; what could not be sent then ends
// with [ports.ErrInDoubt]. It is idempotent and returns after the last done has.
func (c *Commands) Close() error {
	c.life.Lock()
	was := c.closed
	c.closed = true
	c.life.Unlock()
	var err error
	if !was {
		ctx, cancel := context.WithTimeout(context.Background(), c.cfg.deliveryTimeout)
		defer cancel()
		if err = c.cl.Flush(ctx); err != nil {
			err = fmt.Errorf("closing the emitter with commands on their way: %w", err)
		}
		c.cl.Close()
	}
	c.onWay.Wait()
	return err
}

// sending is one command on its way.
type sending struct {
	c     *Commands
	name  string
	done  func(error)
	once  sync.Once
	doubt *time.Timer
}

func (s *sending) settled(_ *kgo.Record, err error) {
	s.doubt.Stop()
	s.finish(judge(err))
}

// inDoubt ends the wait for an answer: the command has left, and the client rightly keeps it until it knows.
func (s *sending) inDoubt() {
	s.finish(fmt.Errorf("%w: the broker did not answer in %v", ports.ErrInDoubt, 2*s.c.cfg.deliveryTimeout))
}

func (s *sending) finish(err error) {
	s.once.Do(func() {
		defer s.c.onWay.Done()
		if err != nil {
			err = fmt.Errorf("sending %s: %w", s.name, err)
		}
		s.done(err)
	})
}

// judge names the client's error by what it means for the command.
func judge(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kgo.ErrMaxBuffered):
		return ports.ErrOverloaded
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return fmt.Errorf("%w: %w: %w", ports.ErrRefused, ports.ErrTooLarge, err)
	case errors.Is(err, kerr.PolicyViolation):
		return fmt.Errorf("%w: %w: %w", ports.ErrBusUnavailable, ports.ErrLogFull, err)
	case errors.Is(err, kgo.ErrClientClosed), errors.Is(err, kgo.ErrAborting):
		return fmt.Errorf("%w: %w", ports.ErrInDoubt, err)
	}
	// The idempotent client gives a record up only while it is certain that the log does not have it.
	return fmt.Errorf("%w: %w", ports.ErrBusUnavailable, err)
}

// batchBytesMax is the least max.message.bytes of the commands topics: a batch that a topic refuses would take the
// commands of others with it.
func batchBytesMax(t *topology.Topology) int32 {
	least := int32(math.MaxInt32)
	for _, topic := range t.Topics() {
		if topic.Kind != topology.CommandTopic {
			continue
		}
		if n, err := strconv.ParseInt(topic.Config["max.message.bytes"], 10, 32); err == nil {
			least = min(least, int32(n))
		}
	}
	return least
}
