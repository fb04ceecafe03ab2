// Package domaintest tests aggregates and projections with sentences:
//
//	domaintest.Given(t, Order, placed).When(cancel).Then(cancelled)
//	domaintest.Given(t, Order).When(cancel).ThenRejected("order-not-placed")
//	domaintest.Project(t, Customers, placed, cancelled).Document("17850", want)
//	domaintest.Shuffled(t, Customers, histories, 20)
//
// Beside what a sentence says, each one checks what the platform relies on:
// that the functions of the domain are deterministic and leave their inputs
// alone, and that every record survives its Avro encoding. A failed sentence
// shows what differs, field by field.
package domaintest
