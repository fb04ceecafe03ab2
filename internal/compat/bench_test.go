package compat

import (
	"fmt"
	"strings"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	var fields []string
	for f := range 20 {
		fields = append(fields, fmt.Sprintf(`{"name":"field%d","type":["null",{"type":"map","values":"string"}],"default":null,"doc":"what it holds"}`, f))
	}
	text := rec(fields...)
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(text)))
}

func BenchmarkCheck_largeUnions(b *testing.B) {
	var branches []string
	for i := range 2000 {
		branches = append(branches, fmt.Sprintf(`{"type":"record","name":"x.R%d","fields":[]}`, i))
	}
	text := "[" + strings.Join(branches, ",") + "]"
	r, err := Parse(text)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		CheckSchemas(r, r)
	}
}
