package grpcapi_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	grpcapi "portico/adapters/grpc"
	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// scaled is n, or with E2E=long the number that the must-show names.
func scaled(n, long int) int {
	if os.Getenv("E2E") == "long" {
		return long
	}
	return n
}

// tally is what consumers know of messages, which are numbered from 0.
type tally struct {
	*testing.T

	mu        sync.Mutex // guards the rest
	confirmed []uint32   // the attempt that was settled for good, 0: none was
	sent      []bool     // an ack was sent by a consumer that never heard of it
	highest   []uint32   // attempt seen
	count     map[string]int
}

func (y *tally) add(what string, n int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.count[what] += n
}

// delivered notes a delivery: never one of an attempt behind that which was settled.
func (y *tally) delivered(d *porticov1.Delivery) int {
	n, err := strconv.Atoi(string(d.GetMessage().GetData()))
	if err != nil {
		y.Errorf("payload %q", d.GetMessage().GetData())
		return 0
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	y.count["deliveries"]++
	if done := y.confirmed[n]; done > 0 && d.GetAttempt() > done {
		y.Errorf("message %d is delivered for the %d. time after its %d. delivery was settled", n, d.GetAttempt(), done)
	}
	if d.GetAttempt() > 1 {
		y.count["redeliveries"]++
		if !d.GetRedelivered() {
			y.Errorf("attempt %d of message %d is not marked", d.GetAttempt(), n)
		}
	}
	y.highest[n] = max(y.highest[n], d.GetAttempt())
	return n
}

// settled notes that an ack was confirmed: once for each message.
func (y *tally) settled(n int, attempt uint32) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.confirmed[n] > 0 {
		y.Errorf("message %d was settled twice: attempts %d and %d", n, y.confirmed[n], attempt)
	}
	if y.highest[n] > attempt {
		y.Errorf("message %d: attempt %d was settled after attempt %d had been delivered", n, attempt, y.highest[n])
	}
	y.confirmed[n] = attempt
}

// held is a delivery in a consumer's hands.
type held struct {
	number  int
	attempt uint32
	acked   bool // an ack is on its way
}

// worker is a consumer that takes, settles, dawdles and dies.
type worker struct {
	*tally
	stream grpc.BidiStreamingClient[porticov1.ConsumeRequest, porticov1.ConsumeResponse]
	credit int
	leased bool
	held   map[uint64]held
	unsaid int      // held and nothing sent for them yet: against these the credit counts
	dawdle []uint64 // kept for later, perhaps until the lease has run out
	life   int      // deliveries until it dies
}

// work runs until the worker dies, or ctx ends.
func (w *worker) work(ctx context.Context, start *porticov1.ConsumeStart) error {
	if err := w.stream.Send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Start{Start: start}}); err != nil {
		return err
	}
	frames := make(chan *porticov1.ConsumeResponse, 16)
	var failed error
	go func() {
		defer close(frames)
		for {
			resp, err := w.stream.Recv()
			if failed = err; err != nil {
				return
			}
			select {
			case frames <- resp:
			case <-w.stream.Context().Done():
				failed = w.stream.Context().Err()
				return
			}
		}
	}()
	idle := time.NewTicker(50 * time.Millisecond)
	defer idle.Stop()
	for w.life > 0 && ctx.Err() == nil {
		var err error
		select {
		case resp, ok := <-frames:
			if !ok {
				return failed
			}
			err = w.take(resp)
		case <-idle.C:
			err = w.say(w.dawdle)
			w.dawdle = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) take(resp *porticov1.ConsumeResponse) error {
	for _, id := range resp.GetSettled().GetIds() {
		if h := w.held[id]; h.acked {
			w.settled(h.number, h.attempt)
		}
		delete(w.held, id)
	}
	if f := resp.GetFailure(); f != nil {
		if f.GetFailure().GetReason() != "precondition-failed" {
			w.Errorf("a settlement failed: %v", f)
		}
		w.add("late settlements refused", len(f.GetIds()))
		for _, id := range f.GetIds() {
			delete(w.held, id)
		}
	}
	var now []uint64
	for _, d := range resp.GetDeliveries().GetDeliveries() {
		w.held[d.GetId()] = held{number: w.delivered(d), attempt: d.GetAttempt()}
		w.unsaid++
		w.life--
		if rand.IntN(50) == 0 {
			w.dawdle = append(w.dawdle, d.GetId())
		} else {
			now = append(now, d.GetId())
		}
	}
	if !w.leased && w.unsaid > w.credit { // a lease that has run out gives its credit back, and only the queue knows when
		w.Errorf("%d deliveries are held with a credit of %d", w.unsaid, w.credit)
	}
	return w.say(now)
}

// say acknowledges most deliveries and gives some back.
func (w *worker) say(ids []uint64) error {
	var acks, nacks []uint64
	for _, id := range ids {
		h, ok := w.held[id]
		if !ok {
			continue
		}
		if rand.IntN(20) == 0 {
			nacks = append(nacks, id)
			continue
		}
		h.acked = true
		w.held[id] = h
		acks = append(acks, id)
	}
	w.unsaid -= len(ids)
	if len(nacks) > 0 {
		if err := w.stream.Send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Nack{Nack: &porticov1.ConsumeNack{Ids: nacks, Requeue: true}}}); err != nil {
			return err
		}
	}
	if len(acks) == 0 {
		return nil
	}
	return w.stream.Send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Ack{Ack: &porticov1.ConsumeAck{Ids: acks}}})
}

