package grpcapi_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	grpcapi "portico/adapters/grpc"
	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
)

// gone waits for Serve to return and puts its answer back for the clean-up.
func (h *house) gone(within time.Duration) {
	h.Helper()
	select {
	case err := <-h.served:
		if err != nil {
			h.Errorf("Serve: %v", err)
		}
		h.served <- nil
	case <-time.After(within):
		h.Fatalf("not drained within %v", within)
	}
}

func TestDrainLetsWorkInFlightSettle(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "jobs"})
	h.append("jobs", "a", "b")
	subscriber := h.subscribe("", "orders")
	c := h.consume(&porticov1.ConsumeStart{Queue: "jobs", Credit: 1})
	work := c.next(1)
	responder := h.serve("math", "")
	replies := h.request(h.ctx(), message("math", "x"))
	call := responder.call()
	publisher, err := h.client.PublishStream(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if err := publisher.Send(&porticov1.PublishStreamRequest{Id: 1, Message: message("orders", "last")}); err != nil {
		t.Fatal(err)
	}
	if resp, err := publisher.Recv(); err != nil || len(resp.GetResults()) != 1 {
		t.Fatalf("published %v, %v", resp, err)
	}

	h.drain()

	if resp, err := subscriber.Recv(); err != nil || string(resp.GetMessage().GetData()) != "last" {
		t.Errorf("what was on its way: %v, %v", resp, err)
	}
	_, err = subscriber.Recv()
	want(t, err, codes.Unavailable, "unavailable")
	_, err = publisher.Recv()
	want(t, err, codes.Unavailable, "unavailable")

	responder.answer(call.GetId(), message("", "y"))
	if got := <-replies; got.err != nil || string(got.message.GetData()) != "y" {
		t.Errorf("the request in flight: %v", got)
	}
	_, err = responder.Recv()
	want(t, err, codes.Unavailable, "unavailable")

	c.ack(ids(work)...)
	c.settled(1)
	_, err = c.Recv()
	want(t, err, codes.Unavailable, "unavailable")
	h.gone(5 * time.Second)
}

func TestDrainCutsAfterItsTimeout(t *testing.T) {
	h := startWith(t, core.Config{DrainTimeout: 200 * time.Millisecond}, grpcapi.Config{})
	h.declare(&porticov1.Queue{Name: "jobs"})
	h.append("jobs", "a")
	c := h.consume(&porticov1.ConsumeStart{Queue: "jobs"})
	c.next(1) // and never settled
	h.drain()
	h.gone(5 * time.Second)
	if _, err := c.Recv(); err == nil {
		t.Error("the stream goes on")
	}
	q, err := h.bus.Queue("jobs")
	if err != nil {
		t.Fatal(err)
	}
	if stats, err := q.Stats(); err != nil || stats.Ready != 1 || stats.Unacked != 0 {
		t.Errorf("in the queue: %+v, %v", stats, err)
	}
}

func TestHealth(t *testing.T) {
	h := start(t)
	client := healthv1.NewHealthClient(h.conn)
	for _, service := range []string{"", "portico.v1.PorticoService"} {
		h.eventually("SERVING", func() bool {
			resp, err := client.Check(h.ctx(), &healthv1.HealthCheckRequest{Service: service})
			return err == nil && resp.GetStatus() == healthv1.HealthCheckResponse_SERVING
		})
	}
	watch, err := client.Watch(h.ctx(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := watch.Recv(); err != nil || resp.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("first %v, %v", resp, err)
	}
	h.drain()
	if resp, err := watch.Recv(); err != nil || resp.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("then %v, %v", resp, err)
	}
}

func TestHealthSaysNotServingUnderAnAlarm(t *testing.T) {
	users := []core.User{{Name: "somebody", Password: "secret"}} // whom health does not ask
	h := startWith(t, core.Config{DiskFree: 1 << 60, Users: users}, grpcapi.Config{})
	client := healthv1.NewHealthClient(h.conn)
	h.eventually("NOT_SERVING", func() bool {
		resp, err := client.Check(h.ctx(), &healthv1.HealthCheckRequest{})
		return err == nil && resp.GetStatus() == healthv1.HealthCheckResponse_NOT_SERVING
	})
}

func TestReflection(t *testing.T) {
	h := start(t)
	ctx, cancel := context.WithCancel(h.ctx())
	defer cancel()
	v1, err := reflectionv1.NewServerReflectionClient(h.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	list := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
	if err := v1.Send(list); err != nil {
		t.Fatal(err)
	}
	resp, err := v1.Recv()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, service := range resp.GetListServicesResponse().GetService() {
		found = found || service.GetName() == "portico.v1.PorticoService"
	}
	if !found {
		t.Errorf("services: %v", resp)
	}
	alpha, err := reflectionv1alpha.NewServerReflectionClient(h.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	symbol := &reflectionv1alpha.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "portico.v1.PorticoService"}
	if err := alpha.Send(&reflectionv1alpha.ServerReflectionRequest{MessageRequest: symbol}); err != nil {
		t.Fatal(err)
	}
	if resp, err := alpha.Recv(); err != nil || len(resp.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("v1alpha: %v, %v", resp, err)
	}
}

func TestMetrics(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "jobs"})
	h.append("jobs", "12345")
	c := h.consume(&porticov1.ConsumeStart{Queue: "jobs"})
	c.nack(true, ids(c.next(1))...)
	c.settled(1)
	c.ack(ids(c.next(1))...)
	c.settled(1)
	live := h.subscribe("", "orders")
	if _, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: message("orders", "123")}); err != nil {
		t.Fatal(err)
	}
	if _, err := live.Recv(); err != nil {
		t.Fatal(err)
	}
	m := h.gateway.Door("grpc")
	for name, test := range map[string]struct{ got, want float64 }{
		"in":           {testutil.ToFloat64(m.In), 2},
		"bytes in":     {testutil.ToFloat64(m.BytesIn), 8},
		"acks":         {testutil.ToFloat64(m.Acks), 1},
		"redeliveries": {testutil.ToFloat64(m.Redeliveries), 1},
		"connections":  {testutil.ToFloat64(m.Connections), 1},
	} {
		if test.got != test.want {
			t.Errorf("%s: %v, want %v", name, test.got, test.want)
		}
	}
	h.eventually("three messages out", func() bool {
		return testutil.ToFloat64(m.Out) == 3 && testutil.ToFloat64(m.BytesOut) == 13
	})
	h.conn.Close()
	h.eventually("no connections", func() bool { return testutil.ToFloat64(m.Connections) == 0 })
}

func TestDoorThatIsStoppedBeforeItBegins(t *testing.T) {
	h := start(t)
	a, err := grpcapi.New(grpcapi.Config{Listen: "127.0.0.1:0"}, h.gateway, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Serve(ctx); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", a.Addr()); err == nil {
		conn.Close()
		t.Error("the listener is still open")
	}
}
