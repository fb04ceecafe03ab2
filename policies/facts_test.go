package policies

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// Who writes rules reads the reference: it has every member of the facts, and
// the version they have.
func TestFacts_the_reference_has_every_member(t *testing.T) {
	text, err := os.ReadFile("../docs/reference/facts.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.SplitN(line, "|", 3); len(cells) == 3 && cells[0] == "" {
			rows[strings.Trim(strings.TrimSpace(cells[1]), "`")] = cells[2]
		}
	}
	if !strings.Contains(string(text), "`"+FactsVersion+"`") {
		t.Errorf("the reference does not name version %s", FactsVersion)
	}
	objects := 0
	var walk func(at string, of reflect.Type)
	walk = func(at string, of reflect.Type) {
		switch of.Kind() {
		case reflect.Pointer:
			walk(at, of.Elem())
		case reflect.Slice:
			walk(at+"[]", of.Elem())
		case reflect.Map:
			if of.Elem().Kind() == reflect.Struct {
				walk(at+".*", of.Elem())
			}
		case reflect.Struct:
			objects++
			row := rows[strings.TrimPrefix(at, ".")]
			if at == "" {
				row = rows["the document"]
			}
			for i := range of.NumField() {
				if !of.Field(i).IsExported() {
					continue
				}
				name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
				if !strings.Contains(row, fmt.Sprintf("`%s`", name)) {
					t.Errorf("docs/reference/facts.md: the row of %q does not name `%s`", at, name)
				}
				walk(at+"."+name, of.Field(i).Type)
			}
		}
	}
	walk("", reflect.TypeFor[Facts]())
	if objects < 25 {
		t.Errorf("%d objects walked only", objects)
	}
}
