package deploy

import (
	"encoding/base64"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Workload is something that runs, in one form for compose services,
// Kubernetes' workloads and Knative's.
type Workload struct {
	File    string            `json:"file"`
	Line    int               `json:"line"`
	Name    string            `json:"name"`
	Role    string            `json:"role"`    // service, gateway or infrastructure: see roleOf
	Hosts   []string          `json:"hosts"`   // names others reach it by, without namespace
	Labels  map[string]string `json:"labels"`  // of its pods
	Images  []string          `json:"images"`  // of its containers
	Command []string          `json:"command"` // with arguments, of all containers
	Targets []Target          `json:"targets"` // that its settings name

	from []string // "ConfigMap name" and "Secret name": what its settings are taken from
}

// Target is an address in a workload's environment or arguments.
type Target struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Name   string `json:"name"`   // of the variable or flag; empty for an argument
	Scheme string `json:"scheme"` // empty if none is stated
	Host   string `json:"host"`   // without port and namespace

	port string
}

// Roles of workloads.
const (
	Service        = "service"        // of the system itself
	Gateway        = "gateway"        // of the system itself, and serves its API
	Infrastructure = "infrastructure" // a broker, store, proxy or monitor
)

// infrastructure are the images that are no service of anybody's system: the
// last path element, without tag, is one of these names, alone or with what
// their makers put before and behind it. "kafka-orders" is none of them.
var infrastructure = regexp.MustCompile(`^(cp-|apache-)?(node-exporter|kafka|redpanda|zookeeper|schema-registry|apicurio-registry|karapace|elasticsearch|opensearch|kibana|` +
	`postgres|postgresql|mysql|mariadb|mongo|mongodb|redis|valkey|rabbitmq|nats|vault|keycloak|minio|localstack|prometheus|grafana|alertmanager|loki|` +
	`tempo|jaeger|otel|opentelemetry|kube-state-metrics|fluent-bit|fluentd|vector|traefik|kong|nginx|envoy|haproxy|caddy|istio|pilot|proxyv2|busybox|toxiproxy)` +
	`(-(server|sql|mem|kafkasql|native|ui|operator|alpine|stack|contrib|collector|exporter|controller|ingress|agent|all-in-one|oss|init|metrics|cluster|dashboards|console))*$`)

// roleOf tells what a workload is. The platform's program says itself whether
// it serves the API: --roles names gateway, or there are no --roles at all.
func roleOf(w *Workload) string {
	if role := w.Labels["nexus.role"]; role == Service || role == Gateway || role == Infrastructure {
		return role
	}
	if len(w.Images) > 0 && !slices.ContainsFunc(w.Images, func(image string) bool { return !infrastructure.MatchString(baseImage(image)) }) {
		return Infrastructure
	}
	line := strings.Join(w.Command, " ")
	if m := rolesFlag.FindStringSubmatch(line); m != nil {
		if slices.Contains(strings.Split(m[1], ","), Gateway) {
			return Gateway
		}
		return Service
	}
	if runsPlatform.MatchString(line) {
		return Gateway
	}
	return Service
}

var (
	rolesFlag    = regexp.MustCompile(`--roles[= ]"?([a-z,]+)`)
	runsPlatform = regexp.MustCompile(`^(\S+ )?(dev( |$)|run .*--config\b)`) // the program may be the image's entrypoint
)

func baseImage(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = image[strings.LastIndexByte(image, '/')+1:]
	image, _, _ = strings.Cut(image, ":")
	return image
}

func (f *Facts) collect(d *Document) {
	switch d.Format {
	case Compose:
		for _, name := range sortedKeys(object(d.Content["services"])) {
			f.compose(d, name)
		}
	case Kubernetes:
		if pod := podOf(d); pod != nil {
			f.kubernetes(d, pod)
		}
		f.kubernetesRoutes(d)
	default:
		f.configuredRoutes(d)
	}
}

