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

// Commands logs commands. It is safe for concurrent use; commands of one aggregate that one goroutine sends are logged
// in the order of the calls of Send.
type Commands struct {
	cfg Config
	cl  *kgo.Client

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
	return &Commands{cfg: cfg, cl: cl}, nil
}

// Send logs a command for the aggregate id of type t and calls done exactly once: with nil when the log has it on all
// replicas in sync, else with an error. done may be called before Send returns, or later from another goroutine; it
// must not block. Send itself does not block, and ctx counts only until it returns: a command that is on its way
// cannot be called back.
//
// Errors given to done: [ErrOverloaded], [ErrUnavailable], [ErrRefused] (also [ErrTooLarge]), [ErrClosed] and ctx.Err()
// mean that the log does not have it; [ErrUnknown] means that it may. One of them comes within about ten seconds.
func (c *Commands) Send(ctx context.Context, t topology.Aggregate, id string, cmd domain.Command, meta *platform.CommandMetadata, done func(error)) {
	value, header, err := c.frame(cmd, meta)
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
		Topic: c.cfg.Topology.Commands(t), Key: []byte(id), Value: value,
		Headers: []kgo.RecordHeader{{Key: serde.MetaHeader, Value: header}},
	}, s.settled)
}

func (c *Commands) frame(cmd domain.Command, meta *platform.CommandMetadata) (value, header []byte, err error) {
	if value, err = c.cfg.Framer.Append(nil, cmd); err == nil {
		header, err = c.cfg.Framer.Append(nil, meta)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return value, header, nil
}

// enter counts a command on its way, unless the emitter is closed.
func (c *Commands) enter() error {
	c.life.RLock()
	defer c.life.RUnlock()
	if c.closed {
		return ErrClosed
	}
	c.onWay.Add(1)
	return nil
}

// Close sends what is on its way, for at most five seconds, and closes the emitter; what could not be sent then ends
// with [ErrUnknown]. It is idempotent and returns after the last done has.
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
	s.finish(fmt.Errorf("%w: the broker did not answer in %v", ErrUnknown, 2*s.c.cfg.deliveryTimeout))
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
		return ErrOverloaded
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return fmt.Errorf("%w: %w: %w", ErrRefused, ErrTooLarge, err)
	case errors.Is(err, kerr.PolicyViolation):
		return fmt.Errorf("%w: %w: %w", ErrUnavailable, ErrFull, err)
	case errors.Is(err, kgo.ErrClientClosed), errors.Is(err, kgo.ErrAborting):
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	// The idempotent client gives a record up only while it is certain that the log does not have it.
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
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
