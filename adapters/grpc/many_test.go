package grpcapi_test

import (
	"errors"
	"io"
	"strconv"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
)

// answers of a RequestMany, until it ends.
func (h *house) ask(req *porticov1.RequestManyRequest) (got []string, err error) {
	stream, err := h.client.RequestMany(h.ctx(), req)
	if err != nil {
		return nil, err
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, string(resp.GetMessage().GetData()))
	}
}

func TestRequestMany(t *testing.T) {
	h := start(t)
	const responders = 3
	for i := range responders {
		r := h.serve("census", "")
		go func() {
			for {
				resp, err := r.Recv()
				if err != nil {
					return
				}
				answer := &porticov1.ServeAnswer{Id: resp.GetCall().GetId(), Message: message("", strconv.Itoa(i))}
				if r.Send(&porticov1.ServeRequest{Frame: &porticov1.ServeRequest_Answer{Answer: answer}}) != nil {
					return
				}
			}
		}()
	}
	if got, err := h.ask(&porticov1.RequestManyRequest{Message: message("census", "x"), MaxReplies: responders, Idle: durationpb.New(20 * time.Second)}); err != nil || len(got) != responders {
		t.Errorf("%d answers wanted: %q, %v", responders, got, err)
	}
	if got, err := h.ask(&porticov1.RequestManyRequest{Message: message("census", "x"), MaxReplies: 1}); err != nil || len(got) != 1 {
		t.Errorf("one answer wanted: %q, %v", got, err)
	}
	if got, err := h.ask(&porticov1.RequestManyRequest{Message: message("census", "x"), Idle: durationpb.New(2 * time.Second)}); err != nil || len(got) != responders {
		t.Errorf("all answers wanted: %q, %v", got, err)
	}
	_, err := h.ask(&porticov1.RequestManyRequest{Message: message("nobody", "x")})
	want(t, err, codes.Unavailable, "no-responders")
}

func header(values ...string) *porticov1.HeaderValues { return &porticov1.HeaderValues{Values: values} }

func TestSubscribeFiltersByHeaders(t *testing.T) {
	h := start(t)
	filters := []*porticov1.HeaderFilter{
		{Name: "kind", Condition: &porticov1.HeaderFilter_Equals{Equals: "order"}},
		{Name: "Region", Condition: &porticov1.HeaderFilter_Prefix{Prefix: "eu-"}},
		{Name: "Test", Condition: &porticov1.HeaderFilter_Present{}},
	}
	stream, err := h.client.Subscribe(h.ctx(), &porticov1.SubscribeRequest{Subjects: []string{"s"}, Filters: filters})
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		t.Fatal(err)
	}
	for payload, headers := range map[string]map[string]*porticov1.HeaderValues{
		"wrong kind":   {"Kind": header("bill"), "Region": header("eu-1")},
		"no kind":      {"Region": header("eu-1")},
		"wrong region": {"Kind": header("order"), "Region": header("us-1")},
		"a test":       {"Kind": header("order"), "Region": header("eu-1"), "test": header("")},
	} {
		if _, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: &porticov1.Message{Subject: "s", Data: []byte(payload), Headers: headers}}); err != nil {
			t.Fatal(err)
		}
	}
	right := &porticov1.Message{Subject: "s", Data: []byte("right"), Headers: map[string]*porticov1.HeaderValues{"Kind": header("bill", "order"), "REGION": header("eu-2")}}
	if _, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: right}); err != nil {
		t.Fatal(err)
	}
	if resp, err := stream.Recv(); err != nil || string(resp.GetMessage().GetData()) != "right" {
		t.Errorf("got %v, %v", resp, err)
	}
}

func TestMetadataBecomeHeaders(t *testing.T) {
	h := start(t)
	stream := h.subscribe("", "s")
	ctx := metadata.AppendToOutgoingContext(h.ctx(), "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "ce-type", "t", "x-other", "no",
		"portico-correlation-id", "c", "nats-rollup", "all", "portico-type", "of the call")
	m := message("s", "x")
	m.Headers = map[string]*porticov1.HeaderValues{"Portico-Type": header("of the message")}
	if _, err := h.client.Publish(ctx, &porticov1.PublishRequest{Message: m}); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	got := resp.GetMessage().GetHeaders()
	for name, value := range map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "ce-type": "t", "Portico-Correlation-Id": "c", "Portico-Type": "of the message"} {
		if v := got[name].GetValues(); len(v) != 1 || v[0] != value {
			t.Errorf("%s is %q, want %q", name, v, value)
		}
	}
	if len(got) != 4 {
		t.Errorf("headers %v", got)
	}
}

func TestMetadataThatNameAMessage(t *testing.T) {
	h := start(t)
	h.stream("orders", 0)
	ctx := metadata.AppendToOutgoingContext(h.ctx(), "idempotency-key", "one")
	for i, duplicate := range []bool{false, true} {
		resp, err := h.client.Publish(ctx, &porticov1.PublishRequest{Message: message("orders.x", "x")})
		if err != nil || resp.GetDuplicate() != duplicate {
			t.Errorf("publish %d: %v, %v", i+1, resp, err)
		}
	}
	batch := &porticov1.PublishBatchRequest{Messages: []*porticov1.PublishRequest{{Message: message("orders.x", "y")}, {Message: message("orders.x", "z")}}}
	resp, err := h.client.PublishBatch(ctx, batch)
	if err != nil || resp.GetResults()[0].GetDuplicate() || resp.GetResults()[1].GetSequence() != 3 {
		t.Errorf("one name for a batch: %v, %v", resp, err)
	}
}

func TestAdminTellsWhatThereIs(t *testing.T) {
	h := start(t)
	admin := porticov1.NewAdminServiceClient(h.conn)
	status, err := admin.GetStatus(h.ctx(), &porticov1.GetStatusRequest{})
	if err != nil || !status.GetReady() || status.GetMaxMessage() != uint64(h.gateway.MaxMessage()) || status.GetUser() != "" {
		t.Errorf("status %v, %v", status, err)
	}
	for _, name := range []string{"a", "b"} {
		h.declare(&porticov1.Queue{Name: name})
		for _, pattern := range []string{"x.*", "y"} {
			if _, err := h.client.Bind(h.ctx(), &porticov1.BindRequest{Queue: name, Pattern: pattern}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var all string
	req := &porticov1.ListBindingsRequest{PageSize: 3}
	for {
		resp, err := admin.ListBindings(h.ctx(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range resp.GetBindings() {
			all += b.GetQueue() + " " + b.GetPattern() + ","
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	if all != "a x.*,a y,b x.*,b y," {
		t.Errorf("bindings %q", all)
	}
	h.append("a", "one")
	doors, err := admin.ListDoors(h.ctx(), &porticov1.ListDoorsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range doors.GetDoors() {
		if d.GetName() == "grpc" && d.GetConnections() == 1 && d.GetMessagesIn() == 1 && d.GetBytesIn() == 3 {
			return
		}
	}
	t.Errorf("doors %v", doors)
}