func (f *Facts) compose(d *Document, name string) {
	where := []string{"services", name}
	s := object(at(d.Content, where...))
	w := Workload{
		File: d.File, Line: d.line(where...), Name: name, Hosts: []string{name}, Labels: pairs(s["labels"]),
		Images: []string{}, Command: append(words(s["entrypoint"]), words(s["command"])...), Targets: []Target{},
	}
	for _, other := range []string{"container_name", "hostname"} {
		if host := text(s[other]); host != "" {
			w.Hosts = append(w.Hosts, shortHost(host))
		}
	}
	networks := object(s["networks"])
	for _, network := range sortedKeys(networks) {
		w.Hosts = append(w.Hosts, words(at(networks[network], "aliases"))...)
	}
	if image := text(s["image"]); image != "" {
		w.Images = append(w.Images, image)
	}
	f.labelledRoutes(d, name, w.Labels)
	f.publishedRoutes(d, name, s)
	w.environment(d, s["environment"], append(slices.Clone(where), "environment"))
	w.environment(d, at(s["build"], "args"), append(slices.Clone(where), "build", "args"))
	w.neighbours(d, s, where)
	w.envFiles(f.dir, d, s["env_file"])
	for _, part := range []string{"entrypoint", "command"} {
		for i, arg := range list(s[part]) {
			w.argument(d.File, d.line("services", name, part, itoa(i)), text(arg))
		}
		w.argument(d.File, d.line("services", name, part), text(s[part]))
	}
	w.published(d)
	w.Role = roleOf(&w)
	if !isService(s) {
		w.Role = f.roleElsewhere(&w)
	}
	f.Workloads = append(f.Workloads, w)
}

// neighbours are the services that compose makes known to another by other
// settings than its environment.
func (w *Workload) neighbours(d *Document, s map[string]any, where []string) {
	for _, part := range []string{"links", "external_links"} {
		for i, link := range list(s[part]) {
			host, _, _ := strings.Cut(text(link), ":")
			w.Targets = append(w.Targets, Target{File: d.File, Line: d.line(append(slices.Clone(where), part, itoa(i))...), Name: part, Host: shortHost(host)})
		}
	}
	if host, ok := strings.CutPrefix(text(s["network_mode"]), "service:"); ok {
		w.Targets = append(w.Targets, Target{File: d.File, Line: d.line(append(slices.Clone(where), "network_mode")...), Name: "network_mode", Host: host})
	}
	for _, config := range list(s["configs"]) {
		name := text(config) + text(at(config, "source"))
		w.target(d.File, d.line("configs", name, "content"), name, text(at(d.Content, "configs", name, "content")))
	}
}

// dockerHosts are names of the machine itself, whose published ports lead back
// to a service.
var dockerHosts = []string{"host.docker.internal", "gateway.docker.internal", "172.17.0.1"}

// published turns addresses of the machine itself into those of the services
// that publish the port.
func (w *Workload) published(d *Document) {
	services := object(d.Content["services"])
	for i := range w.Targets {
		target := &w.Targets[i]
		if !slices.Contains(dockerHosts, target.Host) {
			continue
		}
		for _, name := range sortedKeys(services) {
			for _, port := range list(at(services[name], "ports")) {
				short := strings.Split(text(port), ":")
				if target.port != "" && (text(at(port, "published")) == target.port || len(short) > 1 && short[len(short)-2] == target.port) {
					target.Host = name
				}
			}
		}
	}
}

// roleElsewhere is the role of a service that another file describes, with what
// this one changes of it.
func (f *Facts) roleElsewhere(w *Workload) string {
	for i := range f.Documents {
		s := object(at(f.Documents[i].Content, "services", w.Name))
		if f.Documents[i].Format != Compose || !isService(s) {
			continue
		}
		whole := Workload{Labels: pairs(s["labels"]), Command: w.Command}
		maps.Copy(whole.Labels, w.Labels)
		if len(w.Command) == 0 {
			whole.Command = append(words(s["entrypoint"]), words(s["command"])...)
		}
		if image := text(s["image"]); image != "" {
			whole.Images = append(whole.Images, image)
		}
		return roleOf(&whole)
	}
	return w.Role
}

// environment takes both forms: a map, and a list of NAME=value.
func (w *Workload) environment(d *Document, env any, where []string) {
	for _, name := range sortedKeys(object(env)) {
		w.target(d.File, d.line(append(slices.Clone(where), name)...), name, text(object(env)[name]))
	}
	for i, pair := range list(env) {
		name, value, _ := strings.Cut(text(pair), "=")
		w.target(d.File, d.line(append(slices.Clone(where), itoa(i))...), name, value)
	}
}

// envFiles reads what a compose service takes its environment from; a file that
// is not there is one that the machine provides.
func (w *Workload) envFiles(dir string, d *Document, files any) {
	for _, file := range words(files) {
		name := path.Join(path.Dir(d.File), file)
		content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			continue
		}
		for i, line := range strings.Split(string(content), "\n") {
			variable, value, _ := strings.Cut(line, "=")
			w.target(name, i+1, variable, strings.Trim(strings.TrimSpace(value), `"'`))
		}
	}
}

func (w *Workload) takes(kind string, name any) { w.from = append(w.from, kind+" "+text(name)) }

