package policies

import (
	"os"
	"strings"
)

// archiveFile is a file of a txtar archive.
type archiveFile struct{ Name, Data string }

// readArchive reads an archive in the format of golang.org/x/tools/txtar, whose
// module would be a dependency for these lines: a comment, then files, each
// behind a line "-- name --".
func readArchive(name string) (comment string, files []archiveFile, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", nil, err
	}
	for line := range strings.Lines(string(text)) {
		marker := strings.TrimSuffix(line, "\n")
		if file, ok := strings.CutPrefix(marker, "-- "); ok && strings.HasSuffix(file, " --") {
			files = append(files, archiveFile{Name: strings.TrimSuffix(file, " --")})
		} else if len(files) == 0 {
			comment += line
		} else {
			files[len(files)-1].Data += line
		}
	}
	return strings.TrimSpace(comment), files, nil
}
