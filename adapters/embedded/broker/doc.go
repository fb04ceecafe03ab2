// Package broker is the embedded message log of `nexus dev`: kfake, franz-go's in-process Kafka, opened on a data
// folder with the gaps closed that stand between a broker for tests and one that may hold a person's orders.
//
// A command's records reach it over a loopback port like any other Kafka, so the rest of the house does not know it is
// here. It keeps every transaction whole over kill -9, loses nothing it has acknowledged, refuses writes before the
// disk is full, locks its folder, and starts fast on a long history. It is one broker without replicas; DESIGN.md says
// where its guarantees end. It knows nothing of topics' meaning: retention and cleanup come with the topics.
package broker