// fromOthers adds what the ConfigMaps and Secrets that workloads name set, once
// all documents are known.
func (f *Facts) fromOthers() {
	for i := range f.Documents {
		d := &f.Documents[i]
		if d.Kind != "ConfigMap" && d.Kind != "Secret" {
			continue
		}
		for j := range f.Workloads {
			w := &f.Workloads[j]
			if !slices.Contains(w.from, d.Kind+" "+d.Name) {
				continue
			}
			for _, part := range []string{"data", "stringData"} {
				for _, name := range sortedKeys(object(d.Content[part])) {
					value := text(at(d.Content, part, name))
					if d.Kind == "Secret" && part == "data" {
						decoded, err := base64.StdEncoding.DecodeString(value)
						if err != nil {
							continue // the cluster refuses it
						}
						value = string(decoded)
					}
					w.target(d.File, d.line(part, name), name, value)
				}
			}
		}
	}
}

// podOf is the path to the pod's template, nil for what runs no pods.
func podOf(d *Document) []string {
	switch d.Kind {
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job":
		return []string{"spec", "template"}
	case "Service", "Configuration":
		if strings.HasPrefix(text(d.Content["apiVersion"]), "serving.knative.dev/") {
			return []string{"spec", "template"}
		}
	case "CronJob":
		return []string{"spec", "jobTemplate", "spec", "template"}
	case "Pod":
		return []string{}
	}
	if at(d.Content, "spec", "template", "spec", "containers") != nil { // of somebody else's kind, such as Argo's Rollout
		return []string{"spec", "template"}
	}
	return nil
}

func (f *Facts) kubernetes(d *Document, pod []string) {
	w := Workload{
		File: d.File, Line: d.Line, Name: d.Name, Hosts: []string{}, Images: []string{}, Command: []string{}, Targets: []Target{},
		Labels: pairs(at(d.Content, append(slices.Clone(pod), "metadata", "labels")...)),
	}
	if d.Kind == "Service" { // Knative's
		w.Hosts = append(w.Hosts, d.Name)
	}
	if d.Kind == "StatefulSet" { // each of its pods has a name
		replicas, err := strconv.Atoi(text(at(d.Content, "spec", "replicas")))
		if err != nil {
			replicas = 1
		}
		for i := range min(replicas, 16) {
			w.Hosts = append(w.Hosts, d.Name+"-"+itoa(i))
		}
	}
	f.openPods(d, &w, pod)
	for i, alias := range list(at(d.Content, append(slices.Clone(pod), "spec", "hostAliases")...)) {
		w.Targets = append(w.Targets, Target{File: d.File, Line: d.line(append(slices.Clone(pod), "spec", "hostAliases", itoa(i))...), Name: "hostAliases", Host: text(at(alias, "ip"))})
	}
	for _, group := range []string{"initContainers", "containers"} {
		where := append(slices.Clone(pod), "spec", group)
		for i, container := range list(at(d.Content, where...)) {
			w.container(d, container, append(slices.Clone(where), itoa(i)))
		}
	}
	for _, volume := range list(at(d.Content, append(slices.Clone(pod), "spec", "volumes")...)) {
		w.takes("ConfigMap", at(volume, "configMap", "name"))
		w.takes("Secret", at(volume, "secret", "secretName"))
	}
	w.Role = roleOf(&w)
	f.Workloads = append(f.Workloads, w)
}

// openPods notes pods that stand open on the machine they run on: by its name
// and theirs.
func (f *Facts) openPods(d *Document, w *Workload, pod []string) {
	open := func(where ...string) {
		if !slices.Contains(w.Hosts, d.Name) {
			w.Hosts = append(w.Hosts, d.Name)
		}
		f.route(d, d.Name, d.Name, where...)
	}
	if network := append(slices.Clone(pod), "spec", "hostNetwork"); at(d.Content, network...) == true {
		open(network...)
	}
	for i, container := range list(at(d.Content, append(slices.Clone(pod), "spec", "containers")...)) {
		for j, port := range list(at(container, "ports")) {
			if at(port, "hostPort") != nil {
				open(append(slices.Clone(pod), "spec", "containers", itoa(i), "ports", itoa(j), "hostPort")...)
			}
		}
	}
}

// ran are the commands of a container besides its own.
var ran = []string{"lifecycle/postStart", "lifecycle/preStop", "livenessProbe", "readinessProbe", "startupProbe"}

