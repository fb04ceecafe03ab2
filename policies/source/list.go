package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// listed is a package as the go command lists it.
type listed struct {
	ImportPath     string
	Dir            string
	Export         string
	Standard       bool
	GoFiles        []string
	CgoFiles       []string
	IgnoredGoFiles []string
	Imports        []string
	ImportMap      map[string]string
	Module         *struct {
		Path string
		Main bool
	}
	Error      *fault
	DepsErrors []*fault
}

// fault is what the go command says of a package that it cannot build.
type fault struct {
	Pos, Err    string
	ImportStack []string
}

type listing struct {
	module, root string
	own          []*listed // of the module, what is imported before what imports it
	all          map[string]*listed
}

// list asks the go command for the module's packages and all they import, with
// their export data, which it builds where its cache lacks it.
func list(ctx context.Context, dir string) (*listing, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		return nil, fmt.Errorf("%s is no Go module (name its folder: nexus verify DIR): %w", dir, err)
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-e", "-deps", "-export",
		"-json=ImportPath,Dir,Export,Standard,GoFiles,CgoFiles,IgnoredGoFiles,Imports,ImportMap,Module,Error,DepsErrors", "./...")
	cmd.Dir = root
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("the source in %s is type-checked with the go command, which is not in PATH: install Go: %w", dir, err)
	}
	if err != nil {
		// not wrapped: the go command's exit code is not ours
		return nil, fmt.Errorf("listing the packages in %s (go list ./...): %s: %s", dir, err.Error(), strings.TrimSpace(errs.String()))
	}
	l := &listing{root: root, all: map[string]*listed{}}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &listed{}
		err := dec.Decode(p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("listing the packages in %s: %w", dir, err)
		}
		if err := l.add(p); err != nil {
			return nil, fmt.Errorf("the source in %s cannot be judged before it compiles (go build ./...): %w", dir, err)
		}
	}
	if l.module == "" {
		return nil, fmt.Errorf("%s holds no Go package: %s", dir, strings.TrimSpace(errs.String()))
	}
	return l, nil
}

// add takes a package in. One of the module in a folder that ./... leaves out,
// such as testdata, is the module's own if something imports it.
func (l *listing) add(p *listed) error {
	l.all[p.ImportPath] = p
	if p.Module == nil || !p.Module.Main {
		return nil
	}
	l.module = p.Module.Path
	if len(p.GoFiles)+len(p.CgoFiles) == 0 && len(p.IgnoredGoFiles) == 0 {
		return nil // only tests
	}
	if len(p.GoFiles)+len(p.CgoFiles) > 0 {
		switch {
		case p.Error != nil:
			return p.Error.placed()
		case len(p.DepsErrors) > 0:
			return p.DepsErrors[0].placed()
		}
	}
	l.own = append(l.own, p)
	return nil
}

// placed is the error with its place: the line, or in a cycle the way of the
// imports, which the go command gives beside the text.
func (f *fault) placed() error {
	why := strings.TrimSpace(f.Err)
	switch {
	case strings.Contains(why, "import cycle"):
		return fmt.Errorf("%s: %s", why, strings.Join(f.ImportStack, " imports "))
	case f.Pos != "" && !strings.Contains(why, f.Pos):
		return fmt.Errorf("%s: %s", f.Pos, why)
	}
	return errors.New(why)
}
