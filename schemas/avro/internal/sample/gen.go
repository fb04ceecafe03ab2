// Package sample is generated from schemas that use everything the generator knows: what the tests of the Avro
// runtime, the generator and the JSON mapping run on.
package sample

//go:generate go run ../../gen
