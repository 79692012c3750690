// Package broker is the routing half of an AMQP 0-9-1 virtual host: exchanges,
// bindings, and the answer to "which queues does this message reach?". It knows
// no sockets, no bus and no queues; a queue is a name here.
//
//	                 Route("orders", "eu.created")
//	                          |
//	snapshot ── exchanges ── orders ── matcher ── destinations
//	(atomic)    name → *     topic     trie       queue names, exchanges to visit next
//
// # Readers take no lock
//
// Route loads one pointer and sees one consistent state of the whole virtual
// host, exchange-to-exchange bindings and alternate exchanges included. Every
// change builds the next state beside it and stores the pointer.
//
// A plain copy on write would make n declarations cost n² copies. So everything
// below the pointer is persistent: a hash trie (pmap) shares with its
// predecessor all but the path to what changed, at most 13 nodes and about
// log32(n) of them in practice. Declaring 10,000 bindings is 10,000 short path
// copies, whether they hang on 10,000 keys, in 10,000 queues on one key, or as
// 10,000 children of one word of a topic trie. The price is a direct lookup of
// two or three array steps where a Go map takes one.
//
// # Matchers
//
//	direct   hash trie by key
//	fanout   one set of destinations
//	topic    trie by word; see topic.go for why "#" cannot blow up
//	headers  index by header value, then a check of the few candidates
//	x-consistent-hash, x-modulus-hash, x-random
//	         a sorted list, of which one is picked; see picker.go
//
// An x-delayed-message exchange has the matcher of the type it routes as. How long
// a message waits before that, Exchange.Delay says; keeping it is the caller's.
//
// # Beside routing
//
// What else RabbitMQ decides by pure rules is here too, because it speaks the same
// tables and texts: a queue's arguments (arguments.go), policies and what a queue or
// exchange makes of them (policy.go, policies.go, effective.go), and the headers of
// dead letters (death.go).
//
// # What RabbitMQ decides
//
// Behaviour and reply texts are those of RabbitMQ 3.13 [RMQ]; the specification
// leaves equivalence, auto-delete, alternate exchanges and x-match open.
package broker
