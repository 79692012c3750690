// Package webhook sends messages to HTTP endpoints, signed as Standard Webhooks has it.
//
// An endpoint is a durable queue (webhook.NAME) that is bound to subject patterns, a definition in a table, and a log (webhook.NAME.log), which is a stream queue of the
// engine: it lives in the gateway's own account, where NATS clients see nothing, and its entries are sealed, so that whoever may write to queues through another door can
// neither read nor forge them. One goroutine, the endpoint's owner, does everything but the requests themselves:
//
//	queue -> taken in (id and payload logged) -> attempt -> outcome logged -> acknowledged, or dead-lettered
//	                                               ^              |
//	                                               +-- waits <----+
//
// A message is in the queue until its outcome is in the log, and it is attempted by nobody but the owner: after a crash it is there again, and the log says under which id
// it was sent, how often, and when it may be tried next. The queue does not number its messages over restarts, so a message that comes again is recognised by the hash of its
// record; records with the same bytes are interchangeable.
//
// Bounds: 1,000 endpoints; per endpoint 1,000 messages that wait for their next attempt and 100 requests at once (then no more is taken from the queue, which is on disk),
// 16 MiB of messages in memory, 64 MiB or 7 days of log; over all endpoints 256 MiB of messages and 2,048 requests at once.
package webhook
