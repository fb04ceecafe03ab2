package emitters

import "errors"

var (
	// ErrOverloaded says that more commands are on their way than the buffer holds. Nothing was sent: try again later.
	ErrOverloaded = errors.New("too many commands are on their way to the log")
	// ErrUnavailable says that the broker cannot be reached or takes nothing. Nothing was sent: try again later.
	ErrUnavailable = errors.New("the log takes no commands at present")
	// ErrFull is the ErrUnavailable of a broker that has no room for records: it takes commands again once there is room.
	ErrFull = errors.New("the broker refuses writes, as it does when its disk is nearly full or its log as large as allowed")
	// ErrUnknown says that it is not known whether the log has the command: it was on its way when the answer failed to
	// come. It may still be handled. Sending it again under the same command id is safe: it counts once.
	ErrUnknown = errors.New("it is not known whether the command was logged")
	// ErrRefused says that the command can never be logged as it is: its schema is not registered, or it is too large.
	ErrRefused = errors.New("the command cannot be logged")
	// ErrTooLarge is the ErrRefused of a command that is larger than its topic allows.
	ErrTooLarge = errors.New("the command is too large for its topic")
	// ErrClosed says that the emitter was closed.
	ErrClosed = errors.New("the emitter is closed")
)
