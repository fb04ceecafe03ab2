// Package rooms holds the import table of the house: which folder may enter
// which. Its test judges every package of the module; docs/adr/0005-rooms.md
// says why the doors are where they are.
package rooms

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the path of this module.
const Module = "github.com/nexusblueprint/nexus"

// Package is what the judge needs to know of a package.
type Package struct {
	Path    string
	Imports []string // of its own code, tests left out
}

// door says where a room may go. A room is the first folder of a path in the
// module, or a longer prefix that has a rule of its own. schemas/avro is a leaf
// that every room but the domain may use.
type door struct {
	rooms  []string // of this module
	others []string // prefixes of other modules' paths; nil: any
}

var doors = map[string]door{
	"domain":           {rooms: nil, others: []string{}},
	"schemas/avro":     {rooms: []string{"schemas/avro"}, others: []string{"github.com/go-json-experiment/json", "github.com/twmb/avro"}},
	"shop":             {rooms: []string{"domain", "topology", "schemas/avro", "shop"}, others: []string{"github.com/spf13/cobra", "golang.org/x/"}},
	"ports":            {rooms: []string{"domain", "ports", "schemas/avro"}, others: []string{}},
	"adapters":         {rooms: []string{"ports", "internal", "adapters"}},
	"topology":         {rooms: []string{"domain", "schemas/avro"}, others: []string{}},
	"emitters":         {rooms: []string{"topology", "ports", "internal", "schemas/avro", "domain"}, others: []string{"github.com/twmb/franz-go"}},
	"processors":       {rooms: []string{"topology", "domain", "ports", "internal", "schemas/avro", "processors"}, others: []string{"github.com/twmb/franz-go", "github.com/lovoo/goka", "github.com/IBM/sarama", "github.com/google/uuid", "github.com/prometheus"}},
	"views":            {rooms: []string{"topology", "ports", "internal", "schemas/avro"}, others: []string{"github.com/twmb/franz-go", "github.com/lovoo/goka", "github.com/prometheus"}},
	"sink":             {rooms: []string{"topology", "ports", "internal", "schemas/avro"}, others: []string{"github.com/twmb/franz-go", "github.com/prometheus"}},
	"gateway":          {rooms: []string{"topology", "emitters", "views", "ports", "policies", "internal", "schemas/avro", "domain"}},
	"policies":         {rooms: []string{"topology", "policies", "schemas/avro", "internal/compat"}},
	"internal":         {rooms: []string{"internal", "schemas/avro", "domain", "topology", "ports"}},
	"internal/system":  {rooms: every},
	"internal/program": {rooms: every},
	"cmd":              {rooms: every},
	"benchmarks":       {rooms: every},
	"":                 {rooms: every}, // the root package

	// what tests start
	"internal/registrytest": {rooms: []string{"internal", "adapters/embedded/registry"}},
}

// homes are other modules that one package alone may use: all others go through it.
var homes = map[string]string{
	"github.com/cockroachdb/pebble":   "internal/localstore",
	"github.com/twmb/franz-go/pkg/sr": "adapters/confluent",
}

// every marks rooms where everything is wired together.
var every = []string{"*"}

// Judge returns one sentence per import that goes through no door.
func Judge(packages []Package) []string {
	var faults []string
	for _, p := range packages {
		from := roomOf(p.Path)
		d, ok := doors[from]
		if !ok {
			faults = append(faults, fmt.Sprintf("%s is in no room of the house: move it, or give its folder a rule in internal/rooms", p.Path))
			continue
		}
		for _, imported := range p.Imports {
			why := d.refuses(from, imported)
			if home := homeOf(imported); why == "" && home != "" && p.Path != Module+"/"+home {
				why = fmt.Sprintf("only %s may use it: go through that", home)
			}
			if why != "" {
				faults = append(faults, fmt.Sprintf("%s imports %s: %s", p.Path, imported, why))
			}
		}
	}
	return faults
}

func (d door) refuses(from, imported string) string {
	if own(imported) {
		to := roomOf(imported)
		inside := func(room string) bool { return room == "*" || within(strings.TrimPrefix(imported, Module+"/"), room) }
		if to == from || slices.ContainsFunc(d.rooms, inside) {
			return ""
		}
		return fmt.Sprintf("room %q may not enter %q, only %q", from, to, d.rooms)
	}
	standard := !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".")
	allowed := func(prefix string) bool { return strings.HasPrefix(imported, prefix) }
	if standard || d.others == nil || slices.ContainsFunc(d.others, allowed) {
		return ""
	}
	return fmt.Sprintf("room %q may use of other modules only %q", from, d.others)
}

// homeOf is the one package that may use another module, "" if any may.
func homeOf(imported string) string {
	for module, home := range homes {
		if within(imported, module) {
			return home
		}
	}
	return ""
}

func own(path string) bool { return path == Module || strings.HasPrefix(path, Module+"/") }

// roomOf is the longest prefix of the path that has a rule.
func roomOf(path string) string {
	inner := strings.TrimPrefix(strings.TrimPrefix(path, Module), "/")
	for room := inner; room != ""; {
		if _, ok := doors[room]; ok {
			return room
		}
		cut := strings.LastIndexByte(room, '/')
		if cut < 0 {
			return room
		}
		room = room[:cut]
	}
	return ""
}

func within(path, room string) bool { return path == room || strings.HasPrefix(path, room+"/") }
