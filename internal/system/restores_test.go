package system

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestRestores_estimate(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := newRestores()
	r.now = func() time.Time { return now }
	table := restore{of: "shop.order", done: 1000, total: 11_000}
	r.add(func() []restore { return []restore{table} })
	if got := r.estimate(table); got != ", 10000 of 11000 records left" {
		t.Errorf("at first sight: %q", got)
	}
	now, table.done = now.Add(2*time.Second), 5000
	if got := r.estimate(table); got != ", 6000 of 11000 records left, 2000/s, about 3s" {
		t.Errorf("after two seconds: %q", got)
	}
	want := "# HELP nexus_restore_records_left Records that a table or view still reads before this instance is ready.\n# TYPE nexus_restore_records_left gauge\nnexus_restore_records_left{of=\"shop.order\"} 6000\n"
	if err := testutil.CollectAndCompare(r, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	table.ready = true
	if err := testutil.CollectAndCompare(r, strings.NewReader(strings.Replace(want, "6000", "0", 1))); err != nil {
		t.Error(err)
	}
	// Another partition arrives later: the estimate begins anew.
	now, table = now.Add(time.Hour), restore{of: "shop.order", done: 0, total: 50}
	if got := r.estimate(table); got != ", 50 of 50 records left" {
		t.Errorf("another restore: %q", got)
	}
}
