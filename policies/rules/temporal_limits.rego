# METADATA
# title: temporal queries are rate-limited
# description: >-
#   A query into the past replays events: it needs a limit, of at most ten a
#   minute and principal.
# custom:
#   severity: error
#   needs: [topology]
#   remedy: >-
#     Set Limits.TemporalQueriesPerMinute in the topology to a number from 1
#     to 10.
package nexus.rules.temporal_limits

violations contains {
	"place": "topology: limits",
	"detail": sprintf("temporalQueriesPerMinute is %v: set it from 1 to 10", [limit]),
} if {
	limit := object.get(input.topology.limits, "temporalQueriesPerMinute", 0)
	not within(limit)
}

within(limit) if {
	limit >= 1
	limit <= 10
}
