package hostile

import (
	"bufio"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/adapters/amqp/wire"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestFromAnEmptyFolder: all doors answer soon after exec, and an idle gateway is small.
func TestFromAnEmptyFolder(t *testing.T) {
	var s *site
	for range 3 { // on a machine that is busy with other tests one start may take long
		began := time.Now()
		s = start(t)
		s.serves(t)
		took := time.Since(began)
		t.Logf("told after %v, every door has answered after %v", s.started.Round(time.Millisecond), took.Round(time.Millisecond))
		if took < 2*time.Second {
			break
		}
		s.Signal(t, syscall.SIGTERM)
		s.Wait(t)
		s = nil
	}
	if s == nil {
		t.Fatal("the doors did not answer within 2 s of exec, three times in a row")
	}
	if rss := s.memory(t, "VmHWM"); rss > 60<<20 {
		t.Errorf("%d MiB resident, want at most 60", rss>>20)
	} else {
		t.Logf("%d MiB resident at most", rss>>20)
	}
}

// TestGoodbyes: on SIGTERM a client of every door is told in its protocol's words, and the process ends well within drain_timeout.
func TestGoodbyes(t *testing.T) {
	s := start(t, "--drain-timeout", "10s")
	rabbit := dialAMQP(t, s.amqp, nil)
	web, err := dialWeb(s.web)
	must(t, err)
	defer web.Close()
	events, err := http.Get("http://" + s.web + "/v1/subscribe?subject=bye")
	must(t, err)
	defer events.Body.Close()
	stream, err := porticov1.NewPorticoServiceClient(dialRPC(t, s.grpc)).Subscribe(within(t, 2*patience), &porticov1.SubscribeRequest{Subjects: []string{"bye"}})
	must(t, err)
	_, err = stream.Header()
	must(t, err)
	h2 := dialRaw(t, s.grpc)
	_, err = io.WriteString(h2, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	must(t, err)
	nats := dialRaw(t, s.nats)
	_, err = io.WriteString(nats, "CONNECT {\"verbose\":true}\r\n")
	must(t, err)
	mqtt := dialRaw(t, s.mqtt)
	_, err = io.WriteString(mqtt, mqttConnect)
	must(t, err)
	_, err = io.ReadFull(mqtt, make([]byte, 4))
	must(t, err)

	began := time.Now()
	s.Signal(t, syscall.SIGTERM)
	if m := expect[*wire.ConnectionClose](t, rabbit); m.ReplyCode != wire.ConnectionForced {
		t.Errorf("AMQP: closed with %d %s, want 320", m.ReplyCode, m.ReplyText)
	}
	rabbit.method(0, &wire.ConnectionCloseOk{})
	if code, reason, err := web.closeCode(); err != nil || code != 1001 {
		t.Errorf("WebSocket: closed with %d %q, %v, want 1001", code, reason, err)
	}
	web.send(opClose, "\x03\xe9")
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("gRPC: the stream ended with %v, want UNAVAILABLE", err)
	}
	if !goneAway(h2) {
		t.Error("gRPC: no GOAWAY")
	}
	if b, err := io.ReadAll(events.Body); err != nil || !strings.Contains(string(b), "event: error") {
		t.Errorf("SSE: ended with %v after %q, want an event and a clean end", err, b)
	}
	if state := s.Wait(t); !state.Success() {
		t.Errorf("ended with %v; log:\n%s", state, s.Log())
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v, want at most drain_timeout", took)
	} else {
		t.Logf("ended after %v", took.Round(time.Millisecond))
	}
}

// goneAway reads HTTP/2 frames to a GOAWAY.
func goneAway(r io.Reader) bool {
	in := bufio.NewReader(r)
	for {
		var head [9]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return false
		}
		if head[3] == 7 {
			return true
		}
		length := int64(binary.BigEndian.Uint32(head[:4]) >> 8)
		if _, err := io.CopyN(io.Discard, in, length); err != nil {
			return false
		}
	}
}
