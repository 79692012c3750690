package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"portico/core"

	"github.com/gorilla/websocket"
)

// A tunnel carries the bytes of another protocol: what comes in frames goes to a connection as it is, and what comes from there goes out in binary frames. The
// borders of frames mean nothing. Nothing is gathered: whoever does not read holds the other side back.
//
//	reader (the HTTP handler's goroutine):  frames ──> far
//	writer:                                 far ──> frames
type tunnel struct {
	// immutable
	adapter *Adapter
	carried carried
	remote  string
	far     net.Conn
	ended   chan struct{} // closed when the tunnel has ended
	pulse

	draining atomic.Bool
}

// tunnelBuffer is what a tunnel reads at once, either way.
const tunnelBuffer = 16 << 10

// carried is a protocol that goes through a tunnel.
type carried struct {
	name   string
	dial   func(*http.Request) (net.Conn, error)
	binary bool // text frames are refused
	drains bool // the far end says goodbye by itself when the gateway stops
}

// serveTunnel connects the far end, then upgrades, so that a closed door is a refused upgrade.
func (a *Adapter) serveTunnel(w http.ResponseWriter, r *http.Request, protocol string, p carried) {
	far, err := p.dial(r)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, core.AsError(err))
		return
	}
	t := &tunnel{adapter: a, carried: p, remote: r.RemoteAddr, far: far, ended: make(chan struct{})}
	defer t.close()
	if !a.admit(w, t, r.RemoteAddr) {
		return
	}
	defer a.dismiss(t, r.RemoteAddr)
	ws, err := a.upgrade(&hijacker{w, func(conn net.Conn) net.Conn { return &guarded{Conn: conn} }, nil}, r, protocol)
	if err != nil {
		return // answered by the upgrader
	}
	if t.begin(ws, a.ping, t.cut) {
		t.serve()
	}
}

// upgrade answers with the subprotocol, "" for none.
func (a *Adapter) upgrade(w http.ResponseWriter, r *http.Request, protocol string) (*websocket.Conn, error) {
	u := a.upgrader
	u.Subprotocols = nil
	var h http.Header
	if protocol != "" {
		h = http.Header{"Sec-Websocket-Protocol": {protocol}}
	}
	return u.Upgrade(w, r, h)
}

// serve pumps until either side ends. It returns when nothing of the tunnel is left.
func (t *tunnel) serve() {
	log := t.adapter.log.With("door", door, "carries", t.carried.name, "remote", t.remote)
	log.Debug("tunnel opened")
	var writer sync.WaitGroup
	writer.Go(t.down)
	err := t.up()
	_ = t.far.Close() // ends the writer
	writer.Wait()
	t.end()
	log.Debug("tunnel ended", "err", err)
}

// close ends a tunnel that is served no longer, or never was.
func (t *tunnel) close() {
	_ = t.far.Close() // closed already, as a rule
	close(t.ended)
}

// up reads frames.
func (t *tunnel) up() error {
	buf := make([]byte, tunnelBuffer)
	for {
		t.alive()
		kind, r, err := t.ws.NextReader()
		if err == nil && t.carried.binary && kind != websocket.BinaryMessage {
			err = errText
		}
		if err != nil {
			t.breach(err)
			return err
		}
		for err == nil {
			t.alive() // now, not when the last bytes came: the far end may have been slow to take them
			var n int
			n, err = r.Read(buf)
			if n == 0 {
				continue
			}
			if _, failed := t.far.Write(buf[:n]); failed != nil {
				return t.awaitClose(failed)
			}
		}
		if !errors.Is(err, io.EOF) {
			t.breach(err)
			return err
		}
	}
}

// errText is what ends a tunnel whose protocol is carried by binary frames only.
var errText = errors.New("text frame")

// breach tells the client why its tunnel ends, unless the library has done so.
func (t *tunnel) breach(err error) {
	switch {
	case errors.Is(err, errText):
		t.say(websocket.CloseUnsupportedData, "binary frames only")
	case timedOut(err):
		t.say(websocket.ClosePolicyViolation, "no sign of life")
	}
}

// awaitClose passes over what the client still sends after the far end has gone, until it has answered the close frame.
func (t *tunnel) awaitClose(reason error) error {
	for {
		if _, _, err := t.ws.NextReader(); err != nil {
			return reason
		}
	}
}

// down writes frames until the far end has gone, then says so.
func (t *tunnel) down() {
	buf := make([]byte, tunnelBuffer)
	for {
		n, err := t.far.Read(buf)
		if n > 0 && t.write(buf[:n]) != nil {
			t.cut()
			return
		}
		if err != nil {
			break
		}
	}
	if t.draining.Load() {
		t.say(websocket.CloseGoingAway, "draining")
	} else {
		t.say(websocket.CloseNormalClosure, "")
	}
	t.leave(closeGrace)
}

func (t *tunnel) write(b []byte) error {
	if err := t.ws.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return t.ws.WriteMessage(websocket.BinaryMessage, b)
}

// say writes a close frame, the first of which counts. One that cannot be written nobody would hear.
func (t *tunnel) say(code int, reason string) {
	_ = t.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(closeGrace))
}

// drain implements member: the far end says goodbye itself, if it can; then, or if it takes too long, the WebSocket does.
func (t *tunnel) drain(limit context.Context) {
	t.draining.Store(true)
	if t.carried.drains {
		select {
		case <-t.ended:
			return
		case <-limit.Done():
		}
	}
	_ = t.far.Close() // the writer sees it and says goodbye
}

// cut implements member.
func (t *tunnel) cut() {
	_ = t.far.Close() // closed already, perhaps
	t.end()
}
