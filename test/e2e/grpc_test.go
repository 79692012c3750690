package e2e

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"portico/core"
	"portico/core/queue"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

type rpcClient struct {
	porticov1.PorticoServiceClient
}

func dialGRPC(t *testing.T, address string) (*rpcClient, *grpc.ClientConn) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return &rpcClient{porticov1.NewPorticoServiceClient(conn)}, conn
}

func grpcDoor(t *testing.T, address string) *door {
	t.Helper()
	c, _ := dialGRPC(t, address)
	return &door{
		name: "gRPC", headers: true, lasting: true,
		publish: func(t *testing.T, m message) error {
			_, err := c.Publish(within(t), &porticov1.PublishRequest{Message: toProto(m)})
			return known(err)
		},
		subscribe: c.subscribe,
		request:   c.request,
		serve:     c.serve,
		declare: func(t *testing.T, q core.QueueConfig) error {
			_, err := c.DeclareQueue(within(t), &porticov1.DeclareQueueRequest{Queue: protoQueue(q)})
			return known(err)
		},
		append: func(t *testing.T, queue string, m message) error {
			_, err := c.Append(within(t), &porticov1.AppendRequest{Queue: queue, Message: toProto(m)})
			return known(err)
		},
		consume: func(t *testing.T, queue string, priority int) consumer {
			return consumeGRPC(t, address, queue, priority)
		},
	}
}

// protoQueue is a description in gRPC's terms.
func protoQueue(q core.QueueConfig) *porticov1.Queue {
	out := &porticov1.Queue{
		Name: q.Name, Durable: q.Durable, AutoDelete: q.AutoDelete, MaxPriority: uint32(q.MaxPriority), SingleActiveConsumer: q.SingleActive,
		MaxDeliveries: q.MaxDeliveries, MessageTtl: protoMillis(q.TTL), Expires: protoMillis(q.Expires),
		MaxLength: protoCount(q.MaxLength), MaxLengthBytes: protoCount(q.MaxBytes),
		Overflow: map[queue.Overflow]porticov1.Overflow{
			queue.RejectPublish:    porticov1.Overflow_OVERFLOW_REJECT_PUBLISH,
			queue.RejectPublishDLX: porticov1.Overflow_OVERFLOW_REJECT_PUBLISH_DLX,
		}[q.Overflow],
	}
	if q.Type == core.QuorumQueue {
		out.Type = porticov1.QueueType_QUEUE_TYPE_QUORUM
	}
	switch to := q.DeadLetter; {
	case to.Queue != "":
		out.DeadLetter = &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Queue{Queue: to.Queue}}
	case to.Subject != "":
		out.DeadLetter = &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Subject{Subject: to.Subject}}
	case to.Exchange.Set:
		x := &porticov1.DeadLetterExchange{Name: to.Exchange.V}
		if to.RoutingKey.Set {
			x.RoutingKey = &to.RoutingKey.V
		}
		out.DeadLetter = &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Exchange{Exchange: x}}
	}
	return out
}

func protoMillis(b queue.Bound) *durationpb.Duration {
	if !b.Set {
		return nil
	}
	return durationpb.New(time.Duration(b.N) * time.Millisecond)
}

func protoCount(b queue.Bound) *uint64 {
	if !b.Set {
		return nil
	}
	n := uint64(b.N)
	return &n
}

// known is err as all doors call it, if there is such a name.
func known(err error) error {
	switch reasonOf(err) {
	case "resource-exhausted":
		return errFull
	case "precondition-failed":
		return errDifferent
	}
	return err
}

// reasonOf is the slug in an error, "" if there is none.
func reasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

func toProto(m message) *porticov1.Message {
	headers := make(map[string]*porticov1.HeaderValues)
	for name, value := range m.header {
		headers[name] = &porticov1.HeaderValues{Values: []string{value}}
	}
	return &porticov1.Message{Subject: m.subject, Reply: m.reply, Headers: headers, Data: m.data}
}

func fromProto(m *porticov1.Message) message {
	header := make(map[string]string)
	for name, values := range m.GetHeaders() {
		header[name] = values.GetValues()[0]
	}
	return message{subject: m.GetSubject(), reply: m.GetReply(), header: header, data: m.GetData()}
}

