package registry

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTopic_holdsConfluentsRecords(t *testing.T) {
	c := startBroker(t)
	r := open(t, c)
	steps := []struct{ method, path, body string }{
		{"POST", "/subjects/a/versions", post(`"int"`)},
		{"POST", "/subjects/b/versions", post(record("B", `{"name":"<x>","type":"int"}`))}, // refused: a name
		{"POST", "/subjects/b/versions", post(`{"type":"int", "doc":"a < b & c"}`)},
		{"POST", "/subjects/c/versions", post(`"int"`, Reference{"b", "b", 1})},
		{"PUT", "/config", `{"compatibility":"full"}`},
		{"PUT", "/config/a", `{"compatibility":"NONE"}`},
		{"PUT", "/mode/a", `{"mode":"READWRITE"}`},
		{"PUT", "/mode", `{"mode":"READWRITE"}`},
		{"DELETE", "/subjects/c/versions/1", ""},
		{"DELETE", "/subjects/c/versions/1?permanent=true", ""},
		{"DELETE", "/subjects/a", ""},
		{"DELETE", "/config", ""},
	}
	for _, s := range steps {
		call(t, r, s.method, s.path, s.body)
	}
	want := []string{
		`{"keytype":"SCHEMA","subject":"a","version":1,"magic":1} → {"subject":"a","version":1,"id":1,"schema":"\"int\"","deleted":false}`,
		`{"keytype":"SCHEMA","subject":"b","version":1,"magic":1} → {"subject":"b","version":1,"id":2,"schema":"{\"type\":\"int\",\"doc\":\"a < b & c\"}","deleted":false}`,
		`{"keytype":"SCHEMA","subject":"c","version":1,"magic":1} → {"subject":"c","version":1,"id":3,"references":[{"name":"b","subject":"b","version":1}],"schema":"\"int\"","deleted":false}`,
		`{"keytype":"CONFIG","subject":null,"magic":0} → {"compatibilityLevel":"FULL"}`,
		`{"keytype":"CONFIG","subject":"a","magic":0} → {"subject":"a","compatibilityLevel":"NONE"}`,
		`{"keytype":"MODE","subject":"a","magic":0} → {"subject":"a","mode":"READWRITE"}`,
		`{"keytype":"MODE","subject":null,"magic":0} → {"mode":"READWRITE"}`,
		`{"keytype":"SCHEMA","subject":"c","version":1,"magic":1} → {"subject":"c","version":1,"id":3,"references":[{"name":"b","subject":"b","version":1}],"schema":"\"int\"","deleted":true}`,
		`{"keytype":"NOOP","magic":0} → {"maxId":3}`,
		`{"keytype":"SCHEMA","subject":"c","version":1,"magic":1} → null`,
		`{"keytype":"CONFIG","subject":"a","magic":0} → null`,
		`{"keytype":"MODE","subject":"a","magic":0} → null`,
		`{"keytype":"DELETE_SUBJECT","subject":"a","magic":0} → {"subject":"a","version":1}`,
		`{"keytype":"CONFIG","subject":null,"magic":0} → null`,
	}
	if got := topicLines(t, c); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestOpen_readsATopicOfConfluents(t *testing.T) {
	c := startBroker(t)
	raw := func(key, value string) change {
		if value == "" {
			return change{key: []byte(key)}
		}
		return change{[]byte(key), []byte(value)}
	}
	produce(t, c,
		raw(`{"keytype":"NOOP","magic":0}`, ""),
		raw(`{"keytype":"CONFIG","magic":0}`, `{"compatibilityLevel":"FORWARD"}`),
		raw(`{"keytype":"CONFIG","subject":"a","magic":0}`, `{"subject":"a","compatibilityLevel":"NONE","normalize":true}`),
		raw(`{"keytype":"SCHEMA","subject":"a","version":1,"magic":1}`, `{"subject":"a","version":1,"id":7,"md5":"x","schema":"\"int\"","deleted":false}`),
		raw(`{"keytype":"SCHEMA","subject":"a","version":2,"magic":1}`, `{"subject":"a","version":2,"id":8,"schema":"\"long\"","deleted":true}`),
		raw(`{"keytype":"SCHEMA","subject":"p","version":1,"magic":1}`, `{"subject":"p","version":1,"id":9,"schemaType":"PROTOBUF","schema":"syntax = \"proto3\";","deleted":false}`),
		raw(`{"keytype":"SCHEMA","subject":"thief","version":1,"magic":1}`, `{"subject":"thief","version":1,"id":7,"schema":"\"string\"","deleted":false}`),
		raw(`{"keytype":"CONTEXT","tenant":"default","context":".","magic":0}`, `{"tenant":"default","context":"."}`),
		raw(`not JSON`, `not JSON`),
		raw(`{"keytype":"MODE","subject":"a","magic":0}`, `{"mode":"READONLY"}`),
	)
	r := open(t, c)
	want(t, r, "GET", "/subjects", "", 200, `["a","p"]`)
	want(t, r, "GET", "/config", "", 200, `{"compatibilityLevel":"FORWARD"}`)
	want(t, r, "GET", "/config/a", "", 200, `{"compatibilityLevel":"NONE"}`)
	want(t, r, "GET", "/mode/a", "", 200, `{"mode":"READONLY"}`)
	want(t, r, "GET", "/schemas/ids/7", "", 200, `{"schema":"\"int\""}`)
	want(t, r, "GET", "/schemas/ids/8/schema", "", 200, `"long"`)
	want(t, r, "GET", "/subjects/a/versions?deleted=true", "", 200, `[1,2]`)
	want(t, r, "GET", "/subjects/p/versions/1", "", 200, `{"subject":"p","version":1,"id":9,"schemaType":"PROTOBUF","schema":"syntax = \"proto3\";"}`)
	want(t, r, "POST", "/subjects/p/versions", post(`"int"`), 422, `{"error_code":42201,"message":"Version 1 of subject p cannot be compared with: …`)
	want(t, r, "POST", "/subjects/new/versions", post(`"double"`), 200, `{"id":10}`)
}

func TestOpen_afterARestartAllIsAsBefore(t *testing.T) {
	dir := t.TempDir()
	c := startBroker(t, kfake.DataDir(dir))
	r := open(t, c)
	for i := range 20 {
		want(t, r, "POST", fmt.Sprintf("/subjects/s%d/versions", i%7), post(record(fmt.Sprintf("R%d", i%7), intField("a"), optionalField(fmt.Sprintf("f%d", i)))), 200, fmt.Sprintf(`{"id":%d}`, i+1))
	}
	want(t, r, "DELETE", "/subjects/s3", "", 200, `[1,2,3]`)
	before := dump(t, r)
	closeRegistry(t, r)
	c.Close()

	c = startBroker(t, kfake.DataDir(dir))
	again := open(t, c)
	if after := dump(t, again); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	want(t, again, "POST", "/subjects/s0/versions", post(record("R0", intField("a"), optionalField("f7"))), 200, `{"id":8}`)
	want(t, again, "POST", "/subjects/new/versions", post(`"int"`), 200, `{"id":21}`)
}

// An id that was given out frames values on topics that are kept for ever. It
// must not come back with another meaning, even after compaction has removed
// the record that held it.
func TestOpen_neverGivesAnIDTwice(t *testing.T) {
	c := startBroker(t)
	r := open(t, c)
	want(t, r, "POST", "/subjects/a/versions", post(`"int"`), 200, `{"id":1}`)
	want(t, r, "POST", "/subjects/b/versions", post(`"long"`), 200, `{"id":2}`)
	want(t, r, "DELETE", "/subjects/b", "", 200, `[1]`)
	want(t, r, "DELETE", "/subjects/b?permanent=true", "", 200, `[1]`)
	want(t, r, "GET", "/schemas/ids/2", "", 404, `{"error_code":40403,"message":"Schema 2 not found"}`)
	want(t, r, "PUT", "/mode/a", `{"mode":"READWRITE"}`, 200, `{"mode":"READWRITE"}`) // the last batch is not compacted
	closeRegistry(t, r)
	c.Compact()
	for _, line := range topicLines(t, c) {
		if strings.Contains(line, `"id":2`) {
			t.Fatalf("the compactor has left %s: this test shows nothing", line)
		}
	}
	want(t, open(t, c), "POST", "/subjects/c/versions", post(`"string"`), 200, `{"id":3}`)
}

// Compaction may remove the records at the very end of the log; a replay that
// waits for them would wait for ever.
func TestOpen_whenTheLastRecordsWereCompactedAway(t *testing.T) {
	c := startBroker(t)
	r := open(t, c)
	want(t, r, "POST", "/subjects/a/versions", post(`"int"`), 200, `{"id":1}`)
	before := dump(t, r)
	closeRegistry(t, r)
	c.ControlKey(int16(kmsg.ListOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		resp := kreq.ResponseKind().(*kmsg.ListOffsetsResponse)
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = "_schemas"
		part := kmsg.NewListOffsetsResponseTopicPartition()
		part.Offset = 2 // one more than there is
		topic.Partitions = append(topic.Partitions, part)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	again := open(t, c)
	if after := dump(t, again); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	want(t, again, "POST", "/subjects/b/versions", post(`"long"`), 200, `{"id":2}`)
	lines := topicLines(t, c)
	if len(lines) != 4 || lines[1] != `{"keytype":"NOOP","magic":0} → null` || lines[2] != `{"keytype":"NOOP","magic":0} → {"maxId":1}` {
		t.Errorf("got\n%s", strings.Join(lines, "\n"))
	}
}

func TestOpen_createsTheTopicForEver(t *testing.T) {
	c := startBroker(t)
	closeRegistry(t, open(t, c))
	configs := describeTopic(t, c)
	if configs["cleanup.policy"] != "compact" || configs["retention.ms"] != "-1" {
		t.Errorf("got %v", configs)
	}
	closeRegistry(t, open(t, c)) // and takes it as it is
}

func TestOpen_refusesATopicThatWouldLoseSchemas(t *testing.T) {
	cases := map[string]struct {
		partitions int32
		configs    map[string]string
		says       string
	}{
		"two partitions": {2, topicConfigs, "2 partitions"},
		"deletion":       {1, map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}, "cleanup.policy=delete"},
		"retention":      {1, map[string]string{"cleanup.policy": "compact", "retention.ms": "1000"}, "retention.ms=1000"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := startBroker(t)
			admin, err := kadm.NewOptClient(seeds(c)...)
			if err != nil {
				t.Fatal(err)
			}
			defer admin.Close()
			configs := map[string]*string{}
			for k, v := range tc.configs {
				configs[k] = &v
			}
			if _, err := admin.CreateTopic(t.Context(), tc.partitions, -1, configs, "_schemas"); err != nil {
				t.Fatal(err)
			}
			_, err = Open(t.Context(), Config{ClientOpts: seeds(c)})
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOpen_failsInTime(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	c := startBroker(t)
	if _, err := Open(t.Context(), Config{Listen: taken.Addr().String(), ClientOpts: seeds(c)}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a port in use: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, Config{ClientOpts: []kgo.Opt{kgo.SeedBrokers(taken.Addr().String())}}); err == nil {
		t.Error("a broker that does not answer: no error")
	}
}

// Of several brokers each learns of a new topic in its own time, and until then answers that there is none.
func TestOpen_waitsUntilTheBrokersKnowTheTopic(t *testing.T) {
	c := startBroker(t, kfake.NumBrokers(3))
	var asked atomic.Int32
	until := time.Now().Add(time.Second)
	c.ControlKey(int16(kmsg.ListOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req := kreq.(*kmsg.ListOffsetsRequest)
		if asked.Add(1); time.Now().After(until) {
			return nil, nil, false
		}
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, topic := range req.Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = topic.Topic
			for _, p := range topic.Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.UnknownTopicOrPartition.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	want(t, open(t, c), "POST", "/subjects/a/versions", post(`"int"`), 200, `{"id":1}`)
	if n := asked.Load(); n < 2 {
		t.Errorf("the brokers were asked %d times: what this test is about did not happen", n)
	}
}

func describeTopic(t *testing.T, c *kfake.Cluster) map[string]string {
	t.Helper()
	admin, err := kadm.NewOptClient(seeds(c)...)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	described, err := admin.DescribeTopicConfigs(t.Context(), "_schemas")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, c := range described[0].Configs {
		out[c.Key] = c.MaybeValue()
	}
	return out
}
