// Package emitters puts commands onto the topics of their aggregates, where processors take them up.
//
// A command is validated before it comes here and decided after it has left: an emitter only frames it, finds its
// partition, and says whether the log has it.
package emitters
