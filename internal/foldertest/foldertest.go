// Package foldertest writes folders for tests.
package foldertest

import (
	"os"
	"testing"
	"testing/fstest"
)

// Write writes files into a folder, which it makes: texts by their paths below it, with slashes.
func Write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	if err := os.CopyFS(dir, fsys); err != nil {
		t.Fatal(err)
	}
}
