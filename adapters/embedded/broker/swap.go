package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// swap replaces a partition's folder by another as a whole. A rename cannot replace a folder that is not empty, so the
// new one is built as swap/<name>.tmp, renamed to swap/<name> once it is complete and durable, and from then on it is
// the partition: what is left to do is done by the next start if this one is killed.
type swap struct{ root, name string }

func newSwap(root, name string) swap { return swap{root: root, name: name} }

func (s swap) building() string { return filepath.Join(s.root, "swap", s.name+buildingSuffix) }
func (s swap) complete() string { return filepath.Join(s.root, "swap", s.name) }
func (s swap) target() string   { return filepath.Join(s.root, "partitions", s.name) }

// buildingSuffix cannot end a partition's folder, which ends in a number.
const buildingSuffix = ".tmp"

func (s swap) begin() error {
	if err := os.RemoveAll(s.building()); err != nil {
		return err
	}
	return os.MkdirAll(s.building(), 0o700)
}

func (s swap) commit(step func(string)) error {
	if err := syncDir(s.building()); err != nil {
		return err
	}
	step("swap built")
	if err := os.Rename(s.building(), s.complete()); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(s.complete())); err != nil {
		return err
	}
	step("swap complete")
	return s.finish(step)
}

func (s swap) finish(step func(string)) error {
	if err := os.RemoveAll(s.target()); err != nil {
		return err
	}
	step("swap emptied")
	if err := os.Rename(s.complete(), s.target()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(s.target()))
}

// finishSwaps completes what a killed start left: complete folders go in, unfinished ones are dropped.
func finishSwaps(root string) error {
	dir := filepath.Join(root, "swap")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finishing a compaction: %w", err)
	}
	for _, e := range entries {
		s := newSwap(root, e.Name())
		if strings.HasSuffix(e.Name(), buildingSuffix) {
			err = os.RemoveAll(filepath.Join(dir, e.Name()))
		} else {
			err = s.finish(func(string) {})
		}
		if err != nil {
			return fmt.Errorf("finishing a compaction: %w", err)
		}
	}
	return nil
}
