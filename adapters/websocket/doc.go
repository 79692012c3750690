// Package websocket is the WebSocket door: Portico's own subprotocol portico.v1.json, one JSON object per text frame.
//
// The protocol is documented frame by frame in docs/websocket.md.
//
//	reader (the HTTP handler's goroutine)            writer
//	  frame -> decodeFrame -> ops table -> core        outbound queue -> encode -> buffered socket -> flush
//	                                      |                ^
//	  answers, and what core delivers ----+----------------+
//
// Each connection has these two goroutines, and one for each request of its own that waits for an answer (bounded). What
// core delivers is put into the outbound queue as it is and encoded by the writer, so that a waiting message costs a
// reference. The queue is bounded: subscriptions that overflow it end the connection (4408), queue consumers are told that
// there is no room and pause.
//
// Other protocols share the port by their own subprotocols: tunnel*.go carry the bytes of NATS, MQTT and AMQP to where those are spoken, stomp*.go give the sessions of package stomp a
// WebSocket or a TCP socket.
//
//	adapter.go   Config, New, Serve, ServeHTTP: upgrade, login, origin
//	conn.go      one connection: life, reader, close
//	writer.go    outbound queue, writer, buffered socket
//	frame.go     decodeFrame: client frames
//	encode.go    server frames
//	ops.go       the table of operations; login, ping
//	pubsub.go    pub, append, sub, serve, unsub, reply, req
//	queues.go    declare, delete, purge, bind, unbind
//	consume.go   consume, credit, cancel, deliveries
//	settle.go    tags; ack, nack, extend
//	errors.go    codes, close codes, problems
package websocket
