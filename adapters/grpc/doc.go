// Package grpcapi is the gRPC door: the services of portico.v1 (proto/portico/v1) on a core.Gateway, with health and reflection beside them.
//
// A unary call is a call of core and a translation (convert.go, errors.go). A streaming call has a reader and a
// writer (stream.go) with one bounded outbox between what feeds the stream and the writer (outbox.go). What feeds it (a subscription, a
// queue, the answers of earlier publishes) never waits for the client; each kind of stream has its own answer to "and
// when the outbox is full?":
//
//   - Subscribe and Serve end with slow-consumer: live messages cannot wait;
//   - Consume tells the queue that there is no room, and wakes it later;
//   - PublishStream stops reading from its client;
//   - FollowStream, WatchKeys and GetObject have no outbox: what they read waits for nobody, so they read on when the client does. Whoever lets an object rest for 30 s is cut.
//
// Errors name the field of the request that they are about (fields.go); the calls know which that is, core does not.
package grpcapi
