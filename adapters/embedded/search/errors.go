package search

import "errors"

// Errors of Open and of a Store.
var (
	// ErrLocked says that another process, or another Store of this one, has the file open.
	ErrLocked = errors.New("search store is in use")

	// ErrNewerFormat says that a newer release wrote the file. Run that release, or remove the file: it is filled again.
	ErrNewerFormat = errors.New("search store has a newer format")

	// ErrForeign says that the file is a database, but not a search store. It is left alone.
	ErrForeign = errors.New("not a search store")

	// ErrDamaged says that the file turned out to be damaged. The next Open sets it aside.
	ErrDamaged = errors.New("search store is damaged")

	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("search store is closed")
)
