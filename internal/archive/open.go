package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/nexusblueprint/nexus/ports"
	"github.com/nexusblueprint/nexus/topology"
)

// Archive is a set of files that were read through and found whole, and that
// this program can restore.
type Archive struct {
	topology *topology.Topology
	files    []file
	events   int64
}

type file struct {
	path   string
	header Header
}

// Open reads the files through. A folder stands for the files of an export in
// it. Errors: *FaultError, which says what is wrong, and where.
func Open(ctx context.Context, t *topology.Topology, paths []string) (*Archive, error) {
	names, err := expand(paths)
	if err != nil {
		return nil, err
	}
	a := &Archive{topology: t}
	judge := newChains(t)
	for _, name := range names {
		header, err := a.each(ctx, judge, name, func(*chain, Event, fact) error { return nil })
		if err != nil {
			return nil, err
		}
		a.files = append(a.files, file{name, header})
	}
	a.events = int64(len(judge.ids))
	return a, nil
}

func expand(paths []string) (names []string, err error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			names = append(names, path)
			continue
		}
		found, err := filepath.Glob(filepath.Join(path, "*"+Extension))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("the folder %s holds no %s file: %w", path, Extension, ErrForeign)
		}
		slices.Sort(found)
		names = append(names, found...)
	}
	return names, nil
}

// each calls f with every event of a file that keeps the chain.
func (a *Archive) each(ctx context.Context, judge *chains, name string, f func(*chain, Event, fact) error) (Header, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Header{}, err
	}
	if !info.Mode().IsRegular() { // it is read twice, and opening a pipe would wait for its writer
		return Header{}, fmt.Errorf("%s is no regular file: copy it into one: %w", name, ErrForeign)
	}
	in, err := os.Open(name)
	if err != nil {
		return Header{}, err
	}
	defer func() { _ = in.Close() }()
	r, err := NewReader(in, name)
	if err != nil {
		return Header{}, err
	}
	c, err := judge.begin(name, r.Header())
	if err != nil {
		return r.Header(), err
	}
	for ctx.Err() == nil {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Header(), nil
		}
		if err != nil {
			return r.Header(), err
		}
		m, err := c.add(e)
		if err != nil {
			return r.Header(), err
		}
		if err := f(c, e, m); err != nil {
			return r.Header(), err
		}
	}
	return r.Header(), ctx.Err()
}

// Events is how many there are in all files.
func (a *Archive) Events() int64 { return a.events }

// Schemas are those of all files, versions of one subject oldest first: what a
// registry must have before events are restored.
func (a *Archive) Schemas() (all []ports.Schema) {
	seen := map[ports.Schema]bool{}
	for _, f := range a.files {
		parsed, err := f.header.parse()
		if err != nil {
			continue // Open has parsed it
		}
		for i, s := range slices.Concat(parsed.metadata, parsed.events) {
			one := ports.Schema{Subject: s.Name(), Text: slices.Concat(f.header.Metadata, f.header.Events)[i]}
			if !seen[one] {
				seen[one] = true
				all = append(all, one)
			}
		}
	}
	return all
}
