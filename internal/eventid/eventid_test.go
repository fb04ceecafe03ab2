package eventid

import "testing"

// The id is part of the log's format: a changed one would break the repetition
// of every command that was ever recorded.
func TestOf_is_pinned(t *testing.T) {
	if got, want := Of("order", "536365", "c-1", 0).String(), Of("order", "536365", "c-1", 0).String(); got != want {
		t.Fatalf("%s and %s for one event", got, want)
	}
	const pinned = "2806f8ff-cf08-5680-9dbb-55153ef768e6"
	if got := Of("order", "536365", "c-1", 0).String(); got != pinned {
		t.Errorf("id %s, the log has %s", got, pinned)
	}
}

func TestOf_differs_in_each_part(t *testing.T) {
	seen := map[string]string{}
	for name, id := range map[string]string{
		"base":           Of("order", "1", "c", 0).String(),
		"aggregate type": Of("stock", "1", "c", 0).String(),
		"aggregate id":   Of("order", "2", "c", 0).String(),
		"command id":     Of("order", "1", "d", 0).String(),
		"index":          Of("order", "1", "c", 1).String(),
		"shifted border": Of("order", "1c", "", 0).String(),
	} {
		if other, twice := seen[id]; twice {
			t.Errorf("%s and %s make the same id", name, other)
		}
		seen[id] = name
	}
}
