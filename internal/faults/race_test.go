//go:build race

package faults

// The instances are built as the tests are: with the race detector, both.
const race = true
