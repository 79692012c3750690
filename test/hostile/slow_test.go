package hostile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/adapters/amqp/wire"

	porticov1 "portico/proto/portico/v1"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// deaf are subscribers that do not read. Each tells in the end how it was cut.
type deaf struct {
	name string
	cut  func() string
	want string
}

// deafened opens so many subscribers of each kind on subject.
func (s *site) deafened(t *testing.T, subject string, each int) (all []deaf) {
	t.Helper()
	for range each {
		w, err := dialWeb(s.web)
		must(t, err)
		t.Cleanup(func() { w.Close() })
		w.send(opText, `{"op":"sub","id":"1","sid":"s","subject":"`+subject+`"}`)
		_, answer, err := w.read()
		if err != nil || !strings.Contains(answer, `"ok"`) {
			t.Fatalf("subscribe: %s %v", answer, err)
		}
		all = append(all, deaf{"WebSocket", func() string {
			code, reason, err := w.closeCode()
			return fmt.Sprintf("%d %s %v", code, reason, err)
		}, "4408 slow-consumer <nil>"})
	}
	for range each {
		conn := dialRaw(t, s.web)
		_, err := fmt.Fprintf(conn, "GET /v1/subscribe?subject=%s HTTP/1.1\r\nHost: x\r\n\r\n", subject)
		must(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil) // the subscription is there when the header comes
		must(t, err)
		all = append(all, deaf{"SSE", func() string {
			var last tail
			_, _ = io.Copy(&last, resp.Body)
			_, event, _ := strings.Cut(string(last), "event: error")
			_, code, _ := strings.Cut(event, `"code":"`)
			code, _, _ = strings.Cut(code, `"`)
			return code
		}, "slow-consumer"})
	}
	rpc := porticov1.NewPorticoServiceClient(dialRPC(t, s.grpc))
	for range each {
		stream, err := rpc.Subscribe(within(t, 10*patience), &porticov1.SubscribeRequest{Subjects: []string{subject}})
		must(t, err)
		_, err = stream.Header()
		must(t, err)
		all = append(all, deaf{"gRPC", func() string {
			for {
				if _, err := stream.Recv(); err != nil {
					return fmt.Sprint(status.Code(err))
				}
			}
		}, codes.ResourceExhausted.String()})
	}
	return all
}

// tail keeps the last few KiB.
type tail []byte

func (l *tail) Write(p []byte) (int, error) {
	*l = append(*l, p[max(0, len(p)-4<<10):]...)
	*l = (*l)[max(0, len(*l)-4<<10):]
	return len(p), nil
}

// TestDeafSubscribers: 200 that never read while 200 MB are published. Memory is bounded, nobody else waits, and they are cut; those that
// come round in time hear why.
func TestDeafSubscribers(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.serves(t)
	before, base := s.goroutines(t), s.memory(t, "VmRSS")
	t.Run("reason", func(t *testing.T) {
		few := s.deafened(t, "deaf.few", 1)
		s.flood(t, "deaf.few", 48<<20)
		for _, d := range few {
			if got := d.cut(); got != d.want {
				t.Errorf("%s: cut with %q, want %q", d.name, got, d.want)
			}
		}
	})
	t.Run("many", func(t *testing.T) {
		began := time.Now()
		s.deafened(t, "deaf.many", 67)
		s.flood(t, "deaf.many", 200<<20)
		t.Logf("published after %v", time.Since(began).Round(time.Millisecond))
		eventually(t, 2*patience, func() error { // they are gone without having read an octet
			if _, answer := s.call(t, "POST", "/v1/publish/deaf.many", ""); !strings.Contains(answer, `"live":false`) {
				return fmt.Errorf("somebody is subscribed still: %s", answer)
			}
			if n := s.connections(t, "websocket"); n > 0 {
				return fmt.Errorf("%v WebSockets are open", n)
			}
			return nil
		})
	})
	s.serves(t)
	s.settles(t, before)
	s.bounded(t, base, 201*3<<20) // of 8 MiB that may wait for each most is shared; what is its own is the message being written
}

// connections is a door's gauge.
func (s *site) connections(t *testing.T, door string) (n int) {
	t.Helper()
	_, text := s.call(t, "GET", "/metrics", "")
	_, after, ok := strings.Cut(text, `portico_connections{door="`+door+`"} `)
	if _, err := fmt.Sscan(after, &n); !ok || err != nil {
		t.Fatalf("no connections of %s: %v", door, err)
	}
	return n
}

// flood publishes so many bytes in messages of 256 KiB.
func (s *site) flood(t *testing.T, subject string, bytes int) {
	t.Helper()
	payload := strings.Repeat("x", 256<<10)
	for range bytes / len(payload) {
		if status, answer := s.call(t, "POST", "/v1/publish/"+subject, payload); status != http.StatusAccepted {
			t.Fatalf("publish: %d %s", status, answer)
		}
	}
}

