package program

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nexusblueprint/nexus/internal/datadir"
	"github.com/nexusblueprint/nexus/topology"
)

// unused makes sure that a folder does not exist, is empty, or holds a system
// that has taken no command yet. A system is held until it is closed.
func unused(path string, t *topology.Topology) (io.Closer, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	dir, err := datadir.Open(path, false)
	if err != nil {
		return nil, err
	}
	used, err := usedTopic(dir.Path("broker", "partitions"), t)
	if err == nil && used != "" {
		err = Violated{fmt.Errorf("%s is in use: its topic %s holds records; choose another folder with --data", path, used)}
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// usedTopic names a topic of the context that has records, "" if none has.
func usedTopic(partitions string, t *topology.Topology) (string, error) {
	for _, topic := range t.Topics() {
		logs, err := filepath.Glob(filepath.Join(partitions, topic.Name+"-*", "*.dat"))
		if err != nil {
			return "", err
		}
		for _, log := range logs {
			info, err := os.Stat(log)
			if err != nil {
				return "", err
			}
			folder := filepath.Base(filepath.Dir(log))
			if info.Size() > 0 && folder[:strings.LastIndexByte(folder, '-')] == topic.Name {
				return topic.Name, nil
			}
		}
	}
	return "", nil
}
