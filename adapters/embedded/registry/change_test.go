package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sr"
)

func TestChange_aRefusedWriteChangesNothing(t *testing.T) {
	c := startBroker(t)
	r := open(t, c)
	want(t, r, "POST", "/subjects/a/versions", post(`"int"`), 200, `{"id":1}`)
	before := dump(t, r)
	var refuse atomic.Bool
	refuse.Store(true)
	c.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if !refuse.Load() {
			return nil, nil, false
		}
		req := kreq.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.TopicID = req.Topics[0].Topic, req.Topics[0].TopicID
		part := kmsg.NewProduceResponseTopicPartition()
		part.ErrorCode = kerr.KafkaStorageError.Code
		topic.Partitions = append(topic.Partitions, part)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	calls := []struct{ method, path, body string }{
		{"POST", "/subjects/b/versions", post(`"long"`)},
		{"PUT", "/config", `{"compatibility":"NONE"}`},
		{"PUT", "/mode/a", `{"mode":"READONLY"}`},
		{"DELETE", "/subjects/a", ""},
	}
	for _, s := range calls {
		want(t, r, s.method, s.path, s.body, 500, `{"error_code":50001,"message":"Error in the backend datastore…`)
	}
	if after := dump(t, r); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	want(t, r, "GET", "/schemas/ids/1", "", 200, `{"schema":"\"int\""}`)
	want(t, r, "POST", "/subjects/a/versions", post(`"int"`), 200, `{"id":1}`)
	refuse.Store(false)
	want(t, r, "POST", "/subjects/b/versions", post(`"long"`), 200, `{"id":2}`)
}

// deafConn loses every answer of the broker while deaf is set.
type deafConn struct {
	net.Conn
	deaf *atomic.Bool
}

func (d deafConn) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if d.deaf.Load() {
		return 0, errors.Join(net.ErrClosed, d.Close())
	}
	return n, err
}

// The record arrives, its acknowledgement does not: the caller gets an error,
// and the next change must build on what the log really holds.
func TestChange_aLostAcknowledgement(t *testing.T) {
	c := startBroker(t)
	var deaf atomic.Bool
	r := open(t, c, kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, host)
		return deafConn{conn, &deaf}, err
	}))
	want(t, r, "POST", "/subjects/a/versions", post(`"int"`), 200, `{"id":1}`)
	deaf.Store(true)
	status, body := call(t, r, "POST", "/subjects/b/versions", post(`"long"`))
	if status != 500 {
		t.Fatalf("got %d %s", status, body)
	}
	deaf.Store(false)
	if !slices.ContainsFunc(topicLines(t, c), func(l string) bool { return strings.Contains(l, `"id":2`) }) {
		t.Fatal("the record did not arrive: this test shows nothing")
	}
	want(t, r, "POST", "/subjects/c/versions", post(`"string"`), 200, `{"id":3}`)
	want(t, r, "GET", "/schemas/ids/2/schema", "", 200, `"long"`)
	if now, later := dump(t, r), dump(t, open(t, c)); now != later {
		t.Errorf("memory\n%s\na restart\n%s", now, later)
	}
}

// A record that somebody else has put before ours decides, and our caller is told.
func TestChange_aForeignRecordComesFirst(t *testing.T) {
	c := startBroker(t)
	r := open(t, c)
	want(t, r, "POST", "/subjects/a/versions", post(`"int"`), 200, `{"id":1}`)
	produce(t, c, putSchema(schemaValue{Subject: "b", Version: 1, ID: 2, Schema: `"long"`}))
	want(t, r, "POST", "/subjects/c/versions", post(`"string"`), 500, `{"error_code":50001,…`)
	want(t, r, "POST", "/subjects/c/versions", post(`"string"`), 200, `{"id":3}`)
	if now, later := dump(t, r), dump(t, open(t, c)); now != later {
		t.Errorf("memory\n%s\na restart\n%s", now, later)
	}
}

func TestChange_aSchemaTooLargeForARecord(t *testing.T) {
	r := open(t, startBroker(t))
	text := `{"type":"int","doc":"` + strings.Repeat(`\"`, 300_000) + `"}`
	if len(post(text)) > maxBodyBytes {
		text = `{"type":"int","doc":"` + strings.Repeat("x", maxRecordBytes) + `"}`
	}
	want(t, r, "POST", "/subjects/a/versions", post(text), 422, `{"error_code":42209,…`)
	want(t, r, "GET", "/subjects", "", 200, `[]`)
}

func TestRegister_concurrently(t *testing.T) {
	c := startBroker(t)
	r := open(t, c)
	cl := client(t, r)
	ctx := t.Context()
	if res := cl.SetCompatibility(ctx, sr.SetCompatibility{Level: sr.CompatNone}); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	const workers, each = 8, 12
	ids := make([][]int, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				// Every schema is posted by two workers, all under one subject.
				text := record(fmt.Sprintf("R%d", (w/2)*each+i))
				id, err := cl.RegisterSchema(ctx, "one", sr.Schema{Schema: text}, -1, -1)
				if err != nil {
					t.Error(err)
				}
				if got, err := cl.SchemaTextByID(ctx, id); err != nil || got != text {
					t.Errorf("id %d was given for %s, but means %s, %v", id, text, got, err)
				}
				ids[w] = append(ids[w], id)
			}
		})
	}
	wg.Wait()
	for w := 0; w < workers; w += 2 {
		if !slices.Equal(ids[w], ids[w+1]) {
			t.Errorf("two clients got different ids for the same schemas: %v %v", ids[w], ids[w+1])
		}
	}
	versions, err := cl.SubjectVersions(ctx, "one")
	if err != nil || len(versions) != workers/2*each || versions[len(versions)-1] != workers/2*each {
		t.Errorf("got versions %v, %v", versions, err)
	}
	if now, later := dump(t, r), dump(t, open(t, c)); now != later {
		t.Errorf("memory\n%s\na restart\n%s", now, later)
	}
}

