package views

import "errors"

// Errors of what views answer beyond [ports.EventBus] and [ports.EventStore], whose errors they share.
var (
	// ErrNotFound says that the aggregate does not exist: no event of it has been committed.
	ErrNotFound = errors.New("no such aggregate")
	// ErrBehind says that what was waited for did not come in time. It may come later: ask again.
	ErrBehind = errors.New("not caught up in time")
	// ErrUnavailable says that the broker could not be asked. Ask again.
	ErrUnavailable = errors.New("the broker cannot be reached")
	// ErrPosition says that a text is no position, or names a partition that its topic does not have.
	ErrPosition = errors.New("bad position")
)
