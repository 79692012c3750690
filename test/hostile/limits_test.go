package hostile

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	porticov1 "portico/proto/portico/v1"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A port is a door with queues. Its verbs return nil, errTooLarge or whatever went wrong.
type port struct {
	name    string
	declare func(queue string) error
	find    func(queue string) error
	put     func(queue string, data []byte, header map[string]string) error
	take    func(queue string) (data []byte, header map[string]string, err error)
}

var errTooLarge = errors.New("too large")

func (s *site) ports(t *testing.T) []port {
	return []port{portHTTP(s), portWebSocket(t, s), portGRPC(t, s), portAMQP(t, s)}
}

func portHTTP(s *site) port {
	do := func(method, path string, data []byte, header map[string]string, want int) error {
		var h []string
		for name, value := range header {
			h = append(h, "Msg-"+name, value)
		}
		status, answer, err := s.try(method, path, string(data), h...)
		switch {
		case err != nil:
			return err
		case status == http.StatusRequestEntityTooLarge, status == http.StatusRequestHeaderFieldsTooLarge:
			return errTooLarge
		case status != want:
			return fmt.Errorf("%d %s", status, answer)
		}
		return nil
	}
	at := func(queue string) string { return "/v1/queues/" + url.PathEscape(queue) }
	return port{
		name:    "HTTP",
		declare: func(queue string) error { return do("PUT", at(queue), nil, nil, http.StatusCreated) },
		find: func(queue string) error {
			status, answer, err := s.try("GET", at(queue), "")
			var q struct{ Name string }
			if err == nil {
				err = json.Unmarshal([]byte(answer), &q)
			}
			if err == nil && (status != http.StatusOK || q.Name != queue) {
				err = fmt.Errorf("%d %s", status, answer)
			}
			return err
		},
		put: func(queue string, data []byte, header map[string]string) error {
			return do("POST", at(queue)+"/messages", data, header, http.StatusCreated)
		},
		take: func(queue string) ([]byte, map[string]string, error) {
			_, answer, err := s.try("POST", at(queue)+"/fetch?max=1&wait=5s&lease=1h", "")
			var got struct {
				Messages []struct {
					Headers    map[string]string
					Data       string
					DataBase64 []byte `json:"data_base64"`
				}
			}
			if err == nil {
				err = json.Unmarshal([]byte(answer), &got)
			}
			if err != nil || len(got.Messages) != 1 {
				return nil, nil, fmt.Errorf("%.200s: %w", answer, err)
			}
			m := got.Messages[0]
			return append([]byte(m.Data), m.DataBase64...), m.Headers, nil
		},
	}
}

func portWebSocket(t *testing.T, s *site) port {
	// answer asks and waits for what comes back under the id, or for a delivery. Then it cancels and acknowledges the delivery.
	answer := func(until string, asked map[string]any) (map[string]any, error) {
		w, err := dialWeb(s.web)
		must(t, err)
		defer w.Close()
		asked["id"] = "1"
		text, err := json.Marshal(asked)
		must(t, err)
		w.send(opText, string(text))
		for {
			_, text, err := w.read()
			if err != nil {
				return nil, err
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				return nil, fmt.Errorf("%.100s: %w", text, err)
			}
			switch {
			case got["op"] == "err" && got["code"] == "too-large":
				return nil, errTooLarge
			case got["op"] == "err":
				return nil, errors.New(text)
			case got["op"] == until && until == "delivery":
				w.send(opText, `{"op":"cancel","sid":"c"}`)
				w.send(opText, `{"op":"ack","id":"2","tag":1}`)
				_, _, err := w.read()
				return got, err
			case got["op"] == until:
				return got, nil
			}
		}
	}
	return port{
		name: "WebSocket",
		declare: func(queue string) error {
			_, err := answer("ok", map[string]any{"op": "declare", "queue": queue})
			return err
		},
		find: func(queue string) error {
			_, err := answer("ok", map[string]any{"op": "consume", "sid": "c", "queue": queue})
			return err
		},
		put: func(queue string, data []byte, header map[string]string) error {
			_, err := answer("ok", map[string]any{"op": "append", "queue": queue, "data_base64": data, "headers": header})
			return err
		},
		take: func(queue string) ([]byte, map[string]string, error) {
			got, err := answer("delivery", map[string]any{"op": "consume", "sid": "c", "queue": queue, "credit": 1})
			if err != nil {
				return nil, nil, err
			}
			text, _ := got["data"].(string)
			coded, _ := got["data_base64"].(string)
			binary, err := base64.StdEncoding.DecodeString(coded)
			header := map[string]string{}
			if all, ok := got["headers"].(map[string]any); ok {
				for name, value := range all {
					header[name] = fmt.Sprint(value)
				}
			}
			return append([]byte(text), binary...), header, err
		},
	}
}

