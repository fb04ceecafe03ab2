package check_test

import "testing"

func TestRun_passes_a_copy_of_a_healthy_system(t *testing.T) {
	report := healthyWorld(t).judge(t)
	if !report.OK {
		t.Errorf("a clean copy does not pass:\n%s", report.Text())
	}
	for _, i := range report.Invariants {
		if i.Checked == 0 {
			t.Errorf("%s: nothing was checked", i.ID)
		}
	}
}
