// Package core is the gateway without its doors: the bus, the queues, the tables and who may use them.
//
// A [Gateway] runs an embedded nats-server with JetStream. An adapter logs a client in and gets a [Bus]: the bus as this one identity may use
// it, so no door can forget a permission check. What is published on it goes two ways:
//
//	Bus.Publish ──┬─> bindings, router ──> Queues          acknowledged when every queue has it
//	              └─> LIVE ──> doors, native clients, streams   one copy, if anybody listens
//
//	NATS, MQTT ──> tenant ──> INGRESS ──> bindings, router ──> Queues
//
// LIVE, tenant and INGRESS are accounts of the embedded server (see accountTenant, and docs/adr/0002-native-publishes.md). Queues are
// package queue's, with their logs in JetStream by package jslog. Definitions of durable queues and their bindings are kept in a [Table] and restored by New.
//
// Messages are encoded once, when they are routed, as an [Envelope] in the form they came in. All queues share that record, and a door that reads another form
// asks for a [Message].
//
// Everything that waits has a bound. A publisher waits for its queues, and for the bus connection when 4 MiB are on their way there; requests (65,536),
// and native publishes not yet kept (65,536 or 64 MiB), are refused beyond theirs; deliver functions must not block, because one goroutine serves all subscriptions.
package core