func portGRPC(t *testing.T, s *site) port {
	conn := dialRPC(t, s.grpc)
	c := porticov1.NewPorticoServiceClient(conn)
	coded := func(err error) error {
		if status.Code(err) == codes.ResourceExhausted {
			return errTooLarge
		}
		return err
	}
	return port{
		name: "gRPC",
		declare: func(queue string) error {
			_, err := c.DeclareQueue(within(t, patience), &porticov1.DeclareQueueRequest{Queue: &porticov1.Queue{Name: queue, Durable: true}})
			return err
		},
		find: func(queue string) error {
			got, err := c.GetQueue(within(t, patience), &porticov1.GetQueueRequest{Queue: queue})
			if err == nil && !strings.Contains(got.String(), "name:") {
				err = fmt.Errorf("got %v", got)
			}
			return err
		},
		put: func(queue string, data []byte, header map[string]string) error {
			m := &porticov1.Message{Data: data, Headers: map[string]*porticov1.HeaderValues{}}
			for name, value := range header {
				m.Headers[name] = &porticov1.HeaderValues{Values: []string{value}}
			}
			_, err := c.Append(within(t, patience), &porticov1.AppendRequest{Queue: queue, Message: m})
			return coded(err)
		},
		take: func(queue string) ([]byte, map[string]string, error) {
			ctx, cancel := context.WithCancel(within(t, patience))
			defer cancel()
			stream, err := c.Consume(ctx, grpc.MaxCallRecvMsgSize(64<<20))
			must(t, err)
			start := &porticov1.ConsumeStart{Queue: queue, Credit: 1, AutoAck: true}
			must(t, stream.Send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Start{Start: start}}))
			for {
				got, err := stream.Recv()
				if err != nil {
					return nil, nil, err
				}
				for _, d := range got.GetDeliveries().GetDeliveries() {
					header := map[string]string{}
					for name, values := range d.GetMessage().GetHeaders() {
						header[name] = strings.Join(values.GetValues(), ",")
					}
					return d.GetMessage().GetData(), header, nil
				}
			}
		},
	}
}

func portAMQP(t *testing.T, s *site) port {
	channel := func() (*amqp091.Channel, func()) {
		conn, err := amqp091.Dial("amqp://guest:guest@" + s.amqp + "/")
		must(t, err)
		ch, err := conn.Channel()
		must(t, err)
		must(t, ch.Confirm(false))
		return ch, func() { conn.Close() }
	}
	return port{
		name: "AMQP",
		declare: func(queue string) error {
			ch, end := channel()
			defer end()
			_, err := ch.QueueDeclare(queue, true, false, false, false, nil)
			return err
		},
		find: func(queue string) error {
			ch, end := channel()
			defer end()
			q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
			if err == nil && q.Name != queue {
				err = fmt.Errorf("found %q", q.Name)
			}
			return err
		},
		put: func(queue string, data []byte, header map[string]string) error {
			ch, end := channel()
			defer end()
			closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
			table := amqp091.Table{}
			for name, value := range header {
				table[name] = value
			}
			confirm, err := ch.PublishWithDeferredConfirm("", queue, false, false, amqp091.Publishing{Headers: table, Body: data})
			if err != nil {
				return err
			}
			select {
			case <-confirm.Done():
				if !confirm.Acked() {
					return errors.New("nacked")
				}
				return nil
			case e := <-closed:
				if e != nil && e.Code == amqp091.PreconditionFailed && strings.Contains(e.Reason, "larger than") {
					return errTooLarge
				}
				return e
			}
		},
		take: func(queue string) ([]byte, map[string]string, error) {
			ch, end := channel()
			defer end()
			d, ok, err := ch.Get(queue, true)
			if err != nil || !ok {
				return nil, nil, fmt.Errorf("got one: %v: %w", ok, err)
			}
			header := map[string]string{}
			for name, value := range d.Headers {
				header[name] = fmt.Sprint(value)
			}
			return d.Body, header, nil
		},
	}
}