// Of two versions that do not fit together one comes first, and the other is
// judged against it, however close together they were sent.
func TestRegister_twoThatClashAtOnce(t *testing.T) {
	r := open(t, startBroker(t))
	for round := range 20 {
		subject, base := fmt.Sprint("s", round), record("R", intField("a"))
		want(t, r, "POST", "/subjects/"+subject+"/versions", post(base), 200, `{"id":1}`)
		texts := []string{record("R", intField("a"), optionalField("b")), record("R", intField("a"), `{"name":"b","type":"string","default":""}`)}
		var statuses [2]int
		var wg sync.WaitGroup
		for i, text := range texts {
			wg.Go(func() { statuses[i], _ = call(t, r, "POST", "/subjects/"+subject+"/versions", post(text)) })
		}
		wg.Wait()
		if slices.Sort(statuses[:]); statuses != [2]int{200, 409} {
			t.Errorf("round %d: answered %v, want one taken and one refused", round, statuses)
		}
		want(t, r, "GET", "/subjects/"+subject+"/versions", "", 200, `[1,2]`)
	}
}

// A subject's deletion replaces the one before it when the topic is compacted,
// and must not bring back what only that one had deleted.
func TestApply_aLowerDeletionKeepsTheHigherOne(t *testing.T) {
	c := startBroker(t)
	r := open(t, c)
	want(t, r, "POST", "/subjects/a/versions", post(`"int"`), 200, `{"id":1}`)
	want(t, r, "POST", "/subjects/a/versions", post(`"long"`), 200, `{"id":2}`)
	want(t, r, "DELETE", "/subjects/a", "", 200, `[1,2]`)
	want(t, r, "PUT", "/mode/a?force=true", `{"mode":"IMPORT"}`, 200, `{"mode":"IMPORT"}`)
	want(t, r, "POST", "/subjects/a/versions", `{"schema":"\"int\"","id":1,"version":1}`, 200, `{"id":1}`)
	want(t, r, "DELETE", "/subjects/a", "", 200, `[1]`)
	want(t, r, "PUT", "/mode/b", `{"mode":"READWRITE"}`, 200, `{"mode":"READWRITE"}`) // the last batch is not compacted
	now := dump(t, r)
	c.Compact()
	if later := dump(t, open(t, c)); now != later {
		t.Errorf("memory\n%s\na restart after compaction\n%s", now, later)
	}
}

// Whatever is done, a replay of the topic, compacted or not, gives the state
// in memory.
func TestApply_replayEqualsMemory(t *testing.T) {
	for range 5 {
		seed := uint64(time.Now().UnixNano())
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			c := startBroker(t)
			r := open(t, c)
			actAtRandom(t, r, rand.New(rand.NewPCG(seed, 0)))
			now := dump(t, r)
			if later := dump(t, open(t, c)); now != later {
				t.Errorf("memory\n%s\na restart\n%s", now, later)
			}
			c.Compact()
			if later := dump(t, open(t, c)); now != later {
				t.Errorf("memory\n%s\na restart after compaction\n%s", now, later)
			}
		})
	}
}

func actAtRandom(t *testing.T, r *Registry, rng *rand.Rand) {
	t.Helper()
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	for range 400 {
		subject := pick("a", "b", "c")
		path := "/subjects/" + subject
		switch rng.IntN(8) {
		case 0, 1, 2:
			call(t, r, "POST", path+"/versions", post(pick(`"int"`, `"long"`, record("R", intField("x")), record("R", optionalField("y")), record("R"))))
		case 3:
			call(t, r, "DELETE", path+"/versions/"+pick("latest", "1", "2", "3")+pick("", "?permanent=true"), "")
		case 4:
			call(t, r, "DELETE", path+pick("", "?permanent=true"), "")
		case 5:
			call(t, r, pick("PUT", "DELETE"), "/config"+pick("", "/"+subject), `{"compatibility":"`+pick("NONE", "FULL", "BACKWARD")+`"}`)
		case 6:
			call(t, r, pick("PUT", "DELETE"), "/mode/"+subject+pick("", "?force=true"), `{"mode":"`+pick("READWRITE", "READWRITE", "IMPORT", "READONLY")+`"}`)
		case 7:
			call(t, r, "POST", path+"/versions", string(encode(map[string]any{"schema": pick(`"bytes"`, `"float"`), "id": rng.IntN(30), "version": rng.IntN(9)})))
		}
	}
}

// What a running system reads its log with stays; all else is its owner's.
func TestDelete_refusesWhatIsKept(t *testing.T) {
	r, err := Open(t.Context(), Config{ClientOpts: seeds(startBroker(t)), Keep: []string{"kept"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeRegistry(t, r) })
	for _, subject := range []string{"kept", "other"} {
		want(t, r, "POST", "/subjects/"+subject+"/versions", post(`"int"`), 200, `{"id":1}`)
	}
	for _, path := range []string{"/subjects/kept", "/subjects/kept?permanent=true", "/subjects/:.:kept", "/subjects/kept/versions/1", "/subjects/kept/versions/latest"} {
		want(t, r, "DELETE", path, "", 422, `{"error_code":42205,"message":"Subject kept is in use: …`)
	}
	want(t, r, "GET", "/subjects/kept/versions", "", 200, `[1]`)
	want(t, r, "DELETE", "/subjects/other", "", 200, `[1]`)
	want(t, r, "DELETE", "/subjects/other?permanent=true", "", 200, `[1]`)
}
