package grpc

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"
	"portico/test/gateway"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
)

const subject = "bench.x"

// unanswered is how many messages one stream has under way.
const unanswered = 1000

// publishing sends for a while on one stream and returns how many answers came in a second.
func publishing(t *testing.T, conn *grpc.ClientConn, d time.Duration) float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d+time.Minute)
	defer cancel()
	stream, err := porticov1.NewPorticoServiceClient(conn).PublishStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	slots := make(chan struct{}, unanswered)
	var answered int
	received := make(chan error, 1)
	go func() {
		received <- func() error {
			for {
				resp, err := stream.Recv()
				if err != nil {
					return err
				}
				for _, r := range resp.GetResults() {
					if f := r.GetFailure(); f != nil {
						return errors.New(f.GetDetail())
					}
					answered++
					<-slots
				}
			}
		}()
	}()
	req := &porticov1.PublishStreamRequest{Message: &porticov1.Message{Subject: subject, Data: payload()}}
	began := time.Now()
	for time.Since(began) < d {
		slots <- struct{}{}
		req.Id++
		if err := stream.Send(req); err != nil {
			t.Fatal(<-received)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := <-received; err.Error() != "EOF" {
		t.Fatal(err)
	}
	return float64(answered) / time.Since(began).Seconds()
}

// TestStreamingPublish: to a subject that one subscriber of another client takes, so that every message is delivered too, and to one that nobody takes.
func TestStreamingPublish(t *testing.T) {
	d, _ := length(t)
	bare := dial(t, startBare(t))
	g := gateway.Run(t, exec.Command(program(t)))
	ours := dial(t, g.Doors["gRPC"])
	best := func(conn *grpc.ClientConn) float64 { return max(publishing(t, conn, d/2), publishing(t, conn, d/2)) }
	there := best(bare)
	ratio(t, "publish on a stream, 128 bytes, nobody listens", there, best(ours), 0.5)
	stream := subscribe(t, dial(t, g.Doors["gRPC"]))
	go drain(stream, func() {})
	ratio(t, "publish on a stream, 128 bytes, one subscriber", there, best(ours), 0.5)
}

func subscribe(t *testing.T, conn *grpc.ClientConn) grpc.ServerStreamingClient[porticov1.SubscribeResponse] {
	t.Helper()
	stream, err := porticov1.NewPorticoServiceClient(conn).Subscribe(t.Context(), &porticov1.SubscribeRequest{Subjects: []string{subject}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	return stream
}

func drain(stream grpc.ServerStreamingClient[porticov1.SubscribeResponse], took func()) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		took()
	}
}

// TestFanOut: what all streams together receive in a second.
func TestFanOut(t *testing.T) {
	d, _ := length(t)
	bare, built := startBare(t), program(t)
	for _, streams := range []int{1, 10, 100} {
		t.Run(fmt.Sprintf("%d streams", streams), func(t *testing.T) {
			there := bareFanOut(t, bare, streams, d)
			g := gateway.Run(t, exec.Command(built))
			ratio(t, fmt.Sprintf("fan-out to %d streams, 128 bytes", streams), there, fanOut(t, g, streams, d), 0.6)
		})
	}
}

// bareFanOut counts what the bare server sends.
func bareFanOut(t *testing.T, address string, streams int, d time.Duration) float64 {
	t.Helper()
	conn := dial(t, address)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got atomic.Int64
	var reading sync.WaitGroup
	for range streams {
		stream, err := porticov1.NewPorticoServiceClient(conn).Subscribe(ctx, &porticov1.SubscribeRequest{Subjects: []string{subject}})
		if err != nil {
			t.Fatal(err)
		}
		reading.Go(func() { _ = drain(stream, func() { got.Add(1) }) })
	}
	began, before := time.Now(), got.Load()
	time.Sleep(d) //nolint:forbidigo // the length of the measurement
	rate := float64(got.Load()-before) / time.Since(began).Seconds()
	cancel()
	reading.Wait()
	return rate
}

// ahead is how many messages may be published that a subscriber has not taken yet: less than what may wait for one.
const ahead = 4096

// fanOut publishes as fast as all subscribers take, and counts what they receive. The publisher is a NATS client, which costs the load program least.
func fanOut(t *testing.T, g *gateway.Gateway, streams int, d time.Duration) float64 {
	t.Helper()
	conn := dial(t, g.Doors["gRPC"])
	counts := make([]atomic.Int64, streams)
	failed := make(chan error, streams)
	for i := range streams {
		stream := subscribe(t, conn)
		go func() { failed <- drain(stream, func() { counts[i].Add(1) }) }()
	}
	slowest := func() int64 {
		least := counts[0].Load()
		for i := range counts {
			least = min(least, counts[i].Load())
		}
		return least
	}
	nc, err := nats.Connect(g.Doors["NATS"])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	data := payload()
	began := time.Now()
	for sent := int64(0); time.Since(began) < d; {
		if sent%256 == 0 && sent-slowest() > ahead {
			select {
			case err := <-failed:
				t.Fatal(err)
			default:
				time.Sleep(50 * time.Microsecond) //nolint:forbidigo // the subscribers have to catch up
			}
			continue
		}
		if err := nc.Publish(subject, data); err != nil {
			t.Fatal(err)
		}
		sent++
	}
	total := int64(0)
	for i := range counts {
		total += counts[i].Load()
	}
	return float64(total) / time.Since(began).Seconds()
}

// TestProxiedCall: the median of a unary call to a server, and of the same call through the gateway that has the server's address.
func TestProxiedCall(t *testing.T) {
	d, judged := length(t)
	at := startBare(t)
	g := gateway.Run(t, exec.Command(program(t), "--grpc-proxy-backends", fmt.Sprintf("[{address: '%s'}]", at)))
	direct, proxied := testing_pb.NewTestServiceClient(dial(t, at)), testing_pb.NewTestServiceClient(dial(t, g.Doors["gRPC"]))
	req := &testing_pb.SimpleRequest{Payload: &testing_pb.Payload{Body: payload()}}
	deadline := time.Now().Add(20 * time.Second)
	for _, err := proxied.UnaryCall(t.Context(), req); err != nil; _, err = proxied.UnaryCall(t.Context(), req) {
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	var there, here []time.Duration
	for began := time.Now(); time.Since(began) < d; { // in turns, so that both have the same weather
		there = append(there, calls(t, direct, req)...)
		here = append(here, calls(t, proxied, req)...)
	}
	a, b := median(there), median(here)
	rows = append(rows, fmt.Sprintf("| a unary call, 128 bytes, median of %d | %v | %v | +%v | +200µs |", len(here), a, b, b-a))
	t.Log(rows[len(rows)-1])
	if judged && b-a > 200*time.Microsecond {
		t.Errorf("a proxied call takes %v longer, 200 µs are allowed", b-a)
	}
}

func calls(t *testing.T, client testing_pb.TestServiceClient, req *testing_pb.SimpleRequest) []time.Duration {
	t.Helper()
	out := make([]time.Duration, 100)
	for i := range out {
		began := time.Now()
		if _, err := client.UnaryCall(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		out[i] = time.Since(began)
	}
	return out
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2].Round(time.Microsecond)
}
