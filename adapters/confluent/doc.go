// Package confluent is the client of a schema registry that speaks Confluent's REST API: Confluent's own, Apicurio
// Registry at its path /apis/ccompat/v7, Karapace, Redpanda, and the one that the laptop carries (adapters/embedded/registry).
//
// They differ in what they answer where Confluent's documents are silent; what would break the platform is evened out
// here, and the suite of ports/portstest is run on two of them. Framing, caching and the choice of what is registered are
// internal/serde's.
package confluent
