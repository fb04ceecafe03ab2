// Package views reads what commands left behind on the topics, committed transactions only: how each command ended
// ([Outcomes]), what state an aggregate is in ([States]), which events led there ([History]), and how far the read
// models have come ([Positions]).
//
// A view follows its topics with one read-committed consumer, keeps what it needs in the local store with its offsets
// in the same batch, and answers from there: no request of a client starts a read of a topic. It decides nothing,
// writes to no topic, and joins no consumer group. DESIGN.md has the data flow and the guarantees.
package views
