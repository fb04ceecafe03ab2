// Package processors carries commands to events and events to documents.
//
// An aggregate processor takes one aggregate's commands in log order and, for
// each: remembered? → expected version → Validate → Decide → schema gate →
// Evolve. Table record, events and outcome become visible in one Kafka
// transaction with the command's offset; see processors/engine.
//
// A projection processor splits events into changes, carries each to the
// partition of its document and folds it there, under the same transactions.
//
// A record that cannot be handled — undecodable, on the wrong partition,
// failing, panicking — becomes a dead letter with a dead outcome, and the
// partition goes on. The package reads no HTTP and writes no search store.
package processors
