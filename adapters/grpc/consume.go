package grpcapi

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"portico/core"
	"portico/core/queue"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
)

// maxIDs bounds the ids of one frame.
const maxIDs = 65536

// consuming is one Consume stream. Deliveries come from the queue's goroutine, frames from the reader; the writer gives deliveries
// their ids.
type consuming struct {
	*Adapter
	// immutable
	stream  grpc.BidiStreamingServer[porticov1.ConsumeRequest, porticov1.ConsumeResponse]
	bus     *core.Bus
	queue   *core.Queue
	box     *outbox[outgoing]
	autoAck bool
	leased  bool

	// set once, before any credit is granted
	engine *queue.Consumer

	held    atomic.Int64 // deliveries that wait in box or are in open
	answers atomic.Int64 // answers to settlements that have not been written yet
	parked  atomic.Bool  // the queue passes this consumer over until Wake

	// guarded by mu
	mu        sync.Mutex
	lastID    uint64
	open      map[uint64]delivered // sent and not settled
	lease     time.Duration
	allowed   uint64 // credit granted, at most queue.Unlimited
	used      uint64 // with autoAck: deliveries sent
	halfClose bool   // with autoAck: the stream ends when used reaches allowed
	leaving   bool   // the door drains: the stream ends when nothing is open
}

// delivered is a delivery in the client's hands.
type delivered struct {
	handle queue.Handle
	until  time.Time // when its lease has run out
}

// outgoing is a delivery or an answer to a frame.
type outgoing struct {
	delivery queue.Delivery
	answer   *porticov1.ConsumeResponse // nil: a delivery
}

// Consume implements PorticoService.
func (s *service) Consume(stream grpc.BidiStreamingServer[porticov1.ConsumeRequest, porticov1.ConsumeResponse]) error {
	start, err := firstFrame(stream, (*porticov1.ConsumeRequest).GetStart)
	if err != nil {
		return err
	}
	lease, err := leaseOf("start.lease", start.GetLease(), true)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(stream.Context())
	defer end()
	bus := busOf(ctx)
	q, err := consumable(bus, start.GetQueue())
	if err != nil {
		return err
	}
	c := &consuming{
		Adapter: s.Adapter,
		stream:  stream,
		bus:     bus,
		queue:   q,
		box:     newOutbox[outgoing](s.cfg),
		autoAck: start.GetAutoAck(),
		leased:  lease > 0,
		open:    make(map[uint64]delivered),
		lease:   lease,
	}
	return c.serve(ctx, start)
}

// serve registers the consumer and runs the stream. Whatever the client still holds afterwards is back in the queue when
// serve returns, and a queue that goes with its last consumer is gone.
func (c *consuming) serve(ctx context.Context, start *porticov1.ConsumeStart) error {
	engine, err := c.bus.Consume(c.queue, queue.ConsumerConfig{
		Deliver:   c.deliver,
		Room:      c.room,
		Gone:      func(err error) { c.box.finish(err) },
		AutoAck:   c.autoAck,
		Exclusive: start.GetExclusive(),
		Priority:  int(start.GetPriority()),
		Lease:     c.lease,
		Window:    !c.autoAck,
	}, nil)
	if err != nil {
		return inField(err, "start.queue")
	}
	defer func() {
		engine.Close()
		c.bus.DeleteIdle(c.queue)
	}()
	c.engine = engine
	if err := opened(c.stream); err != nil {
		return err
	}
	c.grantFirst(start.GetCredit())
	defer c.onDrain(c.leave)()
	if c.leased {
		c.running.Go(func() { c.forgetLapsed(ctx) })
	}
	return c.run(ctx,
		func() error { return c.read(ctx) },
		func() error { return c.box.write(ctx, c.write) })
}

// deliver takes a batch from the queue. Room and credit bound what can wait.
func (c *consuming) deliver(batch []queue.Delivery) {
	for _, d := range batch {
		c.box.add(outgoing{delivery: d}, len(d.Record))
	}
	if !c.autoAck {
		c.held.Add(int64(len(batch)))
	}
}

// room is the queue's question whether to go on delivering.
func (c *consuming) room() bool {
	if c.hasRoom() {
		return true
	}
	c.parked.Store(true)
	return c.hasRoom() // what made room meanwhile has not seen parked
}

func (c *consuming) hasRoom() bool {
	return c.held.Load() < int64(c.cfg.HeldMessages) && c.box.hasRoom()
}

// wake tells the queue that there is room again, if it has been told that there was none.
func (c *consuming) wake() {
	if c.parked.Load() && c.hasRoom() && c.parked.CompareAndSwap(true, false) {
		c.engine.Wake()
	}
}

// defaultWindow is how many deliveries a consumer may hold that does not say.
const defaultWindow = 64

// grantFirst begins deliveries. Without a number a consumer that settles gets a window, one that does not gets everything.
func (c *consuming) grantFirst(credit uint32) {
	switch {
	case credit > 0:
		c.grant(uint64(credit))
	case c.autoAck:
		c.grant(queue.Unlimited)
	default:
		c.grant(defaultWindow)
	}
}

