package program

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"

	"github.com/nexusblueprint/nexus/internal/check"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/system"
)

// configured examines what a configuration names, whether an instance runs on
// it or not.
func (d *doctor) configured(ctx context.Context) {
	const name = "configuration"
	settings, err := loadConfig(d.at.file)
	var faults *config.FaultsError
	switch {
	case errors.As(err, &faults):
		d.fail(name, "every setting is in docs/reference/config.md", "%s", strings.Join(faults.Faults, "\n"))
		return
	case err != nil:
		d.fail(name, "every setting is in docs/reference/config.md", "%v", err)
		return
	}
	d.ok(name, "%s: instance %s with the roles %s", d.at.file, settings.Instance, strings.Join(settings.Roles, ", "))
	for _, text := range settings.Warnings() {
		d.warn(name, "change it, unless it is meant so", "%s", text)
	}
	if !d.chosen("data") {
		d.data = settings.Data
	}
	d.folder()
	d.instance(ctx, settings)
	d.providers(ctx, settings)
}

// instance judges the one that runs, or whether one could.
func (d *doctor) instance(ctx context.Context, settings *config.Config) {
	if !d.chosen("server") {
		d.at.server = "http://" + settings.Listen
	}
	var dialer net.Dialer
	if conn, err := dialer.DialContext(ctx, "tcp", settings.Listen); err == nil {
		_ = conn.Close()
		d.api(ctx)
		return
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", settings.Listen)
	switch {
	case err == nil:
		_ = l.Close()
		d.ok("port", "%s is free: no instance runs here", settings.Listen)
	case errors.Is(err, syscall.EADDRINUSE):
		d.fail("port", "stop what uses it, or choose another with listen", "%s is in use by another program", settings.Listen)
	default:
		d.fail("port", "choose an address of this machine with listen", "%v", err)
	}
}

func (d *doctor) providers(ctx context.Context, settings *config.Config) {
	if settings.Bus.Embedded() {
		d.ok("broker", "embedded: it runs while the instance does; look at it with --server")
		return
	}
	bus := strings.Join(settings.Bus.Brokers(), ",")
	r, err := reach(d.topology, check.Endpoints{API: d.at.server, Bus: bus, Registry: settings.Registry.URL}, settings.Bus, settings.Registry)
	if err != nil {
		d.fail("configuration", "make the file readable for this user", "%v", err)
		return
	}
	d.cluster(ctx, r, settings)
	d.registry(ctx, r)
	d.search(ctx, settings)
}

// cluster judges the brokers and their topics.
func (d *doctor) cluster(ctx context.Context, r *running, settings *config.Config) {
	ctx, cancel := seconds(ctx, 10)
	defer cancel()
	cl := d.dial(ctx, r, "look at the broker's log; make sure that the port is right, and that TLS and user are as the broker wants them")
	if cl == nil {
		return
	}
	defer cl.Close()
	denials, err := system.JudgeRights(ctx, d.topology, cl, settings)
	switch {
	case err != nil:
		d.warn("rights", "ask again", "%v", err)
	case len(denials) > 0:
		d.fail("rights", "grant them: docs/how-to/operate.md lists what each role needs", "%s", strings.Join(denials, "\n"))
		return
	case settings.Bus.User != "":
		d.ok("rights", "User:%s may do all that the roles of this instance need", settings.Bus.User)
	}
	faults, warnings, cluster, err := system.JudgeCluster(ctx, d.topology, cl, settings.Bus.AllowTransactionV1)
	if err != nil {
		d.fail("broker", "grant the right to describe the cluster and its settings", "%s answers, but %v", r.endpoints.Bus, err)
		return
	}
	if len(faults) > 0 {
		d.fail("broker", "a start stops here", "%s", strings.Join(faults, "\n"))
	} else {
		d.ok("broker", "%s answers, %d in the cluster", r.endpoints.Bus, cluster.Brokers)
	}
	for _, text := range warnings {
		d.warn("durability", "change it, unless it is meant so", "%s", text)
	}
	d.topics(ctx, cl, fine)
}

// search judges whether the store answers and is of a release that we know.
func (d *doctor) search(ctx context.Context, settings *config.Config) {
	if settings.Search.Embedded() {
		d.ok("search store", "embedded: it lives in the instance")
		return
	}
	ctx, cancel := seconds(ctx, 10)
	defer cancel()
	store, err := system.OpenSearch(ctx, settings.Search)
	if err != nil {
		d.fail("search store", "start it, or correct search in the configuration", "%v", err)
		return
	}
	if err := store.Close(); err != nil {
		d.warn("search store", "ask again", "closing it: %v", err)
	}
	d.ok("search store", "%s answers, Elasticsearch %s", settings.Search.HTTP(), store.Version())
}
