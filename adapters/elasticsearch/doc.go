// Package elasticsearch is ports.SearchStore on a cluster of Elasticsearch 7.17 or 8.
//
// The sink writes documents into it, the gateway reads them. It is never a source of truth: what it holds is copied from
// the tables of the projections. The package knows nothing of topics, projections or schemas.
//
// # Where things are
//
// A read model products.v1 is the alias products.v1 of one concrete index, products.v1~k3jm… Its mapping says in _meta
// which fields it was made for; an index for other fields is made under another name, so that whoever still writes for the
// old ones meets an index that is gone, and never one that he takes for his own. For the same reason writes go through a
// second alias, of that one index, and demand that it exists: by the concrete name alone Elasticsearch would make a lost
// index anew, with a mapping of its own invention. The alias products.v1 has this one index as its write index;
// Elasticsearch refuses a second one, which decides between several that create it at once. An index template nexus-products.v1
// says the same, so that no template of the cluster (logs-*-*, say) claims the name.
//
// # How a document lies in it
//
//	id       keyword, for the order only; the document's id is also Elasticsearch's _id
//	json     the document, as a string in _source and nowhere else: it comes back byte for byte
//	values   an object of the fields: keyword, long (also for money and time), double, byte (a bool, 0 or 1)
//	edges    1 for a long that is the greatest or least of all; see sorting
//	text     the words of the text, folded by Nexus, split at spaces only, without positions and norms
//	words    how many they are: the order of relevance
//	deleted  true, and nothing else but the id: a delete
//
// Nothing is analyzed by Elasticsearch but for the split at spaces, so that a word is the same thing here and in the other
// stores, whatever modules and plugins the cluster has. The mapping is strict: what it does not name is refused.
//
// # Versions and deletes
//
// Documents are written with their version as external version; a conflict of versions says that the store has this one
// or a newer. A delete is written as a document, too, because Elasticsearch does not keep the version of what it deletes:
// index.gc_deletes only says how long the process remembers it, and a restart forgets it at once (seen with 7.17.28 and
// index.gc_deletes of an hour). A sink that slept through both would bring the document back. The price is a small
// document for each id that was ever deleted, until the read model is built anew.
//
// # Settings of the index, and why
//
//	number_of_shards 1           a page, its total and its order come from one shard, exactly; up to some 50 GB or 2^31 documents
//	auto_expand_replicas 0-1     a copy where there is a second node, and no yellow cluster where there is none
//	refresh_interval -1          the sink refreshes after each of its rounds and commits only then; more refreshes would make
//	                             nothing visible sooner for anybody who waits, and each costs segments
//	translog.durability request  an answered write survives kill -9: the offset behind it is committed, nobody would send it again
//
// Settings of the cluster that have to be as they are by default: search.allow_expensive_queries true (the last word of a
// text is a prefix), http.max_content_length not below 16 MB (it bounds a document; one larger is rejected).
//
// With security on, the user or key needs of the cluster: monitor, manage_index_templates; of the read models' indexes:
// manage, read, write. A gateway alone: of the cluster monitor; of the indexes read, view_index_metadata.
//
// # Reading
//
// Every search of an index names the same preference and so is answered by the same copy of the shard, as long as it is
// there: two copies refresh one after the other, and a reader who met both could see a version go back. Pages follow each
// other by search_after over the sort values and the id. A cursor holds no resource of the cluster and never expires.
//
// Elasticsearch sorts a document without a long as if it held the greatest (ascending) or least (descending) of all, and
// so among those that do. The field edges, a key behind the long's own, sets the two apart.
//
// # The client
//
// Requests are those of go-elasticsearch's package esapi, on its transport, which takes turns between nodes and tries again.
// Its root package is left out for what it costs to build: it imports 860 packages of typed requests, and vet alone takes
// minutes. esapi is one package with the same requests, paths and parameters. It lacks the root package's check that the
// server is an Elasticsearch, which is made here, with every answer.
//
// docs/adr/0007-elasticsearch.md tells what else was considered.
package elasticsearch
