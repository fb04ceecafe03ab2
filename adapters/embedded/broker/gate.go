package broker

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxRequestBytes bounds a request, as socket.request.max.bytes does in Kafka (its default too).
const maxRequestBytes = 100 << 20

// gate is the listener that kfake serves. It keeps from kfake what would hurt it: kfake allocates whatever length a
// connection announces, panics on a request kind it does not know, and its hooks cannot tell who asks.
type gate struct {
	net.Listener
	open     chan struct{} // closed once the hooks are in place
	platform Credentials
	log      *slog.Logger
}

func (g *gate) Accept() (net.Conn, error) {
	conn, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &guarded{Conn: conn, gate: g}, nil
}

// guarded passes requests on after a look at their first bytes. Reads come from one goroutine.
type guarded struct {
	net.Conn
	gate    *gate
	head    []byte // of the request, checked and not yet passed on
	rest    int64  // bytes of the request behind it
	trusted bool   // has shown the platform's password
	failed  error
}

func (c *guarded) Read(p []byte) (int, error) {
	if c.failed != nil {
		return 0, c.failed
	}
	if len(c.head) == 0 && c.rest == 0 {
		<-c.gate.open
		if c.failed = c.next(); c.failed != nil {
			return 0, c.failed
		}
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.rest)])
	c.rest -= int64(n)
	return n, err
}

// peekBytes is how much of a request is looked at: more than any client id and transactional id that make sense.
const peekBytes = 4 << 10

func (c *guarded) next() error {
	head := make([]byte, 12, 64)
	if _, err := io.ReadFull(c.Conn, head); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(head))
	key, version := int16(binary.BigEndian.Uint16(head[4:])), int16(binary.BigEndian.Uint16(head[6:])) // wire format
	req := kmsg.RequestForKey(key)
	if size < 8 || size > maxRequestBytes || req == nil || version < 0 || version > req.MaxVersion() {
		return c.reject("not a Kafka request", key)
	}
	c.rest = size - 8
	if peek := guestMustNot(key); !c.trusted && peek || key == int16(kmsg.SASLAuthenticate) {
		more := make([]byte, min(c.rest, peekBytes))
		if _, err := io.ReadFull(c.Conn, more); err != nil {
			return err
		}
		head = append(head, more...)
		c.rest -= int64(len(more))
		req.SetVersion(version)
		body, ok := requestBody(more, req)
		if !ok {
			return c.reject("a request that cannot be read", key)
		}
		if key == int16(kmsg.SASLAuthenticate) {
			c.authenticate(body, req)
		} else if inTransaction(body, req) {
			return c.reject("a transaction of a client that may only read", key)
		}
	}
	c.head = head
	return nil
}

func (c *guarded) reject(what string, key int16) error {
	c.gate.log.Info("closing a connection", "why", what, "request", key, "client", c.RemoteAddr().String())
	return fmt.Errorf("%s: %w", what, errRejected)
}

var errRejected = errors.New("connection closed by the broker")

// guestMustNot names the requests through which a client that may only read could mislead the hooks about a
// transaction of the platform, before kfake refuses them.
func guestMustNot(key int16) bool {
	switch kmsg.Key(key) {
	case kmsg.Produce, kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn, kmsg.WriteTxnMarkers:
		return true
	default:
		return false
	}
}

// inTransaction tells whether a request of guestMustNot belongs to a transaction. Plain ones get kfake's own refusal,
// which names topic and reason.
func inTransaction(body kbin.Reader, req kmsg.Request) bool {
	switch kmsg.Key(req.Key()) {
	case kmsg.Produce, kmsg.InitProducerID:
		var id *string
		if req.IsFlexible() {
			id = body.CompactNullableString()
		} else {
			id = body.NullableString()
		}
		return id != nil || !body.Ok() // longer than what was looked at
	default:
		return true
	}
}

// requestBody steps over what stands between correlation id and body: client id and tags.
func requestBody(raw []byte, req kmsg.Request) (kbin.Reader, bool) {
	r := kbin.Reader{Src: raw}
	r.NullableString()
	if req.IsFlexible() {
		skipTags(&r)
	}
	return r, r.Ok()
}

// skipTags is kmsg.SkipTags, which goes on to count to the number that the client names when there is nothing left to read.
func skipTags(r *kbin.Reader) {
	for n := r.Uvarint(); n > 0 && r.Ok(); n-- {
		_, size := r.Uvarint(), r.Uvarint()
		r.Span(int(size))
	}
}

// authenticate notes whether the connection has shown the platform's user and password (SASL/PLAIN). kfake checks them
// too, and grants by what it finds; this one only decides what the hooks may believe.
func (c *guarded) authenticate(body kbin.Reader, req kmsg.Request) {
	var token []byte
	if req.IsFlexible() {
		token = body.CompactBytes()
	} else {
		token = body.Bytes()
	}
	parts := bytes.SplitN(token, []byte{0}, 3)
	if len(parts) != 3 {
		return
	}
	user := subtle.ConstantTimeCompare(parts[1], []byte(c.gate.platform.User))
	pass := subtle.ConstantTimeCompare(parts[2], []byte(c.gate.platform.Password))
	c.trusted = user&pass == 1
}
