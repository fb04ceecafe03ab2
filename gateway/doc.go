// Package gateway is the platform's HTTP side: commands in, their outcomes and
// the read models out.
//
// A command's body becomes Avro by its schema, then the generated command, then
// is validated; nothing is sent before all of it is right. The emitter logs it,
// the outcomes view hears how it ended, and the answer carries a position that
// a query can wait for. The package decides nothing about a command and keeps
// nothing: everything it answers from is a view or the search store.
//
// Parameters, codes and schemas are declared once, in tables that both judge
// requests and write the OpenAPI document.
package gateway
