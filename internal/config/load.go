package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// FaultsError is all that is wrong with a configuration, each fault with its
// place: file:line:column, the environment variable or the flag.
type FaultsError struct{ Faults []string }

func (e *FaultsError) Error() string {
	return "the configuration has faults:\n  - " + strings.Join(e.Faults, "\n  - ")
}

// Default has every default. The instance's name is the host's.
func Default() *Config {
	c := &Config{}
	for _, s := range settings {
		if err := s.set(c, s.first); err != nil && !s.secret {
			panic("the default of " + s.key + ": " + err.Error())
		}
	}
	c.Instance, _ = os.Hostname() // without one the check asks for a name
	return c
}

// Sources are where a configuration comes from; later ones win.
type Sources struct {
	File   string // YAML; empty: none
	Lookup func(name string) (string, bool)
	Flags  *pflag.FlagSet // with the flags of AddFlags, parsed; nil: none
}

// Load reads a configuration. Errors: *FaultsError with everything that is wrong.
func Load(from Sources) (*Config, error) {
	l := &loader{c: Default(), places: map[string]string{}}
	l.c.stated = map[string]Stated{"instance": {l.c.Instance, "default"}}
	for _, s := range settings {
		if _, there := l.c.stated[s.key]; !there && !s.secret {
			l.c.stated[s.key] = Stated{s.first, "default"}
		}
	}
	if from.File != "" {
		l.file(from.File)
	}
	for i := range settings {
		s := &settings[i]
		if v, ok := from.Lookup(s.env()); ok {
			l.set(s, s.env(), v)
		}
	}
	if from.Flags != nil {
		for i := range settings {
			s := &settings[i]
			if f := from.Flags.Lookup(s.flag()); f != nil && f.Changed {
				l.set(s, "--"+s.flag(), f.Value.String())
			}
		}
	}
	l.secrets()
	l.check()
	if len(l.faults) > 0 {
		return nil, &FaultsError{l.faults}
	}
	return l.c, nil
}

// AddFlags declares a flag for every setting that is no secret.
func AddFlags(fs *pflag.FlagSet) {
	for i := range settings {
		s := &settings[i]
		if s.secret {
			continue
		}
		usage, _, _ := strings.Cut(s.doc, ". ")
		fs.String(s.flag(), s.first, "`"+s.value+"`: "+strings.TrimSuffix(usage, "."))
	}
}

type loader struct {
	c      *Config
	places map[string]string // by key: where its value came from
	faults []string
}

func (l *loader) fault(place, format string, args ...any) {
	l.faults = append(l.faults, place+": "+fmt.Sprintf(format, args...))
}

func (l *loader) set(s *setting, place, v string) {
	l.places[s.key] = place
	l.c.stated[s.key] = Stated{strings.TrimSpace(v), place}
	if s.secret {
		l.c.stated[s.key] = Stated{From: place}
	}
	if err := s.set(l.c, v); err != nil {
		l.fault(place, "%s: %v", s.key, err)
	}
}

// place of a key's value, for faults that are found later.
func (l *loader) place(key string) string {
	if at := l.places[key]; at != "" {
		return at
	}
	return "default"
}

func (l *loader) file(path string) {
	raw, _, err := read(path)
	if err != nil {
		l.fault(path, "%v: name a file of settings with --config", err)
		return
	}
	var doc, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	err = dec.Decode(&doc)
	if err == nil {
		if err = dec.Decode(&second); err == nil {
			l.fault(fmt.Sprintf("%s:%d", path, second.Line), "a second document begins here, of which nothing would be read: put all settings into one")
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		l.fault(path, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
		return
	}
	if len(doc.Content) > 0 {
		l.mapping(path, "", doc.Content[0])
	}
}

const fileBytesMax = 1 << 20

// read takes in a file, and looks first: opening a pipe waits for its writer,
// and a device may have no end. The error does not name the file.
func read(path string) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, nil, errors.Unwrap(err)
	case info.IsDir():
		return nil, nil, errors.New("is a folder")
	case !info.Mode().IsRegular():
		return nil, nil, errors.New("is a pipe or a device: write what comes from there into a file")
	case info.Size() > fileBytesMax:
		return nil, nil, fmt.Errorf("has %d bytes, more than %d", info.Size(), fileBytesMax)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, errors.Unwrap(err)
	}
	return raw, info, nil
}

