// Package kafkalog passes on what franz-go finds worth a warning.
package kafkalog

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"
)

// To is a logger for a client, which tells l its warnings and errors. What else
// franz-go says is of use to those who change it.
func To(l *slog.Logger) kgo.Opt { return kgo.WithLogger(logger{l}) }

type logger struct{ l *slog.Logger }

func (logger) Level() kgo.LogLevel { return kgo.LogLevelWarn }

func (k logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	l := slog.LevelWarn
	if level == kgo.LogLevelError {
		l = slog.LevelError
	}
	k.l.Log(context.Background(), l, "kafka client: "+msg, keyvals...) //nolint:sloglint // what it says is franz-go's
}
