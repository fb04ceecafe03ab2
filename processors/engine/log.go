package engine

import (
	"context"
	"fmt"
	"log/slog"
)

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
