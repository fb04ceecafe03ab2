// Package ports holds the interfaces between the rooms and the providers: what Nexus needs of a store or a service,
// and nothing a single provider happens to offer.
//
// A port enters with the room that needs it and is owned by that side; adapters implement it, and prove it with the
// conformance suites of package portstest. The package holds types and contracts only: no I/O, no provider.
//
//	port             needed by                 implemented by                               its suite runs on
//	SchemaRegistry   internal/serde            adapters/confluent                           the embedded registry, Apicurio
//	SearchStore      sink, gateway             adapters/embedded/search, .../elasticsearch  both
//	EventBus         gateway                   emitters.Commands with views.Outcomes        kfake, the embedded broker, Kafka
//	EventStore       gateway                   views.History                                with one broker and with three
//
// # The log's two ports
//
// EventBus and EventStore are the two ends of the log as the gateway has them: commands in and their outcomes out, and
// events read back. They have no method that appends. Events come about in processors, in one transaction with state,
// outcome and the command's offset; an append of its own would be a second way into the log, around the aggregate. What
// an appending port would promise (expected versions, no event twice, all or nothing) is promised of commands instead,
// and the suites ask it there: a whole log is judged, with processors between its bus and its store.
//
// Nothing stands between the log's ports and franz-go: emitters and views speak Kafka's protocol, which every broker
// behind them has, and an interface over single records would have one implementation and hide the transactions that the
// guarantees are made of. A provider that is no Kafka brings a bus and a store of its own, with the same promises.
//
// All that the ports promise holds on every provider. What one may be without is a closed list, portstest.Feature: a log
// of one copy has no replicas that a command could wait for.
package ports
