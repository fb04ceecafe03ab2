package shop_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/shop/data"
	"github.com/nexusblueprint/nexus/shop/oracle"
	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

func figuresOf(t testing.TB, sources ...retailcsv.Source) shop.Figures {
	t.Helper()
	f, err := oracle.Figures(sources...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func sameFigures(t testing.TB, want, got shop.Figures) {
	t.Helper()
	differences, err := oracle.Differences(want, got)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		t.Error(d)
	}
}

// shipped are the figures that the data came with.
func shipped(t testing.TB) shop.Figures {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(string(data.Figures)))
	decoder.DisallowUnknownFields()
	var f shop.Figures
	if err := decoder.Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFiguresOf_TheSixMonthsAreTheShippedOnes(t *testing.T) {
	sameFigures(t, shipped(t), figuresOf(t, shop.Sample()...))
}
