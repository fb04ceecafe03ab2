package deploy

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Route is a way from outside to a backend, in one form for Ingress, the
// Gateway API, Istio, OpenShift, Contour, Emissary, APISIX, Traefik, Kong, Envoy
// and the ports that a Service, a pod or a compose service opens.
type Route struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Name    string `json:"name"`
	Backend string `json:"backend"` // host or service, without port and namespace
}

func itoa(i int) string { return strconv.Itoa(i) }

func (f *Facts) route(d *Document, name, backend string, where ...string) {
	if backend != "" {
		f.Routes = append(f.Routes, Route{File: d.File, Line: d.line(where...), Name: name, Backend: shortHost(backend)})
	}
}

// kubernetesRoutes finds the backends of every kind of route. A Service that is
// open to the outside is a route to its own pods.
func (f *Facts) kubernetesRoutes(d *Document) {
	backend := func(where ...string) { f.route(d, d.Name, text(at(d.Content, where...)), where...) }
	switch d.Kind {
	case "Service":
		if kind := text(at(d.Content, "spec", "type")); kind == "LoadBalancer" || kind == "NodePort" {
			f.route(d, d.Name, d.Name, "spec", "type")
		}
		if len(list(at(d.Content, "spec", "externalIPs"))) > 0 {
			f.route(d, d.Name, d.Name, "spec", "externalIPs")
		}
	case "Ingress":
		for _, where := range append(f.each(d, "spec/rules/*/http/paths/*/backend"), []string{"spec", "defaultBackend"}, []string{"spec", "backend"}) {
			backend(append(slices.Clone(where), "service", "name")...)
			backend(append(slices.Clone(where), "serviceName")...) // before networking.k8s.io/v1
		}
		f.annotatedRoutes(d)
	case "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "UDPRoute":
		f.named(d, "spec/rules/*/backendRefs/*/name", "spec/rules/*/filters/*/requestMirror/backendRef/name", "spec/rules/*/backendRefs/*/filters/*/requestMirror/backendRef/name")
	case "IngressRoute", "IngressRouteTCP", "IngressRouteUDP":
		f.named(d, "spec/routes/*/services/*/name")
	case "VirtualService": // Istio
		if !withinMesh(d) {
			f.named(d, "spec/http/*/route/*/destination/host", "spec/http/*/mirror/host", "spec/http/*/mirrors/*/destination/host",
				"spec/tcp/*/route/*/destination/host", "spec/tls/*/route/*/destination/host")
		}
	case "DomainMapping": // Knative
		backend("spec", "ref", "name")
	case "Route": // OpenShift; Knative's names no Service
		f.named(d, "spec/to/name", "spec/alternateBackends/*/name")
	case "HTTPProxy": // Contour
		f.named(d, "spec/routes/*/services/*/name", "spec/tcpproxy/services/*/name")
	case "Mapping", "TCPMapping": // Emissary
		f.route(d, d.Name, hostOf(text(at(d.Content, "spec", "service"))), "spec", "service")
	case "ApisixRoute":
		f.named(d, "spec/http/*/backends/*/serviceName", "spec/stream/*/backend/serviceName")
	}
}

// named are the backends whose names stand at the paths; * is each of a list.
func (f *Facts) named(d *Document, paths ...string) {
	for _, path := range paths {
		for _, where := range f.each(d, path) {
			f.route(d, d.Name, text(at(d.Content, where...)), where...)
		}
	}
}

// each is every path that a pattern fits.
func (f *Facts) each(d *Document, pattern string) [][]string {
	all := [][]string{{}}
	for key := range strings.SplitSeq(pattern, "/") {
		var longer [][]string
		for _, where := range all {
			if key != "*" {
				longer = append(longer, append(slices.Clone(where), key))
				continue
			}
			for i := range list(at(d.Content, where...)) {
				longer = append(longer, append(slices.Clone(where), itoa(i)))
			}
		}
		all = longer
	}
	return all
}

// withinMesh says that a VirtualService is only for calls between pods. One
// without hosts is a part of others.
func withinMesh(d *Document) bool {
	gateways := words(at(d.Content, "spec", "gateways"))
	return len(words(at(d.Content, "spec", "hosts"))) > 0 && !slices.ContainsFunc(gateways, func(g string) bool { return g != "mesh" })
}

// annotatedRoutes are those that an ingress controller takes from annotations:
// pieces of its own configuration, and where copies of requests go.
func (f *Facts) annotatedRoutes(d *Document) {
	annotations := object(at(d.Content, "metadata", "annotations"))
	for _, name := range sortedKeys(annotations) {
		switch {
		case strings.HasSuffix(name, "snippet"), strings.HasSuffix(name, "/mirror-target"):
			var w Workload
			w.target(d.File, 0, "", text(annotations[name]))
			for _, target := range w.Targets {
				f.route(d, d.Name, target.Host, "metadata", "annotations", name)
			}
		case strings.HasSuffix(name, "/default-backend"):
			f.route(d, d.Name, text(annotations[name]), "metadata", "annotations", name)
		}
	}
}

