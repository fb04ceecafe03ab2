package deploy

import (
	"slices"
	"strconv"
	"strings"
)

// Route is a way from outside to a backend, in one form for Ingress, the
// Gateway API, Traefik and Kong.
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
	switch d.Kind {
	case "Service":
		if kind := text(at(d.Content, "spec", "type")); kind == "LoadBalancer" || kind == "NodePort" {
			f.route(d, d.Name, d.Name, "spec", "type")
		}
	case "Ingress":
		f.route(d, d.Name, text(at(d.Content, "spec", "defaultBackend", "service", "name")), "spec", "defaultBackend", "service", "name")
		for i, rule := range list(at(d.Content, "spec", "rules")) {
			for j := range list(at(rule, "http", "paths")) {
				where := []string{"spec", "rules", itoa(i), "http", "paths", itoa(j), "backend", "service", "name"}
				f.route(d, d.Name, text(at(d.Content, where...)), where...)
			}
		}
	case "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute":
		f.ruleBackends(d, "rules", "backendRefs")
	case "IngressRoute", "IngressRouteTCP":
		f.ruleBackends(d, "routes", "services")
	case "VirtualService": // Istio
		for i, rule := range list(at(d.Content, "spec", "http")) {
			for j := range list(at(rule, "route")) {
				where := []string{"spec", "http", itoa(i), "route", itoa(j), "destination", "host"}
				f.route(d, d.Name, text(at(d.Content, where...)), where...)
			}
		}
	case "DomainMapping": // Knative
		f.route(d, d.Name, text(at(d.Content, "spec", "ref", "name")), "spec", "ref", "name")
	}
}

func (f *Facts) ruleBackends(d *Document, rules, backends string) {
	for i, rule := range list(at(d.Content, "spec", rules)) {
		for j := range list(at(rule, backends)) {
			where := []string{"spec", rules, itoa(i), backends, itoa(j), "name"}
			f.route(d, d.Name, text(at(d.Content, where...)), where...)
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

// labelledRoutes are those that Traefik takes from a compose service's labels.
func (f *Facts) labelledRoutes(d *Document, name string, labels map[string]string) {
	for label := range labels {
		if strings.HasPrefix(label, "traefik.http.routers.") || strings.HasPrefix(label, "traefik.tcp.routers.") {
			f.route(d, name, name, "services", name, "labels")
			return
		}
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
		for j := range f.Workloads {
			if w := &f.Workloads[j]; len(selector) > 0 && selects(selector, w.Labels) && !slices.Contains(w.Hosts, d.Name) {
				w.Hosts = append(w.Hosts, d.Name)
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
