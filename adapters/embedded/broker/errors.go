package broker

import (
	"errors"
	"fmt"
)

// ErrNewerFormat means that a later release wrote the data folder; this one must not touch it. Start that release, or
// choose another folder.
var ErrNewerFormat = errors.New("the data folder was written by a newer release")

// ErrDamaged means that bytes inside the log are not what was written, away from its end where a crash may tear them.
// Nothing was changed. Restore the folder from a copy, or remove it and load again.
var ErrDamaged = errors.New("the log is damaged")

// ErrAddressTaken means that another program listens on the address. Stop it or choose another address.
var ErrAddressTaken = errors.New("address already in use")

// LockedError says that another process has the data folder open. Stop that process or choose another folder.
type LockedError struct {
	Dir string
	PID int // of the holder; 0 if it could not be read
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID > 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("the data folder %s is in use by %s: stop it, or choose another folder", e.Dir, who)
}
