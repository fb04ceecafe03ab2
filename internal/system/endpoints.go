package system

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// EndpointsFile is where a running system says, in its data folder, how to
// reach it. It is there exactly while the system is ready.
const EndpointsFile = "endpoints.json"

// Endpoints are the addresses of a running system.
type Endpoints struct {
	API      string `json:"api"`      // URL
	Bus      string `json:"bus"`      // host:port of the broker
	Registry string `json:"registry"` // URL
	PID      int    `json:"pid"`
}

// write replaces the file in one step, so that no reader sees half of it.
func (e Endpoints) write(dir string) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	temporary := filepath.Join(dir, EndpointsFile+".new")
	if err := os.WriteFile(temporary, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", temporary, err)
	}
	if err := os.Rename(temporary, filepath.Join(dir, EndpointsFile)); err != nil {
		return fmt.Errorf("writing %s: %w", EndpointsFile, err)
	}
	return nil
}

func removeEndpoints(dir string) error {
	err := os.Remove(filepath.Join(dir, EndpointsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
