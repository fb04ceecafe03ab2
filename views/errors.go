package views

import "errors"

var (
	// ErrNotFound says that the aggregate does not exist: no event of it has been committed.
	ErrNotFound = errors.New("no such aggregate")
	// ErrUnknownType says that the topology declares no aggregate of this type.
	ErrUnknownType = errors.New("no such aggregate type")
	// ErrBehind says that what was waited for did not come in time. It may come later: ask again.
	ErrBehind = errors.New("not caught up in time")
	// ErrCatchingUp says that the view has not read its topics yet, after a start or a rebuild. Ask again when it is
	// ready.
	ErrCatchingUp = errors.New("the view is still catching up")
	// ErrUnavailable says that the broker could not be asked. Ask again.
	ErrUnavailable = errors.New("the broker cannot be reached")
	// ErrPosition says that a text is no position, or names a partition that its topic does not have.
	ErrPosition = errors.New("bad position")
)