func (c *rpcClient) subscribe(t *testing.T, subject string) <-chan message {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	stream, err := c.Subscribe(ctx, &porticov1.SubscribeRequest{Subjects: []string{subject}})
	must(t, err)
	_, err = stream.Header()
	must(t, err)
	arrived := make(chan message, 64)
	go func() {
		defer close(arrived)
		for {
			resp, err := stream.Recv()
			if err != nil {
				return
			}
			arrived <- fromProto(resp.GetMessage())
		}
	}()
	return arrived
}

func (c *rpcClient) request(t *testing.T, m message) (message, error) {
	t.Helper()
	resp, err := c.Request(within(t), &porticov1.RequestRequest{Message: toProto(m)})
	if reasonOf(err) == "no-responders" {
		return message{}, errNobody
	}
	return fromProto(resp.GetMessage()), err
}

func (c *rpcClient) serve(t *testing.T, subject string, answer func(message) message) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	stream, err := c.Serve(ctx)
	must(t, err)
	must(t, stream.Send(&porticov1.ServeRequest{Frame: &porticov1.ServeRequest_Start{Start: &porticov1.ServeStart{Subject: subject}}}))
	_, err = stream.Header()
	must(t, err)
	go func() {
		for {
			resp, err := stream.Recv()
			if err != nil {
				return
			}
			call := resp.GetCall()
			if call == nil { // nobody waits any more
				continue
			}
			a := &porticov1.ServeAnswer{Id: call.GetId(), Message: toProto(answer(fromProto(call.GetMessage())))}
			if stream.Send(&porticov1.ServeRequest{Frame: &porticov1.ServeRequest_Answer{Answer: a}}) != nil {
				return
			}
		}
	}()
	return cancel
}

// rpcConsumer has a connection of its own, so that it can vanish.
type rpcConsumer struct {
	*testing.T
	grpc.BidiStreamingClient[porticov1.ConsumeRequest, porticov1.ConsumeResponse]
	conn *grpc.ClientConn
	rest []*porticov1.Delivery
}

func consumeGRPC(t *testing.T, address, queue string, priority int) *rpcConsumer {
	t.Helper()
	c, conn := dialGRPC(t, address)
	stream, err := c.Consume(t.Context())
	must(t, err)
	start := &porticov1.ConsumeStart{Queue: queue, Credit: 2, Priority: int32(priority)}
	must(t, stream.Send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Start{Start: start}}))
	_, err = stream.Header()
	must(t, err)
	return &rpcConsumer{t, stream, conn, nil}
}

// receive takes one frame; deliveries are kept for next.
func (c *rpcConsumer) receive() *porticov1.ConsumeResponse {
	c.Helper()
	resp, err := c.Recv()
	must(c.T, err)
	c.rest = append(c.rest, resp.GetDeliveries().GetDeliveries()...)
	return resp
}

func (c *rpcConsumer) next() delivery {
	c.Helper()
	for len(c.rest) == 0 {
		c.receive()
	}
	d := c.rest[0]
	c.rest = c.rest[1:]
	return delivery{fromProto(d.GetMessage()), d.GetRedelivered(), int(d.GetAttempt()), d.GetId()}
}

func (c *rpcConsumer) ack(d delivery) {
	c.Helper()
	ack := &porticov1.ConsumeAck{Ids: []uint64{d.id.(uint64)}}
	c.settle(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Ack{Ack: ack}})
}

func (c *rpcConsumer) nack(d delivery)   { c.Helper(); c.giveBack(d, true) }
func (c *rpcConsumer) reject(d delivery) { c.Helper(); c.giveBack(d, false) }

func (c *rpcConsumer) giveBack(d delivery, requeue bool) {
	c.Helper()
	nack := &porticov1.ConsumeNack{Ids: []uint64{d.id.(uint64)}, Requeue: requeue}
	c.settle(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Nack{Nack: nack}})
}

func (c *rpcConsumer) settle(req *porticov1.ConsumeRequest) {
	c.Helper()
	must(c.T, c.Send(req))
	for {
		resp := c.receive()
		if resp.GetFailure() != nil {
			c.Fatalf("settle: %v", resp.GetFailure())
		}
		if resp.GetSettled() != nil {
			return
		}
	}
}

func (c *rpcConsumer) leave() {
	c.Helper()
	must(c.T, c.CloseSend())
	for {
		if _, err := c.Recv(); err != nil {
			if !errors.Is(err, io.EOF) {
				c.Error(err)
			}
			return
		}
	}
}

func (c *rpcConsumer) vanish() { _ = c.conn.Close() }
