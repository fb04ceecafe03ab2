// Package data holds the real orders that the program ships with: six months
// of the Online Retail dataset (CC BY 4.0, see README.md) as gzip'd CSV, and
// the figures a correct system reports after them.
package data

import "embed"

// Months are the names of the shipped months, in order of time. Month m is the
// file m + ".csv.gz" of Files.
var Months = []string{"2010-12", "2011-01", "2011-02", "2011-03", "2011-04", "2011-05"}

// Files holds one gzip'd CSV per month.
//
//go:embed *.csv.gz
var Files embed.FS

// Figures is the JSON document of what the six months add up to.
//
//go:embed figures-2010-12-to-2011-05.json
var Figures []byte
