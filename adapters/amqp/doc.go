// Package amqp is the AMQP 0-9-1 door, as RabbitMQ 3.13 speaks it.
//
// A connection has two goroutines. The reader takes frames, assembles messages and acts on methods; it owns everything
// that comes in. The writer owns the socket's other half: it takes whatever bytes have gathered in the [outbox], writes
// them, and sleeps when there are none. Everybody else (the goroutines of queues that deliver and confirm) only appends
// encoded frames to the outbox.
//
// A message published here is one allocation: the reader builds the record (core.AppendEnvelope, with exchange, routing
// key and the content header's property list as they came) and copies the body frames behind it; that very record goes
// to every queue, and a delivery copies its property list to the consumer untouched.
//
//	publish  frames -> content -> route -> Queue.Append ... Appended -> ledger -> basic.ack
//	deliver  Queue -> consumer.deliver -> unacked, outbox -> frames ... basic.ack -> settlements -> Queue.Settle
//
// Exchanges and bindings live in the package broker; queues are core's. What the door shares over all its connections
// (topology, the bridge to the bus, direct reply-to) is the vhost. docs/amqp.md lists what works and which test says so.
package amqp
