package webhook

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"portico/test/gateway"

	"github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"
)

// TestFromEveryDoor: whatever door a message came in by, it goes out as it is, with its content type and the headers that were asked for.
func TestFromEveryDoor(t *testing.T) {
	type request struct{ body, contentType, color, subject string }
	got := make(chan request, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- request{string(body), r.Header.Get("Content-Type"), r.Header.Get("Msg-Color"), r.Header.Get("portico-subject")}
	}))
	defer receiver.Close()
	w := &world{t: t, program: gateway.Build(t), dir: t.TempDir()}
	w.start()
	var made struct{ Secret string }
	w.must("PUT", "/v1/webhooks/all", map[string]any{"url": receiver.URL, "subjects": []string{"events.>"}, "message_headers": []string{"color"}}, &made)
	for name, send := range map[string]func(t *testing.T, body string){"AMQP": w.sendAMQP, "NATS": w.sendNATS} {
		t.Run(name, func(t *testing.T) {
			send(t, "from "+name)
			select {
			case r := <-got:
				if want := (request{"from " + name, "text/x-test", "red", "events.new"}); r != want {
					t.Errorf("it came as %+v, want %+v", r, want)
				}
			case <-time.After(20 * time.Second):
				t.Error("it did not come")
			}
		})
	}
}

func (w *world) sendAMQP(t *testing.T, body string) {
	conn, err := amqp.Dial(w.gateway.Doors["AMQP"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	err = ch.PublishWithContext(t.Context(), "amq.topic", "events.new", false, false, amqp.Publishing{ContentType: "text/x-test", Headers: amqp.Table{"color": "red"}, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) sendNATS(t *testing.T, body string) {
	nc, err := nats.Connect(w.gateway.Doors["NATS"])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	err = nc.PublishMsg(&nats.Msg{Subject: "events.new", Data: []byte(body), Header: nats.Header{"Content-Type": {"text/x-test"}, "color": {"red"}}})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}
