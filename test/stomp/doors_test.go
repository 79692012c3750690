package stomp

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/adapters/websocket/stomp"
	"portico/test/gateway"

	"github.com/gorilla/websocket"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

const patience = 20 * time.Second

// talker is a STOMP client.
type talker struct {
	t    *testing.T
	conn net.Conn
	in   *stomp.Decoder
}

func call(t *testing.T, g *gateway.Gateway) *talker {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.Doors["STOMP"], "stomp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &talker{t: t, conn: conn, in: stomp.NewDecoder(conn, stomp.Limits{Body: 1 << 20})}
	c.send("CONNECT\naccept-version:1.2\nlogin:guest\npasscode:guest\n\n")
	c.next("CONNECTED")
	c.in.Speak(stomp.V12)
	return c
}

// send sends a frame without its NUL.
func (c *talker) send(frame string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, frame+"\x00"); err != nil {
		c.t.Fatal(err)
	}
}

// done sends a frame that asks for a receipt, and waits for that.
func (c *talker) done(frame string) {
	c.t.Helper()
	head, body, _ := strings.Cut(frame, "\n\n")
	c.send(head + "\nreceipt:r\n\n" + body)
	c.next("RECEIPT")
}

func (c *talker) next(command string) *stomp.Frame {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	f, err := c.in.Next()
	if err != nil || f.Command != command {
		c.t.Fatalf("waiting for %s: %v, %v", command, f, err)
	}
	return f
}

