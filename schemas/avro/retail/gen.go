// Package retail holds the records of the shop: commands, events, states and documents. Its types are generated
// from the .avsc files of this folder.
package retail

//go:generate go run ../gen -import github.com/nexusblueprint/nexus/schemas/avro/platform
