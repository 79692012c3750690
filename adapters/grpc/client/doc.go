// Package client is a Go client of Portico over gRPC: messages, queues, streams and key-value buckets, over one connection that comes back by itself.
//
//	c, err := client.Connect("127.0.0.1:50051", client.WithUser("shop", "secret"))
//	receipt, err := c.Publish(ctx, &client.Message{Subject: "orders.new", Data: order})
//
//	consumer, err := c.Consume(ctx, "jobs", client.Credit(16), client.Lease(time.Minute))
//	for d, err := range consumer.All(ctx) {
//		if err != nil {
//			return err
//		}
//		work(d.Message)
//		err = d.Ack(ctx)
//	}
//
// # When the connection is lost
//
// Whatever streams (Subscribe, Serve, Consume, Follow, Watch, PublishAsync) is opened again, after a pause of random length whose bound doubles up to a limit. What that means for each:
//
//   - a subscription misses what is published meanwhile: Interrupted tells;
//   - a consumer's deliveries go back to the queue: settling them is ErrStale, and they are delivered again;
//   - a follower goes on behind the last message it has been given; what the stream has lost meanwhile is told as a *GapError in its place;
//   - a watcher goes on behind the last change it has been given;
//   - messages of PublishAsync that were not answered are sent again if they have a name (MsgID), and fail otherwise, since nobody knows whether they were published.
//
// Single calls are not made again, but for a Publish with MsgID.
//
// # Bounds
//
// Every stream has a bounded buffer. When it is full the stream is not read any more and the gateway holds back, or ends a live subscription that is too slow (reason "slow-consumer"). Every wait takes a context.
// Errors are *Error, with the code and the reason that Portico gave.
package client
