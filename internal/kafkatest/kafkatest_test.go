package kafkatest

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestEach(t *testing.T) {
	Each(t, func(t *testing.T, b *Broker) {
		b.Create(t, Topic{Name: b.Prefix + "x", Partitions: 2, Config: map[string]string{"cleanup.policy": "compact"}})
		cl := b.Client(t, kgo.ConsumeTopics(b.Prefix+"x"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: b.Prefix + "x", Key: []byte("k"), Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if r := cl.PollFetches(t.Context()).Records(); len(r) != 1 || string(r[0].Value) != "v" {
			t.Fatalf("read %v", r)
		}
	})
}
