package source

import (
	"io/fs"
	"path/filepath"
	"strings"
)

// otherModules notes folders that are modules of their own: the go command
// leaves them out, so they are judged by themselves or not at all.
func (r *reader) otherModules(dir string) error {
	return filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != dir && SkipDir(d.Name()):
			return filepath.SkipDir
		case d.Name() != "go.mod" || filepath.Dir(file) == filepath.Clean(dir):
			return nil
		}
		relative, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		r.facts.Blind = append(r.facts.Blind, Blind{File: filepath.ToSlash(relative), Line: 1, What: "is a module of its own"})
		return nil
	})
}

// SkipDir says which folders hold nothing of the system itself.
func SkipDir(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "vendor" || name == "testdata" || name == "node_modules"
}
