package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nexusblueprint/nexus/adapters/kafka"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/elastictest"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/internal/system"
	"github.com/nexusblueprint/nexus/shop"
)

// pageRight is one right of the table in docs/how-to/operate.md.
type pageRight struct {
	who       string // a role, "every role" or "tools"
	resource  string // as the authorizer names it
	name      *regexp.Regexp
	operation string // as the authorizer names it
	atStart   bool   // a start demands it
}

func (r pageRight) String() string {
	return fmt.Sprintf("%s: %s on %s %s", r.who, r.operation, r.resource, r.name)
}

// isFor says whether a user, named after its role, gets the right.
func (r pageRight) isFor(user string) bool {
	return r.who == user || r.who == "every role" && user != "tools"
}

// implied says that other rights of the user include this one: Read and Write mean Describe.
func implied(rights []pageRight, user string, r pageRight) bool {
	return r.operation == "DESCRIBE" && !slices.ContainsFunc(resources()[r.resource], func(name string) bool {
		return r.name.MatchString(name) && !slices.ContainsFunc(rights, func(other pageRight) bool {
			return other.isFor(user) && other.resource == r.resource && (other.operation == "READ" || other.operation == "WRITE") && other.name.MatchString(name)
		})
	})
}

var upper = regexp.MustCompile(`([a-z])([A-Z])`)

// pageRights reads the table.
func pageRights(t *testing.T) (all []pageRight) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "how-to", "operate.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| who | on | named | operations |\n|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
		may, when, _ := strings.Cut(strings.TrimSpace(cells[3]), " where ")
		for name := range strings.SplitSeq(cells[2], ",") {
			for operation := range strings.SplitSeq(may, ", ") {
				all = append(all, pageRight{
					who: strings.TrimSpace(cells[0]), resource: strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(cells[1]), " ", "_")),
					name: namesOf(strings.Trim(name, " `")), operation: strings.ToUpper(upper.ReplaceAllString(operation, "${1}_${2}")), atStart: when == "",
				})
			}
		}
	}
	if len(all) < 20 {
		t.Fatalf("the page names %d rights only", len(all))
	}
	return all
}

// namesOf makes a pattern of a name with <placeholders>.
func namesOf(name string) *regexp.Regexp {
	if name == "" { // the cluster
		return regexp.MustCompile("^kafka-cluster$")
	}
	pattern := strings.NewReplacer("<context>", "shop", "<any>", ".+", "<N>", "[0-9]+").Replace(regexp.QuoteMeta(name))
	return regexp.MustCompile("^" + regexp.MustCompile(`<\w+>`).ReplaceAllString(pattern, "[^.]+") + "$")
}

// resources are the names of all that the shop uses on a broker, for instances that are named after their role.
func resources() map[string][]string {
	topo := shop.Topology()
	all := map[string][]string{"CLUSTER": {"kafka-cluster"}, "TOPIC": {"__consumer_offsets"}}
	for _, topic := range topo.Topics() {
		all["TOPIC"] = append(all["TOPIC"], topic.Name)
	}
	group := func(name string) {
		all["GROUP"] = append(all["GROUP"], name)
		all["TRANSACTIONAL_ID"] = append(all["TRANSACTIONAL_ID"], name+"."+config.Processors)
	}
	for _, a := range topo.Aggregates {
		group(topo.Group(a))
	}
	for _, p := range topo.Projections {
		group(topo.ProjectionGroup(p))
		all["GROUP"] = append(all["GROUP"], topo.SinkGroup(p))
	}
	return all
}

// guarded is a cluster whose users have the rights that they were given, and no others.
type guarded struct {
	*cluster
	kafka *kafkatest.Guarded
}

// acls are those of a user's right: literal ones, one for each name.
func (g *guarded) acls(user string, r pageRight) *kadm.ACLBuilder {
	g.t.Helper()
	operation, err := kmsg.ParseACLOperation(r.operation)
	if err != nil {
		g.t.Fatal(err)
	}
	var names []string
	for _, name := range resources()[r.resource] {
		if r.name.MatchString(name) {
			names = append(names, name)
		}
	}
	// Every start asks whether an import is under way, which a topic says that is not there otherwise.
	if importing := shop.Topology().Importing(); r.resource == "TOPIC" && r.operation == "DESCRIBE" && r.name.MatchString(importing) {
		names = append(names, importing)
	}
	if len(names) == 0 {
		g.t.Fatalf("%s: the shop has nothing of that name", r)
	}
	b := kadm.NewACLs().Allow("User:" + user).AllowHosts("*").ResourcePatternType(kadm.ACLPatternLiteral).Operations(operation)
	switch r.resource {
	case "TOPIC":
		return b.Topics(names...)
	case "GROUP":
		return b.Groups(names...)
	case "TRANSACTIONAL_ID":
		return b.TransactionalIDs(names...)
	}
	return b.Clusters()
}