// mapping reads the keys below a prefix.
func (l *loader) mapping(path, prefix string, node *yaml.Node) {
	at := func(n *yaml.Node) string { return fmt.Sprintf("%s:%d:%d", path, n.Line, n.Column) }
	if node.Kind != yaml.MappingNode {
		l.fault(at(node), "keys with values are wanted here")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		key := prefix + name.Value
		if seen[key] {
			l.fault(at(name), "%s is there twice", key)
			continue
		}
		seen[key] = true
		short, section := shorts[key]
		switch {
		case section && value.Kind == yaml.MappingNode:
			l.mapping(path, key+".", value)
		case section:
			l.scalar(find(short), at(value), value)
		default:
			l.key(key, at(name), at(value), value)
		}
	}
}

func (l *loader) key(key, at, valueAt string, value *yaml.Node) {
	s := find(key)
	switch {
	case s == nil:
		l.fault(at, "unknown key %s%s", key, nearest(key))
	case s.secret:
		l.fault(at, "%s does not belong into this file: set %s, or name a file with %sFile", key, s.env(), key)
	default:
		l.scalar(s, valueAt, value)
	}
}

// scalar takes one value, or a list of them with commas.
func (l *loader) scalar(s *setting, at string, value *yaml.Node) {
	switch value.Kind {
	case yaml.ScalarNode:
		l.set(s, at, value.Value)
	case yaml.SequenceNode:
		var all []string
		for _, item := range value.Content {
			all = append(all, item.Value)
		}
		l.set(s, at, strings.Join(all, ","))
	default:
		l.fault(at, "%s takes one value: %s", s.key, s.value)
	}
}

// nearest proposes the key that was meant.
func nearest(key string) string {
	for _, s := range settings {
		if strings.EqualFold(s.key, key) || strings.HasSuffix(strings.ToLower(s.key), "."+strings.ToLower(key)) {
			return ": is " + s.key + " meant?"
		}
	}
	return "; the keys are in docs/reference/config.md"
}

// secrets reads the files that hold secrets.
func (l *loader) secrets() {
	for _, f := range []struct {
		path, key string
		into      *Secret
	}{
		{l.c.Bus.passwordFile, "bus.passwordFile", &l.c.Bus.Password},
		{l.c.Registry.passwordFile, "registry.passwordFile", &l.c.Registry.Password},
		{l.c.Search.passwordFile, "search.passwordFile", &l.c.Search.Password},
		{l.c.Search.apiKeyFile, "search.apiKeyFile", &l.c.Search.APIKey},
	} {
		if f.path == "" {
			continue
		}
		if !f.into.Empty() {
			l.fault(l.place(f.key), "%s: the secret is given in the environment, too: choose one", f.key)
			continue
		}
		raw, info, err := read(f.path)
		if err != nil {
			l.fault(l.place(f.key), "%s: %s: %v", f.key, f.path, err)
			continue
		}
		if text := exposed(f.path, info); text != "" {
			l.c.warnings = append(l.c.warnings, f.key+": "+text)
		}
		*f.into = Secret{strings.TrimRight(string(raw), "\r\n")}
	}
}

// exposed says who else may read a secret. A group may read what is another
// user's: a secret that Kubernetes mounts for a user other than root is root's.
func exposed(path string, info fs.FileInfo) string {
	mode := info.Mode().Perm()
	owner, known := info.Sys().(*syscall.Stat_t)
	mine := !known || int(owner.Uid) == os.Geteuid()
	switch {
	case mine && mode&0o077 != 0:
		return fmt.Sprintf("%s (mode %04o) is open to other users of this machine: chmod 600 %[1]s", path, mode)
	case mode&0o007 != 0:
		return fmt.Sprintf("%s (mode %04o) is another user's and open to all of this machine: chmod 640 %[1]s, with a group of this process; for a secret that Kubernetes mounts, defaultMode: 0440 and an fsGroup", path, mode)
	}
	return ""
}
