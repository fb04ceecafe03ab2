# METADATA
# title: decisions, folds and projections are pure
# description: >-
#   Validate, decide, evolve, upcasters, split and apply run again at every replay and
#   rebuild: what differs from run to run, writes, or reaches outside gives
#   other state and other documents than before.
# custom:
#   severity: error
#   needs: [source]
#   remedy: >-
#     Take times, ids and numbers from the command or the event, and leave
#     everything else to a saga or to the reader of the events.
package nexus.rules.pure_folds

violations contains {
	"file": use.file,
	"line": use.line,
	"detail": sprintf("%s of %s:%d uses %s: a replay would not give the same again; take it from the command or the event", [fold.role, fold.file, fold.line, use.name]),
} if {
	some fold in input.source.folds
	some use in fold.impure
}
