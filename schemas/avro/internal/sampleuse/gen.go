// Package sampleuse is generated from a schema that refers to the schemas of another package.
package sampleuse

//go:generate go run ../../gen -import github.com/nexusblueprint/nexus/schemas/avro/internal/sample
