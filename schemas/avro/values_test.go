package avro_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nexusblueprint/nexus/schemas/avro"
)

func TestMilli_isExact(t *testing.T) {
	for text, want := range map[string]avro.Milli{
		"0.00": 0, "12.75": 12750, "-1.005": -1005, "0.001": 1, "-0.01": -10, "100.00": 100000,
		"9223372036854775.807": math.MaxInt64, "-9223372036854775.808": math.MinInt64,
	} {
		got, err := avro.ParseMilli(text)
		if err != nil || got != want || want.String() != text {
			t.Errorf("%s: parsed %d (%v), printed %s", text, got, err, want)
		}
	}
	for text, want := range map[string]avro.Milli{"12": 12000, "12.7": 12700, "1.2300000": 1230, "-0": 0, "-0.000": 0} {
		if got, err := avro.ParseMilli(text); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]error{
		"": avro.ErrSyntax, "-": avro.ErrSyntax, "+1": avro.ErrSyntax, "1.": avro.ErrSyntax, ".5": avro.ErrSyntax, "01": avro.ErrSyntax,
		"-00.5": avro.ErrSyntax, "1e3": avro.ErrSyntax, "1,5": avro.ErrSyntax, " 1": avro.ErrSyntax, "1 ": avro.ErrSyntax, "1.2.3": avro.ErrSyntax,
		"0x1": avro.ErrSyntax, "NaN": avro.ErrSyntax, "1.-2": avro.ErrSyntax, "١": avro.ErrSyntax,
		"1.2345": avro.ErrDecimals, "0.00001": avro.ErrDecimals,
		"9223372036854775.808": avro.ErrRange, "-9223372036854775.809": avro.ErrRange, "18446744073709551.616": avro.ErrRange,
		"99999999999999999999999999": avro.ErrRange, strings.Repeat("9", 100_000): avro.ErrRange,
	} {
		if got, err := avro.ParseMilli(text); !errors.Is(err, want) {
			t.Errorf("%.40s: %d, %v, want %v", text, got, err, want)
		}
	}
	rng := newRand(t)
	for range 10_000 {
		want := avro.Milli(randomLong(rng))
		if got, err := avro.ParseMilli(want.String()); err != nil || got != want {
			t.Fatalf("%d prints as %s and parses to %d, %v", want, want, got, err)
		}
	}
}

func TestMillis_isRFC3339(t *testing.T) {
	for text, want := range map[string]avro.Millis{
		"2010-12-01T08:26:00Z": 1291191960000, "1970-01-01T00:00:00.001Z": 1, "1969-12-31T23:59:59.5Z": -500,
		"0000-01-01T00:00:00Z": -62167219200000, "9999-12-31T23:59:59.999Z": 253402300799999,
	} {
		got, err := avro.ParseMillis(text)
		if err != nil || got != want || want.String() != text || avro.MillisOf(want.Time()) != want || want.Time().Location() != time.UTC {
			t.Errorf("%s: parsed %d (%v), printed %s", text, got, err, want)
		}
	}
	if got, err := avro.ParseMillis("2010-12-01T09:26:00.0000+01:00"); err != nil || got != 1291191960000 {
		t.Errorf("an offset: %d, %v", got, err)
	}
	for _, text := range []string{
		"", "2010-12-01", "2010-12-01T08:26:00", "2010-12-01 08:26:00Z", "2010-12-01T08:26Z", "2010-13-01T00:00:00Z", "2010-12-01T24:00:00Z",
		"2010-12-01T08:26:00,5Z", "2010-12-01T8:26:00Z", "2010-12-01T08:26:60Z", "2010-12-01T08:26:00.Z", "2010-12-01T08:26:00z", "2010-12-01T08:26:00+1:00", "2010-12-01T08:26:00Z ", "2010-12-01T08:26:00+25:00", "2010-12-01T08:26:00.0001Z",
	} {
		if got, err := avro.ParseMillis(text); !errors.Is(err, avro.ErrSyntax) {
			t.Errorf("%q: %s, %v, want ErrSyntax", text, got, err)
		}
	}
}

func TestUUID_isCanonical(t *testing.T) {
	const text = "00112233-4455-6677-8899-aabbccddeeff"
	u, err := avro.ParseUUID(strings.ToUpper(text))
	if err != nil || u.String() != text || u[15] != 0xff {
		t.Errorf("%s, %v", u, err)
	}
	for _, bad := range []string{"", text[1:], text + "0", "{" + text[1:35] + "}", strings.ReplaceAll(text, "-", ""), strings.Replace(text, "f", "g", 1)} {
		if _, err := avro.ParseUUID(bad); !errors.Is(err, avro.ErrSyntax) {
			t.Errorf("%q: %v, want ErrSyntax", bad, err)
		}
	}
}
