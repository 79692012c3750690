package websocket_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/adapters/websocket"
	"portico/core"

	"github.com/fxamacker/cbor/v2"
	gorilla "github.com/gorilla/websocket"
)

// floodBody is what message n of a subject has: nobody can take another's for it, and a piece that is missing, or somebody else's, shows.
func floodBody(subject string, n, size int) string {
	word := subject + "#" + strconv.Itoa(n) + ";"
	return strings.Repeat(word, size/len(word)+1)[:size]
}

// speaker is how a client speaks.
type speaker struct {
	binary, batches, deflate bool
}

func (s speaker) dial(ctx context.Context, url string) (*gorilla.Conn, error) {
	protocol := websocket.Protocol
	if s.binary {
		protocol = websocket.ProtocolCBOR
	}
	if s.batches {
		url += "?batch=true"
	}
	dialer := gorilla.Dialer{Subprotocols: []string{protocol}, HandshakeTimeout: 20 * time.Second, EnableCompression: s.deflate, NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, address)
		if tcp, ok := c.(*net.TCPConn); ok {
			err = errors.Join(tcp.SetReadBuffer(16<<10), tcp.SetLinger(0)) // what is closed is cut, in the middle of whatever comes
		}
		return c, err
	}}
	ws, res, err := dialer.DialContext(ctx, url, nil)
	if res != nil && res.Body != nil {
		_ = res.Body.Close()
	}
	return ws, err
}

func (s speaker) send(ws *gorilla.Conn, f frame) error {
	if s.binary {
		b, err := cbor.Marshal(f)
		return errors.Join(err, ws.WriteMessage(gorilla.BinaryMessage, b))
	}
	b, err := json.Marshal(f)
	return errors.Join(err, ws.WriteMessage(gorilla.TextMessage, b))
}

// read reads the frames of one message. Whatever is no frame of this client's protocol is an error.
func (s speaker) read(ws *gorilla.Conn) (frames []frame, err error) {
	if err := ws.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	kind, b, err := ws.ReadMessage()
	switch {
	case err != nil:
		return nil, err
	case (kind == gorilla.BinaryMessage) != s.binary:
		return nil, fmt.Errorf("message of kind %d: %.100q", kind, b)
	}
	list := len(b) > 0 && (s.binary && b[0]>>5 == 4 || !s.binary && b[0] == '[')
	if list && !s.batches {
		return nil, fmt.Errorf("a batch that was not asked for: %.100q", b)
	}
	var one frame
	into := any(&one)
	if list {
		into = &frames
	}
	if s.binary {
		err = cbor.Unmarshal(b, into)
	} else {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return nil, fmt.Errorf("%w in %.100q", err, b)
	}
	if !list {
		frames = []frame{one}
	}
	return frames, nil
}

// text is a payload, in either protocol.
func (f frame) text() string {
	if b, ok := f["data"].([]byte); ok {
		return string(b)
	}
	return f.str("data")
}

// cutShort subscribes to the flood under a name of its own, takes so many bytes, and is gone without a word, wherever that is.
func (s speaker) cutShort(ctx context.Context, url, sid string, bytes int64) error {
	ws, err := s.dial(ctx, url)
	if err != nil {
		return err
	}
	defer ws.Close()
	subs := []frame{{"op": "sub", "sid": sid, "subject": "flood"}, {"op": "sub", "sid": sid + "-kept", "stream": "S", "from": "all"}}
	for _, f := range subs {
		if err := s.send(ws, f); err != nil {
			return err
		}
	}
	conn := ws.NetConn()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, conn, bytes) // who is too slow on a busy machine is cut by the gateway: that does as well
	return nil
}

