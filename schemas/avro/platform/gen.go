// Package platform holds the records of the platform itself: what stands beside commands, events and states, and
// the outcomes and dead letters they end in. Its types are generated from the .avsc files of this folder.
package platform

//go:generate go run ../gen
