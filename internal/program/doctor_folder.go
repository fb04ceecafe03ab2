package program

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/nexusblueprint/nexus/internal/datadir"
	"github.com/nexusblueprint/nexus/internal/system"
)

// The embedded broker's limits: it refuses writes below so much free space, and
// up to so large a log it starts as fast as its DESIGN.md says.
const (
	freeBytesMin = 256 << 20
	logBytesMax  = 4 << 30
)

// folder judges the data folder.
func (d *doctor) folder() {
	const name = "data folder"
	state, err := datadir.Inspect(d.data)
	switch {
	case errors.Is(err, datadir.ErrNewer):
		d.fail(name, "start the release that wrote it, or choose another folder with --data", "%v", err)
	case errors.Is(err, datadir.ErrForeign):
		d.fail(name, "choose another folder with --data", "%v", err)
	case err != nil:
		d.fail(name, "make it readable for this user", "%v", err)
	case state.Empty:
		d.ok(name, "%s is empty or does not exist yet; nexus dev fills it", d.data)
	case state.Held:
		d.ok(name, "%s is held by process %s, format %d%s", d.data, state.Holder, state.Format, d.answersAt())
	default:
		d.ok(name, "%s is held by nobody, format %d%s", d.data, state.Format, d.unclean())
	}
	d.disk()
	if err == nil && !state.Empty {
		d.logSize()
	}
}

// answersAt says where the system on the folder is reached.
func (d *doctor) answersAt() string {
	raw, err := os.ReadFile(filepath.Join(d.data, system.EndpointsFile))
	if err != nil {
		return ", still starting"
	}
	var e system.Endpoints
	if json.Unmarshal(raw, &e) != nil {
		return ""
	}
	if e.API != strings.TrimSuffix(d.at.server, "/") {
		return ", and answers at " + e.API + ": look at that one with --server " + e.API
	}
	return ", and answers at " + e.API
}

func (d *doctor) unclean() string {
	if _, err := os.Stat(filepath.Join(d.data, system.EndpointsFile)); err == nil {
		return "; the process that ran on it was killed, and the next start repairs what it left open"
	}
	return ""
}

// disk judges the free space of the folder's disk.
func (d *doctor) disk() {
	at, err := existing(d.data)
	var st syscall.Statfs_t
	if err == nil {
		err = syscall.Statfs(at, &st)
	}
	if err != nil {
		d.fail("disk", "make the folder readable for this user", "the free space of %s cannot be read: %v", d.data, err)
		return
	}
	d.space(int64(uint64(st.Bavail) * uint64(st.Bsize))) //nolint:unconvert // types differ by platform
}

func (d *doctor) space(free int64) {
	const name = "disk"
	switch {
	case free < freeBytesMin:
		d.fail(name, "free some space: everything that was acknowledged is safe, and writes go on by themselves once there is room",
			"%s free, writes are refused below %s", mebibytes(free), mebibytes(freeBytesMin))
	case free < 4*freeBytesMin:
		d.warn(name, "free some space before that", "%s free, writes are refused below %s", mebibytes(free), mebibytes(freeBytesMin))
	default:
		d.ok(name, "%s free", mebibytes(free))
	}
}

// existing is the folder, or the nearest one above it that exists.
func existing(path string) (string, error) {
	path, err := filepath.Abs(path)
	for err == nil {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return path, err
		}
		path = filepath.Dir(path)
	}
	return path, err
}

// logSize judges the size of the log, where the folder has one.
func (d *doctor) logSize() {
	const name = "log size"
	partitions := filepath.Join(d.data, "broker", "partitions")
	if _, err := os.Stat(partitions); errors.Is(err, fs.ErrNotExist) {
		return // the folder of an instance on a Kafka
	}
	size := int64(0)
	err := filepath.WalkDir(partitions, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return ignoreGone(err)
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size()
		}
		return ignoreGone(err) // a running broker deletes files
	})
	switch {
	case err != nil:
		d.fail(name, "make the folder readable for this user", "the log cannot be measured: %v", err)
	case size > logBytesMax/5*4:
		d.warn(name, "export the events and import them where there is room: a new log holds no old commands and outcomes",
			"%s of %s: starts take longer and more memory beyond that", mebibytes(size), mebibytes(logBytesMax))
	default:
		d.ok(name, "%s of %s", mebibytes(size), mebibytes(logBytesMax))
	}
}