// TestMemoryQueueFull: a publisher that asks for no confirms fills a memory queue. When the memory for queues is used up its socket is no longer
// read; durable queues and other doors go on, and a consumer gets everything.
func TestMemoryQueueFull(t *testing.T) {
	const memory, size = 32 << 20, 16 << 10
	s := start(t, "--queue-memory", fmt.Sprint(memory))
	s.serves(t)
	base := s.memory(t, "VmRSS")
	r := dialAMQP(t, s.amqp, nil)
	r.method(1, &wire.QueueDeclare{Queue: "memory"})
	expect[*wire.QueueDeclareOk](t, r)

	one := wire.AppendPublish(nil, 1, nil, []byte("memory"), false, false)
	one = wire.AppendHeader(one, 1, wire.ClassBasic, size, []byte("\x00\x00"))
	one = wire.AppendBody(one, 1, bytes.Repeat([]byte("m"), size), 131072)
	const most = 200 << 20
	var written atomic.Int64
	must(t, r.SetDeadline(time.Time{}))
	stop := make(chan struct{})
	ended := make(chan int) // messages that were written whole
	go func() { ended <- pour(r, one, most, &written, stop) }()
	eventually(t, 2*patience, stalled(&written, most))
	t.Logf("held back after %d MiB", written.Load()>>20)
	s.bounded(t, base, memory+100<<20)

	status, _ := s.call(t, "PUT", "/v1/queues/durable", "")
	if status, answer := s.call(t, "POST", "/v1/queues/durable/messages", "kept"); status != http.StatusCreated {
		t.Errorf("a durable queue answers %d %s", status, answer)
	}
	if status != http.StatusCreated {
		t.Errorf("declare: %d", status)
	}
	s.serves(t)

	conn, err := amqp091.Dial("amqp://guest:guest@" + s.amqp + "/")
	must(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	must(t, err)
	deliveries, err := ch.Consume("memory", "", true, false, false, false, nil)
	must(t, err)
	close(stop)
	got, sent := 0, -1
	for sent < 0 || got < sent {
		select {
		case d := <-deliveries:
			if len(d.Body) != size {
				t.Fatalf("a delivery of %d bytes", len(d.Body))
			}
			got++
		case sent = <-ended:
		case <-time.After(2 * patience):
			t.Fatalf("%d of %d arrived", got, sent)
		}
	}
	t.Logf("%d messages, all arrived", got)
}

// pour writes one over and over until told to stop, and returns how often.
func pour(w io.Writer, one []byte, most int64, written *atomic.Int64, stop chan struct{}) int {
	n := 0
	for written.Load() < most {
		select {
		case <-stop:
			return n
		default:
		}
		if _, err := w.Write(one); err != nil {
			return n
		}
		n++
		written.Add(int64(len(one)))
	}
	return n
}

// stalled tells whether a writer has come to a stand: nothing for two seconds.
func stalled(written *atomic.Int64, most int64) func() error {
	last, since := int64(0), time.Now()
	return func() error {
		now := written.Load()
		if now != last {
			last, since = now, time.Now()
		}
		switch {
		case now >= most:
			return fmt.Errorf("%d MiB were taken", now>>20)
		case now == 0 || time.Since(since) < 2*time.Second:
			return fmt.Errorf("%d MiB are written, and it goes on", now>>20)
		}
		return nil
	}
}

// TestDeafConsumers: AMQP consumers that never read are passed over; one that reads gets what they did not take, and theirs when they are gone.
func TestDeafConsumers(t *testing.T) {
	const messages, size, deafOnes = 1000, 64 << 10, 4
	s := start(t)
	conn, err := amqp091.Dial("amqp://guest:guest@" + s.amqp + "/")
	must(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	must(t, err)
	_, err = ch.QueueDeclare("work", false, false, false, false, nil)
	must(t, err)
	var lazy []*rabbit
	for range deafOnes {
		r := dialAMQP(t, s.amqp, nil)
		r.method(1, &wire.BasicConsume{Queue: "work"})
		expect[*wire.BasicConsumeOk](t, r)
		lazy = append(lazy, r)
	}
	must(t, ch.Confirm(false))
	payload := bytes.Repeat([]byte("w"), size)
	for range messages {
		confirm, err := ch.PublishWithDeferredConfirm("", "work", false, false, amqp091.Publishing{Body: payload})
		must(t, err)
		acked, err := confirm.WaitContext(within(t, 2*patience))
		if err != nil || !acked {
			t.Fatalf("acked %v, %v", acked, err)
		}
	}
	deliveries, err := ch.Consume("work", "", true, false, false, false, nil)
	must(t, err)
	first := receive(t, deliveries, "delivery that the deaf ones were passed over for")
	if len(first.Body) != size {
		t.Errorf("a delivery of %d bytes", len(first.Body))
	}
	for _, r := range lazy {
		r.Close()
	}
	for range messages - 1 {
		receive(t, deliveries, "delivery")
	}
	_, text := s.call(t, "GET", "/v1/queues/work", "")
	var q struct{ Ready, Unacked int }
	must(t, json.Unmarshal([]byte(text), &q))
	if q.Ready != 0 || q.Unacked != 0 {
		t.Errorf("left: %+v", q)
	}
}

// TestAbandonedPublishes: clients that give up waiting for a memory queue that is full, over and over, leave no more behind than the gateway allows.
func TestAbandonedPublishes(t *testing.T) {
	const memory, size, clientsAtOnce, tries = 4 << 20, 4 << 20, 4, 240 // 960 MiB in all
	s := start(t, "--queue-memory", fmt.Sprint(memory))
	s.serves(t)
	base := s.memory(t, "VmRSS")
	s.call(t, "PUT", "/v1/queues/full", `{"durable":false}`)
	payload := strings.Repeat("x", size)
	var refused atomic.Int64
	var clients sync.WaitGroup
	for range clientsAtOnce {
		clients.Go(func() {
			for range tries / clientsAtOnce {
				conn, err := dial(s.web)
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
				fmt.Fprintf(conn, "POST /v1/queues/full/messages HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", size, payload)
				if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil && resp.StatusCode == http.StatusInsufficientStorage {
					refused.Add(1)
				}
				conn.Close()
			}
		})
	}
	clients.Wait()
	if refused.Load() == 0 {
		t.Error("nobody was told that it is too much")
	}
	// Four of the largest messages may be under way, and a body that is coming in is copied as it grows; the collector lets the heap double.
	s.bounded(t, base, 2*(4*(16<<20)+memory+clientsAtOnce*2*size)+64<<20)
	s.call(t, "DELETE", "/v1/queues/full/messages", "")
	s.serves(t)
}