// TestNames: a queue may be called anything that is text, and what one door declares the others find. (As in RabbitMQ, a short string of AMQP that is not
// UTF-8 ends the connection, and line ends are taken out of a queue's name there.)
func TestNames(t *testing.T) {
	s := start(t)
	ports := s.ports(t)
	for _, by := range ports {
		for _, name := range []string{
			"a/b", "/", "..", "a//b/", " leading and trailing ", "größer 漢字 🐇", "a.b.*.>", ".", ">", "%2F%", "%", "a+b&c=d?e#f", "tab\tand line", "\x01\x7f",
			"$queue.x", "_INBOX.x", "-", `"quoted\"`, strings.Repeat("n", 255), strings.Repeat("漢", 85),
		} {
			for len(name)+len(by.name) > 255 {
				_, size := utf8.DecodeLastRuneInString(name)
				name = name[:len(name)-size]
			}
			name += by.name // another one for each door
			if err := by.declare(name); err != nil {
				t.Errorf("%s cannot declare %.40q: %v", by.name, name, err)
				continue
			}
			payload := []byte("in " + name)
			for _, other := range ports {
				if err := other.find(name); err != nil {
					t.Errorf("%s does not find %.40q, which %s declared: %v", other.name, name, by.name, err)
					continue
				}
				must(t, other.put(name, payload, nil))
				got, _, err := by.take(name)
				if err != nil || !bytes.Equal(got, payload) {
					t.Errorf("%s took %.60q out of %.40q, %v", by.name, got, name, err)
				}
			}
		}
		for what, name := range map[string]string{"none": "", "NUL": "a\x00b", "256 bytes": strings.Repeat("n", 256)} {
			if by.name == "AMQP" && what != "NUL" {
				continue // an empty name asks the server for one, and a short string has 255 octets
			}
			if err := by.declare(name); err == nil {
				t.Errorf("%s declares a queue whose name is %s", by.name, what)
			}
		}
	}
}

// TestSizes: a message of exactly max_message passes every door whole, one of a byte more passes none.
func TestSizes(t *testing.T) {
	const most = 1 << 20
	s := start(t, "--max-message", fmt.Sprint(most))
	ports := s.ports(t)
	above := make([]byte, most+1)
	must(t, ports[0].declare("sizes"))
	for _, by := range ports {
		exact := bytes.Repeat([]byte{0xfe}, most)
		for _, other := range ports {
			if err := by.put("sizes", exact, nil); err != nil {
				t.Errorf("%s refuses %d bytes: %v", by.name, len(exact), err)
				continue
			}
			if got, _, err := other.take("sizes"); err != nil || !bytes.Equal(got, exact) {
				t.Errorf("%d bytes from %s came out of %s as %d, %v", len(exact), by.name, other.name, len(got), err)
			}
		}
		if err := by.put("sizes", above, nil); !errors.Is(err, errTooLarge) {
			t.Errorf("%s was given a byte too much: %v, want too large", by.name, err)
		}
		if err := by.put("sizes", exact, map[string]string{"h": "v"}); !errors.Is(err, errTooLarge) {
			t.Errorf("%s was given headers too much: %v, want too large", by.name, err)
		}
	}
}

// TestHeaders: empty payloads, text of all kinds, and as many headers as a message may have.
func TestHeaders(t *testing.T) {
	s := start(t)
	ports := s.ports(t)
	must(t, ports[0].declare("headers"))
	for name, c := range map[string]struct {
		data   []byte
		header map[string]string
	}{
		"nothing":        {nil, nil},
		"NUL":            {[]byte{0}, map[string]string{"empty": ""}},
		"text":           {[]byte("größer"), map[string]string{"color": "dünkel", "name": "漢字 🐇", "odd": `a"b\c;d=e, f`}},
		"60 KiB of them": {[]byte("x"), map[string]string{"large": strings.Repeat("h", 60<<10)}},
	} {
		for _, by := range ports {
			for _, other := range ports {
				if err := by.put("headers", c.data, c.header); err != nil {
					t.Errorf("%s: %s refuses it: %v", name, by.name, err)
					continue
				}
				got, header, err := other.take("headers")
				if err != nil || !bytes.Equal(got, c.data) {
					t.Errorf("%s: from %s to %s came %.40q, %v", name, by.name, other.name, got, err)
				}
				for h, want := range c.header {
					if header[h] != want {
						t.Errorf("%s: from %s to %s came %s: %.60q, want %.60q", name, by.name, other.name, h, header[h], want)
					}
				}
			}
		}
	}
	for _, by := range ports[:3] {
		if err := by.put("headers", nil, map[string]string{"large": strings.Repeat("h", 70<<10)}); !errors.Is(err, errTooLarge) {
			t.Errorf("%s was given 70 KiB of headers: %v, want too large", by.name, err)
		}
	}
	s.serves(t)
}