// proxies are the images of what leads requests on.
var proxies = regexp.MustCompile(`^(nginx|envoy|haproxy|caddy|traefik|kong|openresty)`)

// proxied adds the addresses in a proxy's settings: they are routes.
func (f *Facts) proxied() {
	for i := range f.Workloads {
		w := &f.Workloads[i]
		if w.Role != Infrastructure || !slices.ContainsFunc(w.Images, func(image string) bool { return proxies.MatchString(baseImage(image)) }) {
			continue
		}
		for _, target := range w.Targets {
			f.Routes = append(f.Routes, Route{File: target.File, Line: target.Line, Name: w.Name, Backend: target.Host})
		}
	}
}

// configuredRoutes are those of Kong's and Traefik's own files.
func (f *Facts) configuredRoutes(d *Document) {
	for i, service := range list(d.Content["services"]) { // Kong
		s, where := object(service), []string{"services", itoa(i)}
		if address := text(s["url"]); address != "" {
			f.route(d, text(s["name"]), hostOf(address), append(where, "url")...)
		}
		f.route(d, text(s["name"]), text(s["host"]), append(where, "host")...)
	}
	f.envoyRoutes(d)
	for i, upstream := range list(d.Content["upstreams"]) {
		for j, target := range list(at(upstream, "targets")) {
			f.route(d, text(at(upstream, "name")), hostOf(text(at(target, "target"))), "upstreams", itoa(i), "targets", itoa(j), "target")
		}
	}
	for _, protocol := range []string{"http", "tcp"} { // Traefik
		for _, name := range sortedKeys(object(at(d.Content, protocol, "services"))) {
			where := []string{protocol, "services", name, "loadBalancer", "servers"}
			for j, server := range list(at(d.Content, where...)) {
				address := text(at(server, "url")) + text(at(server, "address"))
				f.route(d, name, hostOf(address), append(slices.Clone(where), itoa(j))...)
			}
		}
	}
}

func (f *Facts) envoyRoutes(d *Document) {
	for _, where := range f.each(d, "static_resources/clusters/*/load_assignment/endpoints/*/lb_endpoints/*/endpoint/address/socket_address/address") {
		f.route(d, text(at(d.Content, append(slices.Clone(where[:3]), "name")...)), text(at(d.Content, where...)), where...)
	}
}

// labelledRoutes are those that Traefik takes from a compose service's labels.
func (f *Facts) labelledRoutes(d *Document, name string, labels map[string]string) {
	for label := range labels {
		if strings.HasPrefix(label, "traefik.http.routers.") || strings.HasPrefix(label, "traefik.tcp.routers.") {
			f.route(d, name, name, "services", name, "labels")
			return
		}
	}
}

// publishedRoutes are the ports of a compose service that other machines reach.
func (f *Facts) publishedRoutes(d *Document, name string, s map[string]any) {
	for i, port := range list(s["ports"]) {
		published, from := text(port), text(at(port, "host_ip"))
		if object(port) == nil && strings.Count(published, ":") > 1 {
			from = published
		}
		if strings.HasPrefix(from, "127.") || strings.HasPrefix(from, "localhost") || strings.HasPrefix(from, "[::1]") || from == "::1" {
			continue
		}
		f.route(d, name, name, "services", name, "ports", itoa(i))
	}
	if text(s["network_mode"]) == "host" {
		f.route(d, name, name, "services", name, "network_mode")
	}
}

// nameByServices gives workloads the names of the Services that select them, or
// that stand for another name, once all documents are known.
func (f *Facts) nameByServices() {
	f.nameBySelectors()
	for i := range f.Documents {
		d := &f.Documents[i]
		other := text(at(d.Content, "spec", "externalName"))
		for j := range f.Workloads {
			if w := &f.Workloads[j]; d.Kind == "Service" && other != "" && slices.Contains(w.Hosts, shortHost(other)) {
				w.Hosts = append(w.Hosts, d.Name)
			}
		}
	}
}

func (f *Facts) nameBySelectors() {
	for i := range f.Documents {
		d := &f.Documents[i]
		if d.Kind != "Service" || strings.Contains(text(d.Content["apiVersion"]), "knative") {
			continue
		}
		selector := pairs(at(d.Content, "spec", "selector"))
		names := []string{d.Name}
		for _, key := range []string{"clusterIP", "clusterIPs", "loadBalancerIP", "externalIPs"} {
			names = append(names, words(at(d.Content, "spec", key))...)
		}
		for j := range f.Workloads {
			w := &f.Workloads[j]
			if len(selector) == 0 || !selects(selector, w.Labels) {
				continue
			}
			for _, name := range names {
				if name != "None" && !slices.Contains(w.Hosts, name) {
					w.Hosts = append(w.Hosts, name)
				}
			}
		}
	}
}

func selects(selector, labels map[string]string) bool {
	for name, value := range selector {
		if labels[name] != value {
			return false
		}
	}
	return true
}
