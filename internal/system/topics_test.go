package system

import (
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/shop"
)

// A broker that has not heard of a topic yet, which another has listed, is asked again.
func TestActualTopics_of_brokers_that_learn_in_their_own_time(t *testing.T) {
	b := kafkatest.Kfake(t)
	client, declared := b.Client(t), shop.Topology()
	admin := kadm.NewClient(client)
	if err := provisionTopics(t.Context(), client, declared, 1, nothing); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	b.Fake.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if b.Fake.KeepControl(); asked.Add(1) > 2 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, asked := range req.(*kmsg.DescribeConfigsRequest).Resources {
			r := kmsg.NewDescribeConfigsResponseResource()
			r.ResourceType, r.ResourceName, r.ErrorCode = asked.ResourceType, asked.ResourceName, kerr.UnknownTopicOrPartition.Code
			resp.Resources = append(resp.Resources, r)
		}
		return resp, nil, true
	})
	actual, err := ActualTopics(t.Context(), admin, declared)
	if err != nil || len(actual) != len(declared.Topics()) || asked.Load() != 3 {
		t.Errorf("%d topics after %d requests: %v", len(actual), asked.Load(), err)
	}
}

// Topics that another instance has created are there when every broker knows them.
func TestProvisionTopics_asks_every_broker(t *testing.T) {
	b := kafkatest.Kfake(t, kfake.NumBrokers(3))
	client, declared := b.Client(t), shop.Topology()
	if err := provisionTopics(t.Context(), client, declared, 1, nothing); err != nil {
		t.Fatal(err)
	}
	brokers, err := kadm.NewClient(client).ListBrokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	b.Fake.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		topics := req.(*kmsg.MetadataRequest).Topics
		if b.Fake.CurrentNode() != 2 || len(topics) == 0 || asked.Add(1) > 4 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		for _, broker := range brokers {
			r := kmsg.NewMetadataResponseBroker()
			r.NodeID, r.Host, r.Port = broker.NodeID, broker.Host, broker.Port
			resp.Brokers = append(resp.Brokers, r)
		}
		for _, topic := range topics {
			r := kmsg.NewMetadataResponseTopic()
			r.Topic, r.ErrorCode = topic.Topic, kerr.UnknownTopicOrPartition.Code
			resp.Topics = append(resp.Topics, r)
		}
		return resp, nil, true
	})
	if err := awaitTopics(t.Context(), client, declared, false); err != nil {
		t.Fatal(err)
	}
	if n := asked.Load(); n <= 4 {
		t.Errorf("the second of three brokers was asked %d times and did not know the topics yet", n)
	}
}

// A start that is interrupted while it creates topics leaves nothing that a policy would keep the next one from mending.
func TestProvisionTopics_creates_the_dead_letters_first(t *testing.T) {
	b := kafkatest.Kfake(t)
	client, declared := b.Client(t), shop.Topology()
	var created atomic.Int64
	b.Fake.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if b.Fake.KeepControl(); created.Add(1) <= 2 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		for _, topic := range req.(*kmsg.CreateTopicsRequest).Topics {
			r := kmsg.NewCreateTopicsResponseTopic()
			r.Topic, r.ErrorCode = topic.Topic, kerr.PolicyViolation.Code
			resp.Topics = append(resp.Topics, r)
		}
		return resp, nil, true
	})
	if err := provisionTopics(t.Context(), client, declared, 1, nothing); !errors.Is(err, kerr.PolicyViolation) {
		t.Fatalf("error %v", err)
	}
	actual, err := ActualTopics(t.Context(), kadm.NewClient(client), declared)
	if _, there := actual[declared.DeadLetters()]; err != nil || len(actual) != 2 || !there {
		t.Errorf("%v is there, error %v", slices.Collect(maps.Keys(actual)), err)
	}
}