func (c *consuming) grant(credit uint64) {
	c.mu.Lock()
	credit = min(credit, queue.Unlimited-c.allowed)
	c.allowed += credit
	c.mu.Unlock()
	if credit > 0 {
		c.engine.Grant(int(credit))
	}
}

// mayAnswer bounds the answers that wait. Deliveries do not count: a client that settles each delivery before it reads
// the next must never wait for room that the next deliveries take.
func (c *consuming) mayAnswer() bool { return c.answers.Load() < int64(c.cfg.OutboundMessages) }

// read takes frames until the client half-closes.
func (c *consuming) read(ctx context.Context) error {
	room := func() error { return c.box.await(ctx, c.mayAnswer) }
	if err := readFrames(c.stream, room, c.frame); err != nil {
		return err
	}
	c.halfClosed()
	return nil
}

func (c *consuming) frame(req *porticov1.ConsumeRequest) error {
	switch frame := req.GetFrame().(type) {
	case *porticov1.ConsumeRequest_Credit:
		c.grant(uint64(frame.Credit.GetCredit()))
		return nil
	case *porticov1.ConsumeRequest_Ack:
		return c.settle(frame.Ack.GetIds(), queue.Ack)
	case *porticov1.ConsumeRequest_Nack:
		if frame.Nack.GetRequeue() {
			return c.settle(frame.Nack.GetIds(), queue.Requeue)
		}
		return c.settle(frame.Nack.GetIds(), queue.Reject)
	case *porticov1.ConsumeRequest_DeadLetter:
		return c.settle(frame.DeadLetter.GetIds(), queue.Reject)
	case *porticov1.ConsumeRequest_Extend:
		return c.extend(frame.Extend)
	}
	return badField("frame", "after the first frame all must be credit, ack, nack, dead_letter or extend")
}

// halfClosed lets the stream end in peace: what is being settled is answered, and credit already given to an auto_ack
// consumer is used.
func (c *consuming) halfClosed() {
	if !c.autoAck {
		c.engine.Cancel()
		c.box.finish(nil)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halfClose = true
	c.finishIfUsedUp()
}

// finishIfUsedUp needs mu.
func (c *consuming) finishIfUsedUp() {
	if c.halfClose && c.used >= c.allowed {
		c.box.finish(nil)
	}
}

// leave ends the stream when everything the client holds has been settled.
func (c *consuming) leave() {
	c.engine.Cancel()
	c.mu.Lock()
	c.leaving = true
	c.mu.Unlock()
	c.leaveIfDone()
}

func (c *consuming) leaveIfDone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving && c.held.Load() == 0 {
		c.box.finish(errDraining)
	}
}

// write sends a chunk: neighbours of a kind in one frame.
func (c *consuming) write(chunk []outgoing) error {
	for len(chunk) > 0 {
		n := 1
		if chunk[0].answer == nil {
			for n < len(chunk) && chunk[n].answer == nil {
				n++
			}
			if err := c.send(chunk[:n]); err != nil {
				return err
			}
		} else {
			if err := c.stream.Send(chunk[0].answer); err != nil {
				return err
			}
			c.answers.Add(-1)
		}
		chunk = chunk[n:]
	}
	c.wake()
	return nil
}

// send gives deliveries their ids and sends them.
func (c *consuming) send(batch []outgoing) error {
	frame := &porticov1.ConsumeDeliveries{Deliveries: make([]*porticov1.Delivery, len(batch))}
	redelivered, bytes := 0, 0
	for i := range batch {
		d := &batch[i].delivery
		m, err := c.gateway.Message(d.Record)
		if err != nil {
			return err
		}
		frame.Deliveries[i] = &porticov1.Delivery{Message: c.stored(d.Record, m), Attempt: d.Attempt, Redelivered: d.Redelivered}
		bytes += len(m.Data)
		if d.Redelivered {
			redelivered++
		}
	}
	c.number(frame.Deliveries, batch)
	if err := c.stream.Send(&porticov1.ConsumeResponse{Frame: &porticov1.ConsumeResponse_Deliveries{Deliveries: frame}}); err != nil {
		return err
	}
	c.metrics.Out.Add(float64(len(batch)))
	c.metrics.BytesOut.Add(float64(bytes))
	c.metrics.Redeliveries.Add(float64(redelivered))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used += uint64(len(batch))
	c.finishIfUsedUp()
	return nil
}

// number opens deliveries: they can be settled from now on.
func (c *consuming) number(deliveries []*porticov1.Delivery, batch []outgoing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var until time.Time
	if c.leased {
		until = time.Now().Add(c.lease)
	}
	for i, d := range deliveries {
		c.lastID++
		d.Id = c.lastID
		if !c.autoAck {
			c.open[d.GetId()] = delivered{handle: batch[i].delivery.Handle, until: until}
		}
	}
}
