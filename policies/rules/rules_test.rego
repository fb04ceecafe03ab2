package nexus.rules_test

import data.nexus.rules.append_only
import data.nexus.rules.declared_topics
import data.nexus.rules.direct_calls
import data.nexus.rules.registered_schemas
import data.nexus.rules.schema_evolution
import data.nexus.rules.temporal_limits

kept := {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}

topology := {
	"topics": [{"name": "shop.order.events", "kind": "events", "config": kept, "schemas": ["shop.order.OrderPlaced"]}],
	"schemas": [{"subject": "shop.order.OrderPlaced", "owner": "sales", "doc": "An order was placed.", "schema": "{}"}],
	"limits": {"temporalQueriesPerMinute": 10},
}

with_topic(topic) := object.union(topology, {"topics": [topic]})

test_append_only_passes_kept_events if count(append_only.violations) == 0 with input as {"topology": topology, "live": {"topics": {"shop.order.events": {"config": kept}}}}

test_append_only_finds_compaction if {
	bad := object.union(kept, {"cleanup.policy": "compact"})
	count(append_only.violations) == 1 with input as {"topology": with_topic({"name": "e", "kind": "events", "config": bad})}
}

test_append_only_finds_missing_retention if {
	bad := object.remove(kept, ["retention.ms"])
	count(append_only.violations) == 1 with input as {"topology": with_topic({"name": "e", "kind": "events", "config": bad})}
}

test_append_only_leaves_other_topics_alone if {
	count(append_only.violations) == 0 with input as {"topology": with_topic({"name": "c", "kind": "commands", "config": {"cleanup.policy": "delete", "retention.ms": "1"}})}
}

test_append_only_finds_a_changed_broker if {
	live := {"topics": {"shop.order.events": {"config": object.union(kept, {"retention.ms": "604800000"})}}}
	count(append_only.violations) == 1 with input as {"topology": topology, "live": live}
}

test_append_only_finds_a_deleting_port if {
	source := {"eventStoreMethods": [{"name": "DeleteEvents", "file": "ports/eventstore.go", "line": 7}, {"name": "Append", "file": "ports/eventstore.go", "line": 6}]}
	count(append_only.violations) == 1 with input as {"topology": topology, "source": source}
}

call := {"file": "shop/order.go", "line": 3, "call": "net/http.Get", "allowed": false}

test_direct_calls_finds_a_call if {
	count(direct_calls.violations) == 1 with input as {"source": {"packages": [{"path": "example.com/shop", "platform": false, "calls": [call], "imports": []}]}}
}

test_direct_calls_passes_none_allowed_and_platform if {
	count(direct_calls.violations) == 0 with input as {"source": {"packages": [
		{"path": "example.com/shop", "platform": false, "calls": [], "imports": []},
		{"path": "example.com/client", "platform": false, "calls": [object.union(call, {"allowed": true})], "imports": []},
		{"path": "example.com/adapters/kafka", "platform": true, "calls": [call], "imports": []},
	]}}
}

test_registered_schemas_passes if {
	count(registered_schemas.violations) == 0 with input as {"topology": topology, "live": {"registry": {"subjects": ["shop.order.OrderPlaced"]}}}
}

test_registered_schemas_finds_an_event_without_schema if {
	count(registered_schemas.violations) == 1 with input as {"topology": object.union(topology, {"schemas": []})}
}

test_registered_schemas_finds_a_missing_owner if {
	bad := [{"subject": "shop.order.OrderPlaced", "owner": "", "doc": "d", "schema": "{}"}]
	count(registered_schemas.violations) == 1 with input as {"topology": object.union(topology, {"schemas": bad})}
}

test_registered_schemas_finds_an_unregistered_subject if {
	count(registered_schemas.violations) == 1 with input as {"topology": topology, "live": {"registry": {"subjects": []}}}
}

test_schema_evolution_passes_compatible if count(schema_evolution.violations) == 0 with input as {"history": {"incompatibilities": [], "removed": []}}

test_schema_evolution_finds_a_break_and_a_removal if {
	history := {
		"incompatibilities": [{"subject": "s", "with": "release 0.1.0", "reason": "field x is gone"}],
		"removed": [{"subject": "t", "release": "0.1.0"}],
		"edited": [{"subject": "u", "release": "0.1.0", "reason": "is not what was released"}],
	}
	count(schema_evolution.violations) == 3 with input as {"history": history}
}

test_temporal_limits_passes_ten if count(temporal_limits.violations) == 0 with input as {"topology": topology}

test_temporal_limits_finds_none_and_too_many if {
	every limits in [{}, {"temporalQueriesPerMinute": 0}, {"temporalQueriesPerMinute": 11}] {
		count(temporal_limits.violations) == 1 with input as {"topology": {"limits": limits}}
	}
}

# Strimzi deletes the topic of a KafkaTopic that goes.
test_declared_topics_says_how_events_outlive_their_manifest if {
	every name, way in {"shop.old.events": "annotate it strimzi.io/managed=false", "shop.old.commands": "or take it out"} {
		doc := {"file": "t.yaml", "line": 1, "kind": "KafkaTopic", "name": name, "content": {"spec": {}}, "lines": {}}
		found := declared_topics.violations with input as {"topology": topology, "deploy": {"documents": [doc]}}
		count(found) == 1
		some violation in found
		contains(violation.detail, way)
	}
}

test_schema_evolution_says_what_becomes_of_a_registered_version if {
	every older, way in {"version 3 in the registry": "delete it from the registry", "release 0.1.0": "rename or retype one"} {
		change := {"subject": "s", "with": older, "reason": "field x is gone"}
		found := schema_evolution.violations with input as {"history": {"incompatibilities": [change], "removed": [], "edited": []}}
		count(found) == 1
		some violation in found
		contains(violation.detail, way)
	}
}
