package program

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/nexusblueprint/nexus/internal/datadir"
	"github.com/nexusblueprint/nexus/internal/kafkatest"
)

// configured writes a nexus.yaml over a broker, with the registry of the world.
func configured(t *testing.T, bus, listen, more string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nexus.yaml")
	text := fmt.Sprintf("instance: one\nroles: processors\nlisten: %s\ndata: %s\nbus: %s\nregistry: %s\n%s", listen, t.TempDir(), bus, world.Registry, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDoctor_judges_all_that_a_configuration_names(t *testing.T) {
	b := kafkatest.Kfake(t)
	bus := "kafka://" + b.Addrs[0]

	t.Run("all is well", func(t *testing.T) {
		all := examined(t, testTopology(), 0, "--config", configured(t, bus, "127.0.0.1:0", ""))
		for _, name := range []string{"configuration", "data folder", "port", "broker", "topics", "registry", "compatibility", "search store"} {
			found(t, all, name, fine, "")
		}
		found(t, all, "topics", fine, "are missing: a start creates them")
	})
	t.Run("a folder without a log, for the broker is elsewhere", func(t *testing.T) {
		d, err := datadir.Open(filepath.Join(t.TempDir(), "data"), false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		all := examined(t, testTopology(), 0, "--config", configured(t, bus, "127.0.0.1:0", ""), "--data", d.Path())
		found(t, all, "data folder", fine, "held by process")
		if f, ok := all["log size"]; ok {
			t.Errorf("it judges a log that is not there: %+v", f)
		}
	})
	t.Run("a password that others may read", func(t *testing.T) {
		secret := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte("hush"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(secret, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Setenv("NEXUS_SEARCH_USER", "u")
		t.Setenv("NEXUS_SEARCH_PASSWORD_FILE", secret)
		all := examined(t, testTopology(), 1, "--config", configured(t, bus, "127.0.0.1:0", "search: elasticsearch+http://127.0.0.1:1\n"))
		found(t, all, "configuration", warns, "search.passwordFile: "+secret+" (mode 0644) is open to other users of this machine: chmod 600")
	})
	t.Run("faults of the file", func(t *testing.T) {
		all := examined(t, testTopology(), 1, "--config", configured(t, bus, "127.0.0.1:0", "rols: x\n"))
		found(t, all, "configuration", fails, "unknown key rols")
	})
	t.Run("nobody answers", func(t *testing.T) {
		all := examined(t, testTopology(), 1, "--config", configured(t, "kafka://127.0.0.1:1", "127.0.0.1:0", "search: elasticsearch+http://127.0.0.1:1\n"))
		found(t, all, "broker", fails, "127.0.0.1:1 does not answer")
		found(t, all, "search store", fails, "127.0.0.1:1")
	})
	t.Run("a port in use, and a topic that disagrees", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		defer l.Close()
		go func() { // whoever asks gets no answer
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		}()
		if _, err := kadm.NewClient(b.Client(t)).CreateTopic(t.Context(), 5, 1, nil, "shop.order.events"); err != nil {
			t.Fatal(err)
		}
		all := examined(t, testTopology(), 1, "--config", configured(t, bus, addr, ""))
		found(t, all, "API", fails, "nothing answers at")
		found(t, all, "topics", fails, "topic shop.order.events has 5 partitions")
	})
}

func TestTopology_shows_who_holds_what(t *testing.T) {
	nx(t, "topology", "--server", world.API).is(t, 0).has(t, "GROUP", "shop.order ", "Stable  dev", "0-1")
	nx(t, "topology", "--server", world.API, "--json").is(t, 0).has(t, `"group":"shop.order"`, `"partitions":[0,1]`)
}

func TestRanges(t *testing.T) {
	for want, partitions := range map[string][]int32{"none: it waits": nil, "0": {0}, "0-2,5": {0, 1, 2, 5}, "1,3": {1, 3}} {
		if got := ranges(partitions); got != want {
			t.Errorf("%v is %q, want %q", partitions, got, want)
		}
	}
}
