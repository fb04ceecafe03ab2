// Package ports holds the interfaces between the rooms and the providers: what Nexus needs of a store or a service,
// and nothing a single provider happens to offer.
//
// A port enters with the room that needs it and is owned by that side; adapters implement it, and prove it with the
// conformance suites of package portstest. The package holds types and contracts only: no I/O, no provider.
package ports
