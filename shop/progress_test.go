package shop

import (
	"strings"
	"testing"
	"time"
)

func TestProgressText(t *testing.T) {
	r := LoadReport{Accepted: 900, AlreadyThere: 90, Failed: 10, Events: 900}
	if got, want := progressText(r, 2*time.Second, 0.25), " 25%  1000 commands (500/s)  900 events (450/s)  10 failed  6s left"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got, want := progressText(LoadReport{}, 0, 0), "  0%  0 commands (0/s)  0 events (0/s)"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestBar(t *testing.T) {
	for fraction, full := range map[float64]int{0: 0, 0.5: 12, 1: 24} {
		if got := bar(fraction); strings.Count(got, "=") != full || len(got) != 26 {
			t.Errorf("%g: %q", fraction, got)
		}
	}
}

func TestPositions(t *testing.T) {
	p := positions{}
	for _, position := range []string{"shop.order.events/3/18422", "", "shop.order.events/3/7,shop.stock.events/0/0", "what?", "shop.order.events/2/5"} {
		p.join(position)
	}
	if got, want := p.String(), "shop.order.events/2/5,shop.order.events/3/18422,shop.stock.events/0/0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