func (w *Workload) container(d *Document, container any, where []string) {
	c := object(container)
	w.Images = append(w.Images, text(c["image"]))
	var known []string // pairs of $(NAME) and value
	for i, variable := range list(c["env"]) {
		v := object(variable)
		value := strings.NewReplacer(known...).Replace(text(v["value"]))
		known = append(known, "$("+text(v["name"])+")", value)
		w.target(d.File, d.line(append(slices.Clone(where), "env", itoa(i), "value")...), text(v["name"]), value)
		w.takes("ConfigMap", at(variable, "valueFrom", "configMapKeyRef", "name"))
		w.takes("Secret", at(variable, "valueFrom", "secretKeyRef", "name"))
	}
	for _, from := range list(c["envFrom"]) {
		w.takes("ConfigMap", at(from, "configMapRef", "name"))
		w.takes("Secret", at(from, "secretRef", "name"))
	}
	for _, part := range []string{"command", "args"} {
		for i, arg := range list(c[part]) {
			w.Command = append(w.Command, text(arg))
			w.argument(d.File, d.line(append(slices.Clone(where), part, itoa(i))...), strings.NewReplacer(known...).Replace(text(arg)))
		}
	}
	for _, handler := range ran {
		way := strings.Split(handler, "/")
		for i, arg := range list(at(c, append(way, "exec", "command")...)) {
			w.argument(d.File, d.line(slices.Concat(where, way, []string{"exec", "command", itoa(i)})...), text(arg))
		}
		if host := text(at(c, append(way, "httpGet", "host")...)); host != "" {
			w.target(d.File, d.line(slices.Concat(where, way, []string{"httpGet", "host"})...), "host", host)
		}
	}
}

// address is a host with a scheme or a port, alone or among others.
var address = regexp.MustCompile(`^(?:([a-z][a-z0-9+.-]*):///?)?(?:[^@/\s]*@)?([a-z0-9]([a-z0-9._-]*[a-z0-9])?)\.?(?::(\d+))?(?:[/?#].*)?$`)

// substitute is what a variable stands for where nobody sets it, and
// serviceHost the variable in which Kubernetes gives a Service's address.
var (
	substitute  = regexp.MustCompile(`\$\{\w+:?[-=]([^}]*)\}`)
	serviceHost = regexp.MustCompile(`\b([A-Z0-9_]+)_SERVICE_HOST\b`)
)

// hostVariable is a name whose value may be a host alone.
var hostVariable = regexp.MustCompile(`(?i)(host|hosts|hostname|addr|address|url|uri|endpoint|server|target|upstream|service|peer)$`)

// target notes the addresses of a value: URLs, host:port, lists of them, and a
// host alone where the variable's name says so.
func (w *Workload) target(file string, line int, name, value string) {
	value = substitute.ReplaceAllString(value, "$1")
	for _, m := range serviceHost.FindAllStringSubmatch(value, -1) {
		host := strings.ReplaceAll(strings.ToLower(m[1]), "_", "-")
		w.Targets = append(w.Targets, Target{File: file, Line: line, Name: name, Host: host})
	}
	for _, one := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(",; \t\n\"'`(){}[]", r) }) {
		m := address.FindStringSubmatch(strings.ToLower(one))
		if m == nil || m[1] == "" && m[4] == "" && !strings.Contains(m[2], ".svc") && !hostVariable.MatchString(name) {
			continue
		}
		w.Targets = append(w.Targets, Target{File: file, Line: line, Name: name, Scheme: m[1], Host: shortHost(m[2]), port: m[4]})
	}
}

// argument notes the addresses of an argument, or of a line of them; a flag's
// name is like a variable's.
func (w *Workload) argument(file string, line int, words string) {
	for word := range strings.FieldsSeq(words) {
		if flag, value, ok := strings.Cut(word, "="); ok && strings.HasPrefix(word, "-") {
			w.target(file, line, strings.TrimLeft(flag, "-"), value)
		} else {
			w.target(file, line, "", word)
		}
	}
}

// shortHost cuts namespace and cluster domain off a service's name.
func shortHost(host string) string {
	short, rest, _ := strings.Cut(host, ".")
	if rest == "" || strings.HasSuffix(host, ".svc") || strings.Contains(host, ".svc.") || !strings.Contains(rest, ".") {
		return short
	}
	return host
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return shortHost(strings.Split(address, ":")[0])
	}
	return shortHost(u.Hostname())
}

// pairs takes labels as a map or a list of name=value.
func pairs(v any) map[string]string {
	m := map[string]string{}
	for name, value := range object(v) {
		m[name] = text(value)
	}
	for _, pair := range list(v) {
		name, value, _ := strings.Cut(text(pair), "=")
		m[name] = value
	}
	return m
}

func words(v any) []string {
	all := []string{}
	for _, word := range list(v) {
		all = append(all, text(word))
	}
	return append(all, strings.Fields(text(v))...)
}