func channel(t *testing.T, conn *amqp091.Connection, err error) *amqp091.Channel {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// carrier is the stream of bytes that a WebSocket carries.
type carrier struct {
	net.Conn
	ws *websocket.Conn
	r  io.Reader
}

func (c *carrier) Read(p []byte) (int, error) {
	for {
		if c.r == nil {
			_, r, err := c.ws.NextReader()
			if err != nil {
				return 0, err
			}
			c.r = r
		}
		n, err := c.r.Read(p)
		if err == io.EOF {
			c.r, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (c *carrier) Write(p []byte) (int, error) {
	return len(p), c.ws.WriteMessage(websocket.BinaryMessage, p)
}

// amqpOverWebSocket is an AMQP client on the HTTP port.
func amqpOverWebSocket(t *testing.T, g *gateway.Gateway) *amqp091.Channel {
	t.Helper()
	conn, err := amqp091.DialConfig("amqp://guest:guest@gateway.example/", amqp091.Config{Dial: func(string, string) (net.Conn, error) {
		d := websocket.Dialer{Subprotocols: []string{"amqp"}, HandshakeTimeout: patience}
		ws, _, err := d.Dial(strings.Replace(g.Doors["HTTP"], "http://", "ws://", 1)+"/ws/amqp", nil)
		if err != nil {
			return nil, err
		}
		return &carrier{Conn: ws.NetConn(), ws: ws}, nil
	}})
	return channel(t, conn, err)
}

func one(t *testing.T, from <-chan amqp091.Delivery) amqp091.Delivery {
	t.Helper()
	select {
	case d := <-from:
		return d
	case <-time.After(patience):
		t.Fatal("nothing came over AMQP")
		return amqp091.Delivery{}
	}
}

func post(t *testing.T, g *gateway.Gateway, path, body string, headers map[string]string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.Doors["HTTP"]+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("POST %s: %d %s %v", path, res.StatusCode, all, err)
	}
	return string(all)
}

// TestDoorsSeeEachOther: what one door sends the others get, with its properties.
func TestDoorsSeeEachOther(t *testing.T) {
	g := gateway.Start(t)
	s := call(t, g)
	for name, ch := range map[string]*amqp091.Channel{
		"amqp":                func() *amqp091.Channel { c, err := amqp091.Dial(g.Doors["AMQP"]); return channel(t, c, err) }(),
		"amqp over websocket": amqpOverWebSocket(t, g),
	} {
		queue := strings.ReplaceAll(name, " ", "-")
		t.Run(name+" gets from STOMP", func(t *testing.T) {
			s.done("SEND\ndestination:/queue/" + queue + "\npersistent:true\ncontent-type:text/plain\ncorrelation-id:c1\namqp-message-id:m1\npriority:3\nreply-to:/queue/back\nsize:7\n\nhello")
			from, err := ch.Consume(queue, "", true, false, false, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			d := one(t, from)
			got := fmt.Sprint(string(d.Body), d.ContentType, d.CorrelationId, d.MessageId, d.Priority, d.DeliveryMode, d.ReplyTo, d.Headers["size"])
			if want := fmt.Sprint("hello", "text/plain", "c1", "m1", 3, 2, "back", "7"); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
		t.Run("STOMP gets from "+name, func(t *testing.T) {
			s.done("SUBSCRIBE\nid:" + queue + "\ndestination:/topic/from." + queue + ".*\n\n")
			err := ch.PublishWithContext(t.Context(), "amq.topic", "from."+queue+".x", false, false, amqp091.Publishing{
				Body: []byte("hi"), ContentType: "text/html", CorrelationId: "c2", MessageId: "m2", DeliveryMode: 2, Headers: amqp091.Table{"n": int32(5), "a:b": "colon"},
			})
			if err != nil {
				t.Fatal(err)
			}
			f := s.next("MESSAGE")
			want := map[string]string{
				"destination": "/topic/from." + queue + ".x", "content-type": "text/html", "correlation-id": "c2", "amqp-message-id": "m2", "persistent": "true", "n": "5",
			}
			got := maps.Clone(want)
			for name := range want {
				got[name] = f.Get(name)
			}
			if string(f.Body) != "hi" || !maps.Equal(got, want) {
				t.Errorf("got %v %q, want %v", got, f.Body, want)
			}
		})
		t.Run("exchange with "+name, func(t *testing.T) {
			if err := ch.ExchangeDeclare("shop-"+queue, "topic", true, false, false, false, nil); err != nil {
				t.Fatal(err)
			}
			q, err := ch.QueueDeclare("", false, true, true, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := ch.QueueBind(q.Name, "eu.#", "shop-"+queue, false, nil); err != nil {
				t.Fatal(err)
			}
			from, err := ch.Consume(q.Name, "", true, false, false, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.done("SUBSCRIBE\nid:x" + queue + "\ndestination:/exchange/shop-" + queue + "/eu.*\n\n")
			s.send("SEND\ndestination:/exchange/shop-" + queue + "/eu.new\n\nboth")
			if d := one(t, from); string(d.Body) != "both" || d.RoutingKey != "eu.new" || d.Exchange != "shop-"+queue {
				t.Errorf("got %q by %s with %s", d.Body, d.Exchange, d.RoutingKey)
			}
			if f := s.next("MESSAGE"); string(f.Body) != "both" || f.Get("destination") != "/exchange/shop-"+queue+"/eu.new" {
				t.Errorf("got %v", f)
			}
		})
	}
	t.Run("STOMP gets from HTTP", func(t *testing.T) {
		s.done("SUBSCRIBE\nid:http\ndestination:/topic/http.#\n\n")
		post(t, g, "/v1/publish/http.hello", "hi", map[string]string{"Content-Type": "text/plain", "Msg-Colour": "red"})
		if f := s.next("MESSAGE"); string(f.Body) != "hi" || f.Get("destination") != "/topic/http.hello" || f.Get("colour") != "red" || f.Get("content-type") != "text/plain" {
			t.Errorf("got %v", f)
		}
	})
	t.Run("HTTP asks STOMP", func(t *testing.T) {
		s.done("SUBSCRIBE\nid:ask\ndestination:/topic/ask\n\n")
		answer := make(chan string, 1)
		go func() { answer <- post(t, g, "/v1/request/ask", "21", nil) }()
		f := s.next("MESSAGE")
		s.send("SEND\ndestination:" + f.Get("reply-to") + "\n\n42")
		if got := <-answer; got != "42" {
			t.Errorf("answered %q", got)
		}
	})
}

// TestAMQPAnswersSTOMP: a STOMP client's temporary queue is a reply_to that AMQP clients can publish to, and the other way round.
func TestAMQPAnswersSTOMP(t *testing.T) {
	g := gateway.Start(t)
	s := call(t, g)
	conn, err := amqp091.Dial(g.Doors["AMQP"])
	ch := channel(t, conn, err)
	if _, err := ch.QueueDeclare("rpc", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	from, err := ch.Consume("rpc", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.send("SEND\ndestination:/queue/rpc\nreply-to:/temp-queue/me\ncorrelation-id:7\n\n21")
	d := one(t, from)
	if err := ch.PublishWithContext(t.Context(), "", d.ReplyTo, false, false, amqp091.Publishing{CorrelationId: d.CorrelationId, Body: []byte("42")}); err != nil {
		t.Fatal(err)
	}
	if f := s.next("MESSAGE"); string(f.Body) != "42" || f.Get("subscription") != "/temp-queue/me" || f.Get("correlation-id") != "7" {
		t.Errorf("answered %v", f)
	}

	replies, err := ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.done("SUBSCRIBE\nid:1\ndestination:/queue/other\n\n")
	err = ch.PublishWithContext(t.Context(), "", "other", false, false, amqp091.Publishing{ReplyTo: "amq.rabbitmq.reply-to", CorrelationId: "8", Body: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	f := s.next("MESSAGE")
	s.send("SEND\ndestination:" + f.Get("reply-to") + "\ncorrelation-id:" + f.Get("correlation-id") + "\n\n2")
	if d := one(t, replies); string(d.Body) != "2" || d.CorrelationId != "8" {
		t.Errorf("answered %q %s", d.Body, d.CorrelationId)
	}
}

// TestDeadLettersOfSTOMP: what a STOMP client refuses is in the dead letters of its queue, as any other door sees them.
func TestDeadLettersOfSTOMP(t *testing.T) {
	g := gateway.Start(t)
	s := call(t, g)
	conn, err := amqp091.Dial(g.Doors["AMQP"])
	ch := channel(t, conn, err)
	if _, err := ch.QueueDeclare("graves", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("work", true, false, false, false, amqp091.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "graves"}); err != nil {
		t.Fatal(err)
	}
	from, err := ch.Consume("graves", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.PublishWithContext(t.Context(), "", "work", false, false, amqp091.Publishing{Body: []byte("bad")}); err != nil {
		t.Fatal(err)
	}
	s.send("SUBSCRIBE\nid:1\ndestination:/queue/work\nack:client\n\n") // whoever made it, and as it is
	f := s.next("MESSAGE")
	s.send("NACK\nid:" + f.Get("ack") + "\nrequeue:false\n\n")
	d := one(t, from)
	if deaths, _ := d.Headers["x-death"].([]any); string(d.Body) != "bad" || len(deaths) != 1 {
		t.Errorf("got %q, deaths %v", d.Body, d.Headers["x-death"])
	}
}

// TestGatewayDrainsAMQPOverWebSocket: the AMQP door says goodbye over a WebSocket, too.
func TestGatewayDrainsAMQPOverWebSocket(t *testing.T) {
	g := gateway.Start(t)
	conn := make(chan *amqp091.Error, 1)
	ch := amqpOverWebSocket(t, g)
	ch.NotifyClose(conn)
	stop(t, g)
	select {
	case e := <-conn:
		if e == nil || e.Code != 320 {
			t.Errorf("closed with %v, want 320", e)
		}
	case <-time.After(patience):
		t.Error("not told")
	}
}

// TestSTOMPDeclaresDeadLetters: the headers of SUBSCRIBE that name an exchange and a key for dead letters mean what they mean over AMQP.
func TestSTOMPDeclaresDeadLetters(t *testing.T) {
	s := call(t, gateway.Start(t))
	s.done("SUBSCRIBE\nid:g\ndestination:/queue/graves\n\n")
	s.done("SUBSCRIBE\nid:w\ndestination:/queue/work\nack:client-individual\nx-dead-letter-exchange:\nx-dead-letter-routing-key:graves\n\n")
	s.send("SEND\ndestination:/queue/work\ntype:job\n\nbad")
	f := s.next("MESSAGE")
	if f.Get("subscription") != "w" {
		t.Fatalf("got %v, want it from the queue of work", f)
	}
	s.send("NACK\nid:" + f.Get("ack") + "\nrequeue:false\n\n")
	if f := s.next("MESSAGE"); f.Get("subscription") != "g" || string(f.Body) != "bad" || f.Get("type") != "job" || f.Get("x-first-death-reason") != "rejected" {
		t.Errorf("got %v, want the dead letter and why it died", f)
	}
}