func (g *guarded) grant(user string, r pageRight) {
	g.t.Helper()
	created, err := g.kafka.Admin.CreateACLs(g.t.Context(), g.acls(user, r))
	for _, c := range created {
		if err == nil {
			err = c.Err
		}
	}
	if err != nil {
		g.t.Fatalf("granting %s to %s: %v", r, user, err)
	}
}

func (g *guarded) revoke(user string, r pageRight) {
	g.t.Helper()
	deleted, err := g.kafka.Admin.DeleteACLs(g.t.Context(), g.acls(user, r))
	n := 0
	for _, d := range deleted {
		n += len(d.Deleted)
	}
	if err != nil || n == 0 {
		g.t.Fatalf("taking %s from %s: %d deleted, %v", r, user, n, err)
	}
}

// user makes one who has no rights yet, and the instance that connects as that user; tools have one for its file alone.
func (g *guarded) user(name string) *instance {
	g.t.Helper()
	password := filepath.Join(g.t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(name+"-secret\n"), 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.kafka.User(g.t, name, name+"-secret")
	roles := name
	if name == "tools" {
		roles = config.Gateway
	}
	i := g.instance(name, roles)
	text, err := os.ReadFile(i.File)
	if err != nil {
		g.t.Fatal(err)
	}
	bus := fmt.Sprintf("bus: {url: 'kafka+tls://%s', user: %s, passwordFile: %s, caFile: %s, principals: [%s], breakGlass: rescue}", g.kafka.Door, name, password, g.kafka.CAFile, config.Processors)
	if err := os.WriteFile(i.File, []byte(strings.Replace(string(text), fmt.Sprintf("bus: %q", "kafka://"+g.bus), bus, 1)), 0o600); err != nil {
		g.t.Fatal(err)
	}
	return i
}

// denials are what the program finds that a user lacks.
func (g *guarded) denials(i *instance) []string {
	g.t.Helper()
	settings, err := config.Load(config.Sources{File: i.File, Lookup: os.LookupEnv})
	if err != nil {
		g.t.Fatal(err)
	}
	opts, err := kafka.Options(settings.Bus)
	if err != nil {
		g.t.Fatal(err)
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		g.t.Fatal(err)
	}
	defer cl.Close()
	denials, err := system.JudgeRights(g.t.Context(), shop.Topology(), cl, settings)
	if err != nil {
		g.t.Fatal(err)
	}
	return denials
}

// bind gives or takes ACLs on topics that no role has.
func (g *guarded) bind(give bool, principal, name string, pattern kadm.ACLPattern, operations ...kadm.ACLOperation) {
	g.t.Helper()
	b := kadm.NewACLs().Allow(principal).AllowHosts("*").ResourcePatternType(pattern).Operations(operations...).Topics(name)
	if give {
		created, err := g.kafka.Admin.CreateACLs(g.t.Context(), b)
		for _, c := range created {
			err = errors.Join(err, c.Err)
		}
		if err != nil {
			g.t.Fatal(err)
		}
		return
	}
	if _, err := g.kafka.Admin.DeleteACLs(g.t.Context(), b); err != nil {
		g.t.Fatal(err)
	}
}

// poison writes a record that nobody can read.
func (g *guarded) poison(topic string) {
	g.t.Helper()
	if err := g.kafka.Client(g.t).ProduceSync(g.t.Context(), &kgo.Record{Topic: topic, Key: []byte("poison"), Value: []byte("poison")}).FirstErr(); err != nil {
		g.t.Fatal(err)
	}
}

// deadLetters waits until there are so many.
func (g *guarded) deadLetters(want int64) {
	g.t.Helper()
	kafkatest.Eventually(g.t, time.Minute, fmt.Sprintf("there are %d dead letters", want), func() bool {
		ends, err := g.kafka.Admin.ListCommittedOffsets(g.t.Context(), "shop.dlq")
		if err != nil {
			g.t.Fatal(err)
		}
		n := int64(0)
		ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
		return n >= want
	})
}

// What docs/how-to/operate.md says that each role's user must be allowed is enough for everything the role does, and no
// right of it is idle; where one is missing, a start says which. Connections are encrypted and authenticated.
func TestRun_with_the_rights_of_the_page(t *testing.T) {
	k := kafkatest.Guard(t)
	g := &guarded{cluster: newClusterOn(t, k.Cluster), kafka: k}
	g.search = "elasticsearch+" + elastictest.Start(t).URL
	g.register()
	rights := pageRights(t)
	users := map[string]*instance{}
	for _, name := range []string{config.Gateway, config.Processors, config.Sink, "tools"} {
		users[name] = g.user(name)
		for _, r := range rights {
			if r.isFor(name) && r.operation != "CREATE" {
				g.grant(name, r)
			}
		}
	}
	gateway, processors, sink := users[config.Gateway], users[config.Processors], users[config.Sink]

	t.Run("a start that may not create the topics says so", func(t *testing.T) {
		processors.Begin(t)
		if code := processors.Exit(t); code == 0 || !strings.Contains(processors.Log.String(), "User:processors lacks the right Create on topic shop.") {
			t.Errorf("it ended with %d:\n%s", code, programtest.Tail(processors.Log.String()))
		}
	})

	for name := range users {
		for _, r := range rights {
			if r.isFor(name) && r.operation == "CREATE" {
				g.grant(name, r)
			}
		}
	}
	processors.Start(t, "--leave-on-stop", "true")
	gateway.Begin(t)
	sink.Begin(t)
	gateway.Ready(t)
	sink.Ready(t)

	const order = `{"orderId":"1","customerId":null,"country":"France","placedAt":"2010-12-01T08:26:00Z","lines":[{"sku":"22423","description":"MUG","quantity":1,"unitPrice":"1.00"}]}`
	if r := gateway.call(http.MethodPost, "/api/commands/PlaceOrder", order); r.status != http.StatusCreated {
		t.Fatalf("%d %s", r.status, r.text)
	}
	r := gateway.receive("22423", "r-1")
	if r.status != http.StatusCreated {
		t.Fatalf("%d %s", r.status, r.text)
	}
	if q := gateway.call(http.MethodGet, "/api/queries/products/22423?position="+fmt.Sprint(r.body["position"]), ""); q.status != http.StatusOK || q.body["onHand"] == nil {
		t.Errorf("%d %s", q.status, q.text)
	}
	if q := gateway.call(http.MethodGet, "/api/queries", ""); q.status != http.StatusOK {
		t.Errorf("%d %s", q.status, q.text)
	}
	programtest.Must(t, "check", "--server", gateway.API(), "--config", users["tools"].File)
	programtest.Must(t, "topology", "--server", gateway.API(), "--config", users["tools"].File)
	t.Run("a tool that lacks a right says so", func(t *testing.T) {
		i := slices.IndexFunc(rights, func(r pageRight) bool {
			return r.who == "tools" && r.resource == "GROUP" && r.name.MatchString("shop.order")
		})
		g.revoke("tools", rights[i])
		defer g.grant("tools", rights[i])
		kafkatest.Eventually(t, 20*time.Second, "the right is gone", func() bool {
			out, code := programtest.Run(t, "check", "--server", gateway.API(), "--config", users["tools"].File)
			return code == 2 && strings.Contains(out, "User:tools lacks the right Describe on group shop.")
		})
	})

	processors.Stop(t)
	if err := os.RemoveAll(processors.Data); err != nil { // and so everything is read again
		t.Fatal(err)
	}
	processors.Start(t, "--leave-on-stop", "true")
	if again := gateway.receive("22423", "r-1"); again.status != http.StatusCreated {
		t.Errorf("the repetition: %d %s", again.status, again.text)
	}
	g.poison("shop.stock.commands")
	g.deadLetters(1)
	processors.Stop(t)
	g.poison("shop.products.v1-table")
	g.deadLetters(2)
	programtest.Must(t, "dlq", "list", "--server", gateway.API(), "--config", users["tools"].File)
	gateway.Stop(t)
	sink.Stop(t)

	used := map[string]map[string]bool{} // "user operation resource" to names
	for v := range k.Verdicts(t) {
		if !v.Allowed && v.User != "tools" && v.Operation != "CREATE" { // these were denied on purpose
			t.Errorf("denied: %s", v)
		}
		key := v.User + " " + v.Operation + " " + v.Resource
		if used[key] == nil {
			used[key] = map[string]bool{}
		}
		used[key][v.Name] = v.Allowed
	}
	for _, r := range rights {
		if r.operation == "DELETE" || r.name.MatchString("__consumer_offsets") {
			continue // loops are purged once a minute, of 10,000 records and more; few transactions are looked at before they have ended
		}
		idle := true
		for name := range users {
			for at, allowed := range used[name+" "+r.operation+" "+r.resource] {
				idle = idle && (!allowed || !r.isFor(name) || !r.name.MatchString(at))
			}
		}
		if idle {
			t.Errorf("the page asks for a right that nobody used: %s", r)
		}
	}

	t.Run("every missing right is named", func(t *testing.T) {
		for name, i := range users {
			if name == "tools" {
				continue
			}
			if denials := g.denials(i); len(denials) > 0 {
				t.Errorf("%s has all of its rights: %q", name, denials)
			}
			for _, r := range rights {
				if !r.isFor(name) || !r.atStart || implied(rights, name, r) {
					continue
				}
				g.revoke(name, r)
				sentence := fmt.Sprintf("User:%s lacks the right %s on %s", name, strings.ReplaceAll(r.operation, "_", ""), strings.ReplaceAll(r.resource, "_", " "))
				var denials []string
				kafkatest.Eventually(t, 20*time.Second, r.String()+", taken away, is missed", func() bool {
					denials = g.denials(i)
					return slices.ContainsFunc(denials, func(d string) bool { return strings.HasPrefix(strings.ToLower(d), strings.ToLower(sentence)) })
				})
				g.grant(name, r)
				kafkatest.Eventually(t, 20*time.Second, r.String()+", given back, is not missed", func() bool { return len(g.denials(i)) == 0 })
			}
		}
	})

	t.Run("ACLs that let others change events are found, and stop a start", func(t *testing.T) {
		module := t.TempDir()
		for file, text := range map[string]string{"go.mod": "module example.com/shop\n\ngo 1.26\n", "shop.go": "package shop\n"} {
			if err := os.WriteFile(filepath.Join(module, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		verify := func(i *instance) (string, int) {
			return programtest.Run(t, "verify", module, "--config", i.File)
		}
		if out, code := verify(gateway); code != 0 || strings.Contains(out, "could not judge") || strings.Contains(out, "not judged here: event-access") {
			t.Errorf("with the rights of the page alone it ended with %d:\n%s", code, out)
		}

		g.bind(true, "User:rescue", "shop.", kadm.ACLPatternPrefixed, kmsg.ACLOperationDelete, kmsg.ACLOperationAlter)
		g.bind(true, "User:reports", "shop.", kadm.ACLPatternPrefixed, kmsg.ACLOperationDelete)
		g.bind(true, "User:sink", "shop.order.events", kadm.ACLPatternLiteral, kmsg.ACLOperationWrite)
		prefixed, literal := "broker: ACL of User:reports on topic shop.: event-access: the principal User:reports may Delete on ", "broker: ACL of User:sink on topic shop.order.events: event-access: the principal User:sink may Write on shop.order.events"
		var out string
		kafkatest.Eventually(t, 20*time.Second, "the ACLs are found", func() bool {
			var code int
			out, code = verify(sink) // which is none of those that may write, either
			return code == 1 && strings.Contains(out, prefixed) && strings.Contains(out, literal)
		})
		if strings.Contains(out, "User:rescue") || !strings.Contains(out, " 2 violations") {
			t.Errorf("more than these is found:\n%s", out)
		}
		gateway.Begin(t)
		if code := gateway.Exit(t); code == 0 || !strings.Contains(gateway.Log.String(), prefixed) || !strings.Contains(gateway.Log.String(), literal) {
			t.Errorf("the start ended with %d:\n%s", code, programtest.Tail(gateway.Log.String()))
		}

		describe := slices.IndexFunc(rights, func(r pageRight) bool { return r.resource == "CLUSTER" && r.operation == "DESCRIBE" })
		g.revoke(config.Gateway, rights[describe])
		const gap = "could not judge by live.acls: event-access: User:gateway lacks the right Describe on cluster, and so is told no ACLs: grant it"
		kafkatest.Eventually(t, 20*time.Second, "the ACLs are not told", func() bool {
			var code int
			out, code = verify(gateway)
			return code == 0 && strings.Contains(out, gap)
		})
		gateway.Start(t)
		if r := gateway.call(http.MethodGet, "/readyz", ""); !strings.Contains(r.text, `"part":"live.acls","rules":["event-access"],"why":"User:gateway lacks the right Describe on cluster`) {
			t.Errorf("/readyz: %s", r.text)
		}
		gateway.Stop(t)
		g.grant(config.Gateway, rights[describe])
		g.bind(false, "User:reports", "shop.", kadm.ACLPatternPrefixed, kmsg.ACLOperationDelete)
		g.bind(false, "User:sink", "shop.order.events", kadm.ACLPatternLiteral, kmsg.ACLOperationWrite)
	})

	t.Run("a start without a right ends with it, and doctor finds it", func(t *testing.T) {
		for _, r := range rights {
			if r.who == config.Sink && r.operation == "WRITE" {
				g.revoke(config.Sink, r)
			}
		}
		const sentence = "User:sink lacks the right Write on topic shop.dlq"
		sink.Begin(t)
		if code := sink.Exit(t); code == 0 || !strings.Contains(sink.Log.String(), sentence) {
			t.Errorf("it ended with %d:\n%s", code, programtest.Tail(sink.Log.String()))
		}
		if out, code := programtest.Run(t, "doctor", "--config", sink.File); code != 1 || !strings.Contains(out, sentence) {
			t.Errorf("doctor ended with %d:\n%s", code, out)
		}
		if out, _ := programtest.Run(t, "doctor", "--config", processors.File); !strings.Contains(out, "User:processors may do all") {
			t.Errorf("doctor of the processors:\n%s", out)
		}
	})
}