// died notes what the worker will never hear of.
func (w *worker) died() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count["kills"]++
	for _, h := range w.held {
		if h.acked {
			w.sent[h.number] = true
		}
	}
}

const maxCredit = 40

// TestConsumersThatDieLoseNothing: 20 consumers over five connections, which are cancelled or lose their connection at random. What is settled is settled once, by whoever
// holds the live delivery; the rest comes again; nobody holds more than his credit.
func TestConsumersThatDieLoseNothing(t *testing.T) {
	const connections, each = 5, 4
	n := scaled(5_000, 100_000)
	h := startWith(t, core.Config{}, grpcapi.Config{})
	h.declare(&porticov1.Queue{Name: "q"})
	if _, err := h.client.Bind(h.ctx(), &porticov1.BindRequest{Queue: "q", Pattern: "work"}); err != nil {
		t.Fatal(err)
	}
	y := &tally{T: t, confirmed: make([]uint32, n), sent: make([]bool, n), highest: make([]uint32, n), count: map[string]int{}}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var running sync.WaitGroup
	for c := range connections {
		line := &line{house: h}
		for i := range each {
			running.Go(func() { y.lives(ctx, line, c*each+i) })
		}
	}
	h.publishNumbers(n)
	begun := time.Now()
	for limit := time.Now().Add(time.Duration(scaled(60, 600)) * time.Second); ; time.Sleep(20 * time.Millisecond) {
		info := h.info("q")
		if info.GetUnacked() > connections*each*maxCredit {
			t.Fatalf("%d deliveries are held with a credit of %d together", info.GetUnacked(), connections*each*maxCredit)
		}
		if info.GetReady()+info.GetUnacked() == 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("the queue still has %v", info)
		}
	}
	stop()
	running.Wait()
	confirmed, presumed := 0, 0
	for i := range n {
		switch {
		case y.confirmed[i] > 0:
			confirmed++
		case y.sent[i]:
			presumed++ // the ack arrived, its answer did not
		default:
			t.Errorf("message %d is gone, and nobody has settled it", i)
		}
	}
	t.Logf("%d messages: %d settled, %d more by consumers that died before they heard of it; %v; %v after the last publish", n, confirmed, presumed, y.count, time.Since(begun).Round(time.Millisecond))
	if y.count["kills"] < connections || y.count["redeliveries"] == 0 {
		t.Errorf("too quiet: %v", y.count)
	}
}

// publishNumbers publishes 0 to n-1.
func (h *house) publishNumbers(n int) {
	h.Helper()
	stream, err := h.client.PublishStream(context.WithoutCancel(h.ctx()))
	if err != nil {
		h.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			if err := stream.Send(&porticov1.PublishStreamRequest{Id: uint64(i), Message: message("work", strconv.Itoa(i))}); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	for answered := 0; answered < n; {
		resp, err := stream.Recv()
		if err != nil {
			h.Fatal(err)
		}
		for _, r := range resp.GetResults() {
			if r.GetQueues() != 1 {
				h.Fatalf("message %d: %v", r.GetId(), r)
			}
		}
		answered += len(resp.GetResults())
	}
	if err := <-sent; err != nil {
		h.Fatal(err)
	}
}

// line is a connection that is made anew when it has been cut.
type line struct {
	*house
	mu   sync.Mutex // guards conn
	conn *grpc.ClientConn
}

func (l *line) client() porticov1.PorticoServiceClient {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		l.conn = l.dial()
	}
	return porticov1.NewPorticoServiceClient(l.conn)
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// lives is one consumer after the other in the same place.
func (y *tally) lives(ctx context.Context, l *line, place int) {
	for ctx.Err() == nil {
		life, cancel := context.WithCancel(ctx)
		w := &worker{tally: y, credit: 1 + rand.IntN(maxCredit), held: map[uint64]held{}, life: 20 + rand.IntN(200)}
		start := &porticov1.ConsumeStart{Queue: "q", Credit: uint32(w.credit)}
		if w.leased = place%2 == 0; w.leased {
			start.Lease = durationpb.New(30 * time.Millisecond) // some dawdle longer
		}
		var err error
		if w.stream, err = l.client().Consume(life); err == nil {
			err = w.work(ctx, start)
		}
		if err == nil && rand.IntN(5) == 0 {
			l.cut() // with all that share it
		}
		cancel()
		w.died()
		code := status.Code(err)
		if err != nil && code != codes.Canceled && code != codes.Unavailable && !errors.Is(err, context.Canceled) && !errors.Is(err, io.EOF) {
			y.Errorf("a consumer ended with %v", err)
		}
	}
}
