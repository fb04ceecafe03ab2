// Package faults holds tests alone: they run instances of the program, as
// processes of their own, on a real Kafka, break things while real orders are
// loaded, and then demand that nothing was lost, doubled or reordered.
//
// A scenario is one kind of fault. It ends with the verdict: every acknowledged
// command is in the log exactly once, the figures are the oracle's, `nexus check`
// finds every invariant intact; and with the proof that the fault hit, without
// which the verdict says nothing: an aborted transaction in the log, a member
// gone from its group, a process that was shut out.
//
// NEXUS_SOAK=N makes N times as many rounds; NEXUS_SEED repeats a seed.
package faults
