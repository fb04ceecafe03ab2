package shop_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexusblueprint/nexus/shop"
	"github.com/nexusblueprint/nexus/shop/retailcsv"
)

func TestLoad_SendsNothingOfADamagedFile(t *testing.T) {
	content := []byte("InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n")
	for n := range 2000 { // several batches
		content = fmt.Appendf(content, "%d,A,,7,2011-08-01 08:26:00,1.25,,EIRE\n", n)
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// The file still reads as orders: its checksum alone, at the end, tells that a quantity is wrong.
	damaged := bytes.Replace(packed.Bytes(), []byte("\n2,A,,7,"), []byte("\n2,A,,9,"), 1)
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"a wrong checksum": {damaged, "the compressed file is damaged"},
		"a bad last line":  {append(bytes.Clone(content), "2000,A,,1,yesterday,1.25,,EIRE\n"...), "column InvoiceDate"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			file := filepath.Join(t.TempDir(), "f.csv")
			if err := os.WriteFile(file, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := shop.Load(t.Context(), shop.LoadOptions{Server: s.URL, Sources: []retailcsv.Source{retailcsv.File(file)}})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "nothing was loaded") {
				t.Errorf("error %v, want it to say %q and that nothing was loaded", err, c.want)
			}
			if s.requests != 0 {
				t.Errorf("%d requests were sent", s.requests)
			}
		})
	}
}
