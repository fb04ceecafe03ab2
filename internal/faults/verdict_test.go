package faults

import (
	"strings"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/internal/programtest"
	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/shop/data"
	"github.com/nexusblueprint/nexus/shop/oracle"
)

// load loads the next month of real orders beside whatever happens; the function
// it returns waits for its end. Months that are all in are loaded again, which
// changes nothing.
func (s *stage) load(t *testing.T, gateway *programtest.Process) (finish func()) {
	t.Helper()
	month := data.Months[len(s.months)%len(data.Months)]
	s.months = append(s.months, month)
	type result struct {
		report shop.LoadReport
		err    error
	}
	done := make(chan result, 1)
	go func() {
		for {
			// A gateway that was killed may come back under another address.
			report, err := shop.Load(t.Context(), shop.LoadOptions{Server: gateway.API(), Sources: shop.Sample(month), Patience: 5 * time.Second})
			if err == nil || t.Context().Err() != nil || report.Failed > 0 {
				done <- result{report, err}
				return
			}
			wait(100 * time.Millisecond)
		}
	}()
	return func() {
		t.Helper()
		select {
		case r := <-done:
			if r.err != nil || r.report.Failed > 0 {
				t.Fatalf("loading %s: %v, refused: %v", month, r.err, r.report.Failures)
			}
		case <-time.After(programtest.Patience):
			t.Fatalf("loading %s did not end within %v after the faults did", month, programtest.Patience)
		}
	}
}

// verdict demands that the system, at rest, is as if nothing had happened.
func (s *stage) verdict(t *testing.T, gateway *programtest.Process) {
	t.Helper()
	began := time.Now()
	api := gateway.API()
	s.figures(t, api)
	s.sent.logged(t, api)
	programtest.Must(t, "check", "--server", api)
	for _, i := range s.instances {
		if _, report, found := strings.Cut(i.Log.String(), "WARNING: DATA RACE"); found {
			t.Errorf("%s has a data race:\n%s", i.Name, report[:min(len(report), 4000)])
		}
		if strings.Contains(i.Log.String(), "panic:") {
			t.Errorf("%s panicked:\n%s", i.Name, programtest.Tail(i.Log.String()))
		}
	}
	t.Logf("verdict over %d months and %d receipts in %v", min(len(s.months), len(data.Months)), len(s.sent.acked), time.Since(began).Round(100*time.Millisecond))
}

func (s *stage) figures(t *testing.T, api string) {
	t.Helper()
	want, err := oracle.Figures(shop.Sample(s.months[:min(len(s.months), len(data.Months))]...)...)
	if err != nil {
		t.Fatal(err)
	}
	var got shop.Figures
	programtest.Eventually(t, "the read models have all of the log", func() bool {
		got, err = shop.ReadFigures(t.Context(), api)
		return err == nil && got.LagRecords == 0
	})
	differences, err := oracle.Differences(want, got)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		t.Error(d)
	}
}
