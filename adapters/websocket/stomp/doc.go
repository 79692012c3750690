// Package stomp is STOMP 1.0, 1.1 and 1.2 with RabbitMQ's destinations: the frames and one client's session. It opens no sockets: whoever has a connection gives it a Link.
//
//	reader (Serve's goroutine)                         writer
//	  bytes -> Decoder -> command -> core                outbound -> AppendFrame -> Link
//	                                  |                     ^
//	  RECEIPT, ERROR, and what queues deliver --------------+
//
// Every subscription is a consumer of a queue: the one that the destination names, or one that is bound to the destination's subjects and lives as long as the
// subscription. So acknowledgements, credit and dead letters are core's own. The outbound queue is bounded by asking queues to wait; answers to /temp-queue
// destinations, which no queue keeps, end the session when it is full.
//
//	frame.go        Frame, Decoder
//	encode.go       AppendFrame
//	destination.go  destinations and how they map to subjects and queues
//	headers.go      STOMP headers to Portico headers, and back
//	arguments.go    headers of SUBSCRIBE and SEND that describe a queue
//	server.go       Server, what sessions share
//	session.go      Session: life, reader, commands
//	connect.go      CONNECT, heart-beats, DISCONNECT
//	outbound.go     outbound queue
//	writer.go       the writer
//	send.go         SEND
//	subscribe.go    SUBSCRIBE, UNSUBSCRIBE
//	deliver.go      MESSAGE
//	settle.go       ACK, NACK
//	transaction.go  BEGIN, COMMIT, ABORT
//	reply.go        /temp-queue
package stomp
