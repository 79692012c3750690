package e2e

import (
	"reflect"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"

	"github.com/rabbitmq/amqp091-go"
)

// typedTable has a value of every type that text can carry.
func typedTable() amqp091.Table {
	return amqp091.Table{
		"truth": true, "int8": int8(-8), "byte": byte(200), "int16": int16(-1616), "int32": int32(-32), "int64": int64(1) << 60, "float32": float32(0.25), "float64": 0.1,
		"time": time.Unix(1_700_000_000, 0), "bytes": []byte{0, 0xff, 10}, "text": "7",
	}
}

// TestTypesSurviveGRPC: what an AMQP client put into a headers table is there, type and all, for another AMQP client that gets it by way of a gRPC client: from a queue, and live.
func TestTypesSurviveGRPC(t *testing.T) {
	h := open(t)
	r := dialRabbit(t, h.amqp)
	ch := r.channel(t)
	client, _ := dialGRPC(t, h.grpc)
	for _, queue := range []string{"in", "out"} {
		_, err := ch.QueueDeclare(queue, true, false, false, false, nil)
		must(t, err)
	}
	must(t, ch.PublishWithContext(within(t), "", "in", false, false, amqp091.Publishing{Headers: typedTable(), ContentType: "text/plain", Priority: 3, Body: []byte("x")}))
	consumer := consumeGRPC(t, h.grpc, "in", 0)
	for len(consumer.rest) == 0 {
		consumer.receive()
	}
	m := consumer.rest[0].GetMessage()
	checkTyped(t, m)
	if got := m.GetHeaders()["bytes"].GetTyped().GetBinary(); string(got) != "\x00\xff\n" {
		t.Errorf("bytes arrived as %q", got)
	}
	_, err := client.Append(within(t), &porticov1.AppendRequest{Queue: "out", Message: m})
	must(t, err)
	deliveries, err := ch.Consume("out", "", true, false, false, false, nil)
	must(t, err)
	got := receive(t, deliveries, "message")
	if !reflect.DeepEqual(got.Headers, typedTable()) || got.ContentType != "text/plain" || got.Priority != 3 || string(got.Body) != "x" {
		t.Errorf("through the queue came\n%#v, want\n%#v", got.Headers, typedTable())
	}
}

func TestTypesSurviveGRPCLive(t *testing.T) {
	h := open(t)
	r := dialRabbit(t, h.amqp)
	client, _ := dialGRPC(t, h.grpc)
	stream, err := client.Subscribe(within(t), &porticov1.SubscribeRequest{Subjects: []string{"there"}})
	must(t, err)
	_, err = stream.Header()
	must(t, err)
	ch, _, deliveries := r.bound(t, "back")
	want := typedTable()
	delete(want, "bytes") // live they have no readable form
	must(t, ch.PublishWithContext(within(t), topicExchange, "there", false, false, amqp091.Publishing{Headers: typedTable(), Body: []byte("x")}))
	resp, err := stream.Recv()
	must(t, err)
	checkTyped(t, resp.GetMessage())
	resp.GetMessage().Subject = "back"
	_, err = client.Publish(within(t), &porticov1.PublishRequest{Message: resp.GetMessage()})
	must(t, err)
	if got := receive(t, deliveries, "message"); !reflect.DeepEqual(got.Headers, want) {
		t.Errorf("live came\n%#v, want\n%#v", got.Headers, want)
	}
}

// checkTyped checks what a gRPC client sees of the table.
func checkTyped(t *testing.T, m *porticov1.Message) {
	t.Helper()
	headers := m.GetHeaders()
	if got := headers["int32"]; got.GetTyped().GetInteger() != -32 || got.GetValues()[0] != "-32" {
		t.Errorf("int32 arrived as %v", got)
	}
	if got := headers["truth"]; !got.GetTyped().GetTruth() || got.GetValues()[0] != "true" {
		t.Errorf("a truth arrived as %v", got)
	}
	if got := headers["time"]; got.GetTyped().GetTime().GetSeconds() != 1_700_000_000 {
		t.Errorf("a time arrived as %v", got)
	}
	if got := headers["float32"]; got.GetTyped().GetNumber() != 0.25 {
		t.Errorf("a float arrived as %v", got)
	}
	if got := headers["text"]; got.GetTyped() != nil || got.GetValues()[0] != "7" {
		t.Errorf("text arrived as %v", got)
	}
}
