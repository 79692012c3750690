// Package websocket is the WebSocket door: Portico's own subprotocol, frames as JSON text (portico.v1.json) or as CBOR (portico.v1.cbor).
//
// The protocol is documented frame by frame in docs/websocket.md.
//
//	reader                                           writer
//	  frame -> decodeFrame -> ops table -> core        outbound queue -> encode -> batch -> socket
//	                                      |                ^
//	  answers, and what core delivers ----+----------------+
//
// Each connection has a reader; a writer while there is something to write; and a goroutine for each request of its own that waits for an answer (bounded). An idle connection is to
// cost little: the HTTP handler's goroutine ends with the upgrade, a reader whose stack a frame has made deep is replaced by a fresh one, buffers come from pools and go back, and one
// wheel turns for all connections. What core delivers is put into the outbound queue as it is and encoded by the writer, once for all subscribers of a message. The queue is bounded:
// subscriptions that overflow it end the connection (4408) or leave something out and say so; queue consumers are told that there is no room and pause.
//
// Other protocols share the port by their own subprotocols: tunnel*.go carry the bytes of NATS, MQTT and AMQP to where those are spoken, stomp*.go give the sessions of package stomp a
// WebSocket or a TCP socket.
//
//	adapter.go   Config, New, Serve, ServeHTTP: upgrade, login, origin
//	admit.go     who gets a connection: in total, by address
//	conn.go      one connection: life, close
//	reader.go    frames from the client: limits, UTF-8, rate
//	guard.go     what RFC 6455 forbids and the library lets pass
//	item.go      what waits in the outbound queue (package outbound); lane.go: policies for slow clients
//	writer.go    batches, frames, pings; deflate.go: compression; shared.go: what is encoded once
//	socket.go    the connection below the library; wheel.go: pings and what time alone changes
//	handshake.go which of the two protocols, tokens among the offered subprotocols; identity.go: login and renewal
//	wire.go      how frames are read and written: JSON here, CBOR in cbor.go; batch.go: several in one message
//	frame.go     decodeFrame: client frames; values.go: their values that are more than a word
//	encode.go    server frames; tails.go: messages of streams that many follow are encoded once
//	ops.go       the table of operations
//	pubsub.go    pub, append, sub, serve, unsub, reply, req; filter.go: conditions on headers
//	cursor.go    sub over a stream, commit, forget; task.go: what has a goroutine of its own
//	history.go   history
//	kv.go        operations on key-value buckets
//	presence.go  who is on a subject
//	queues.go    declare, delete, purge, bind, unbind
//	consume.go   consume, credit, cancel, deliveries
//	settle.go    tags; ack, nack, extend
//	errors.go    codes, close codes, problems
package websocket
