package engine

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"
)

// kafkaLogger passes on what franz-go finds worth a warning.
type kafkaLogger struct{ l *slog.Logger }

func (kafkaLogger) Level() kgo.LogLevel { return kgo.LogLevelWarn }

func (k kafkaLogger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	l := slog.LevelWarn
	if level == kgo.LogLevelError {
		l = slog.LevelError
	}
	k.l.Log(context.Background(), l, "kafka client: "+msg, keyvals...) //nolint:sloglint // what it says is franz-go's
}

// gokaLogger takes goka's messages as details: what matters of them returns as an
// error of Run.
type gokaLogger struct{ l *slog.Logger }

func (g gokaLogger) Print(a ...any)   { g.log(func() string { return fmt.Sprint(a...) }) }
func (g gokaLogger) Println(a ...any) { g.log(func() string { return fmt.Sprint(a...) }) }
func (g gokaLogger) Printf(f string, a ...any) {
	g.log(func() string { return fmt.Sprintf(f, a...) })
}

func (g gokaLogger) log(text func() string) {
	if ctx := context.Background(); g.l.Enabled(ctx, slog.LevelDebug) {
		g.l.Debug("goka", "says", text())
	}
}
