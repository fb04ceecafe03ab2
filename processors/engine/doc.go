// Package engine runs a goka processor on franz-go with Kafka transactions.
//
// goka keeps its programming model (group graph, callbacks, table, visits, views,
// joins, lookups, hot standby); everything beneath it is replaced through goka's
// own builders:
//
//	goka.Processor ── WithConsumerGroupBuilder ─▶ group.go, session.go   kgo.GroupTransactSession
//	               ── WithProducerBuilder ──────▶ producer.go            the same client, the same transaction
//	               ── WithStorageBuilder ───────▶ table.go, store.go     overlay of the open transaction over internal/localstore
//	               ── WithConsumerSaramaBuilder ▶ reader.go              table recovery, read committed
//	               ── WithTopicManagerBuilder ──▶ topics.go              verifies topics, never creates them
//
// One transaction spans all callbacks of one commit interval: the events and
// outcomes they emit, the last value of each table key they touched and the input
// offsets become visible together or not at all, and the local store changes only
// after Kafka has committed.
//
// The engine knows nothing of commands, events or Avro; that is processors/.
// DESIGN.md beside this file tells why it is built this way, what it guarantees,
// and answers for each known trap of goka, franz-go and the brokers.
package engine