// onlyOwn subscribes to a subject that is nobody else's, to news, which are everybody's, and to a stream, and looks at all that comes until there is enough: whatever was not asked for is an error.
func (s speaker) onlyOwn(ctx context.Context, url, name string, news int) error {
	ws, err := s.dial(ctx, url)
	if err != nil {
		return err
	}
	defer ws.Close()
	own, kept, shared := name+"-own", name+"-kept", name+"-news"
	const publishes = 5
	subs := []frame{{"op": "sub", "id": name, "sid": own, "subject": own}, {"op": "sub", "id": name, "sid": kept, "stream": "S", "from": "all"}, {"op": "sub", "id": name, "sid": shared, "subject": "news", "slow": "drop-oldest"}}
	for _, f := range subs {
		if err := s.send(ws, f); err != nil {
			return err
		}
	}
	owned, stored, told, answers := 0, 0, 0, 0
	for owned < publishes || stored < floodStored || told < news {
		frames, err := s.read(ws)
		if err != nil {
			return fmt.Errorf("%d own, %d stored, %d news: %w", owned, stored, told, err)
		}
		for _, f := range frames {
			body, want := f.text(), ""
			switch op, sid := f.str("op"), f.str("sid"); {
			case op == "welcome", op == "dropped" && sid == shared:
				continue
			case op == "ok" && f.str("id") == name:
				if answers++; answers == len(subs) {
					for n := range publishes {
						data := any(floodBody(own, n, 3000))
						if s.binary {
							data = []byte(floodBody(own, n, 3000))
						}
						if err := s.send(ws, frame{"op": "pub", "subject": own, "data": data}); err != nil {
							return err
						}
					}
				}
				continue
			case op == "msg" && sid == own && f.str("subject") == own:
				want = floodBody(own, owned, 3000)
				owned++
			case op == "msg" && sid == kept && f.str("subject") == "s.kept":
				want = floodBody("s.kept", stored, 1000)
				stored++
			case op == "msg" && sid == shared && f.str("subject") == "news":
				n, _, _ := strings.Cut(strings.TrimPrefix(body, "news#"), ";")
				number, _ := strconv.Atoi(n)
				want = floodBody("news", number, 2000)
				told++
			default:
				return fmt.Errorf("frame of somebody else: %.200v", f)
			}
			if body != want {
				return fmt.Errorf("%.100v: not what was published, %.100q", f, want)
			}
		}
	}
	return nil
}

// floodStored is how many messages the stream of these tests has.
const floodStored = 100

// TestNobodySeesAnothersFrames: clients are cut at any byte of what they are sent, while others connect in every way, subscribe and are sent theirs: nobody is ever shown a byte of somebody else's. Buffers
// of writers are used by one connection after the other, and what is the same for all is encoded once.
func TestNobodySeesAnothersFrames(t *testing.T) {
	d := open(t, websocket.Config{Compression: true})
	ctx := t.Context()
	if _, _, err := d.gateway.System().CreateStream(ctx, core.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	for n := range floodStored {
		if _, err := d.gateway.System().Publish(ctx, &core.Message{Subject: "s.kept", Data: []byte(floodBody("s.kept", n, 1000))}); err != nil {
			t.Fatal(err)
		}
	}
	const cutters, cuts, watchers = 4, 8, 4
	flooding, stop := context.WithCancel(ctx)
	defer stop()
	var floods, cutting, watching sync.WaitGroup
	floods.Go(func() {
		for n := 0; flooding.Err() == nil; n++ {
			subject, size := "flood", 25000 // three are more than a batch: something has gathered when a write fails
			if n%4 == 3 {
				subject, size = "news", 2000
			}
			if _, err := d.gateway.System().Publish(ctx, &core.Message{Subject: subject, Data: []byte(floodBody(subject, n, size))}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	spoken := []speaker{{batches: true}, {}, {binary: true, batches: true}, {batches: true, deflate: true}}
	for i := range cutters {
		cutting.Go(func() {
			for n := range cuts {
				if err := spoken[(i+n)%len(spoken)].cutShort(ctx, d.url, fmt.Sprintf("cut%d-%d", i, n), rand.Int64N(400<<10)); err != nil {
					t.Errorf("cut %d of %d: %v", n, i, err)
				}
			}
		})
	}
	gone := make(chan struct{})
	for i := range watchers {
		watching.Go(func() {
			for n := 0; ; n++ {
				s := spoken[(i+n)%len(spoken)]
				if err := s.onlyOwn(ctx, d.url, fmt.Sprintf("watcher%d-%d", i, n), 3); err != nil {
					t.Errorf("%+v: %v", s, err)
					return
				}
				select {
				case <-gone:
					return
				default:
				}
			}
		})
	}
	cutting.Wait()
	close(gone)
	watching.Wait()
	stop()
	floods.Wait()
}
