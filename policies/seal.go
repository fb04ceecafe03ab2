package policies

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// SumsFile seals a release: it stands beside its schemas and holds their
// SHA-256 sums, as sha256sum prints and checks them.
const SumsFile = "SHA256SUMS"

// Edited is a released schema that is no longer what was released.
type Edited struct {
	Subject string `json:"subject"`
	Release string `json:"release"`
	Reason  string `json:"reason"`
}

// Seal makes the SumsFile of a release from the content of its files.
func Seal(files map[string][]byte) []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(files[name]), name)
	}
	return b.Bytes()
}

// Unsealed lists what was done to a release since its SumsFile was written. A
// release without one, of a program that did not write them yet, has nothing to
// be compared with.
func Unsealed(releases fs.FS, release string) ([]Edited, error) {
	sums, err := fs.ReadFile(releases, path.Join(release, SumsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the sums of release %s: %w", release, err)
	}
	sealed, err := readSums(sums)
	if err != nil {
		return nil, fmt.Errorf("reading the sums of release %s: %w", release, err)
	}
	files, err := fs.ReadDir(releases, release)
	if err != nil {
		return nil, fmt.Errorf("reading released schemas of %s: %w", release, err)
	}
	var found []Edited
	add := func(file, reason string) {
		found = append(found, Edited{Subject: strings.TrimSuffix(file, ".avsc"), Release: release, Reason: reason})
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".avsc") {
			continue
		}
		text, err := fs.ReadFile(releases, path.Join(release, file.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading released schema %s of %s: %w", file.Name(), release, err)
		}
		sum, there := sealed[file.Name()]
		delete(sealed, file.Name())
		switch {
		case !there:
			add(file.Name(), "was added to the release afterwards")
		case sum != fmt.Sprintf("%x", sha256.Sum256(text)):
			add(file.Name(), "is not what was released")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sealed)) {
		add(name, "was released and its file is gone")
	}
	return found, nil
}

// readSums returns the sums by file.
func readSums(text []byte) (map[string]string, error) {
	sums := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		if !ok || len(sum) != 2*sha256.Size {
			return nil, fmt.Errorf("line %d of %s is not a sum, two spaces and a file: put the file back as `nexus schemas freeze` wrote it", n, SumsFile)
		}
		sums[name] = sum
	}
	return sums, lines.Err()
}
