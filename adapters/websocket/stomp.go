package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
	"unicode/utf8"

	"portico/adapters/websocket/stomp"
	"portico/core"

	"github.com/gorilla/websocket"
)

// serveSTOMP serves a STOMP session over WebSocket. The client's frames may be cut into WebSocket messages as it likes; each of the server's is one: text where
// it is UTF-8, else binary.
func (a *Adapter) serveSTOMP(w http.ResponseWriter, r *http.Request, protocol string) {
	shown, refused := credentialsOf(r)
	if refused != nil {
		refuse(w, http.StatusUnauthorized, refused)
		return
	}
	l := &stompLink{}
	m := &stompMember{a.stomp.Session(l, stomp.Client{Remote: r.RemoteAddr, Shown: func() core.Credentials { return shown }})}
	defer m.cut()
	if !a.admit(w, m, r.RemoteAddr) {
		return
	}
	defer a.dismiss(m, r.RemoteAddr)
	var gather *gathered
	hijack := &hijacker{w, func(conn net.Conn) net.Conn { gather = newGathered(conn); return gather }, nil}
	ws, err := a.upgrade(hijack, r, protocol)
	if err != nil {
		return // answered by the upgrader
	}
	if l.open(ws, gather, a.ping) {
		m.session.Serve()
	}
}

// stompMember is a session as the adapter sees it.
type stompMember struct{ session *stomp.Session }

func (m *stompMember) drain(limit context.Context) { m.session.Drain(limit) }
func (m *stompMember) cut()                        { m.session.Cut() }

// stompLink is the WebSocket of a session. It implements stomp.Link.
type stompLink struct {
	pulse
	socket *gathered // set by open
	r      io.Reader // the message that is being read, nil for none; owned by the reader
}

func (l *stompLink) open(ws *websocket.Conn, s *gathered, every time.Duration) bool {
	l.socket = s
	ws.SetPingHandler(func(payload string) error { return l.control(ws, websocket.PongMessage, []byte(payload)) })
	ws.SetCloseHandler(func(code int, _ string) error {
		_ = l.control(ws, websocket.CloseMessage, websocket.FormatCloseMessage(code, "")) // a client that has gone needs no answer
		return nil
	})
	return l.begin(ws, every, l.Cut)
}

// control writes a control frame at once.
func (l *stompLink) control(ws *websocket.Conn, kind int, payload []byte) error {
	err := ws.WriteControl(kind, payload, time.Now().Add(writeTimeout))
	if errors.Is(err, websocket.ErrCloseSent) {
		return nil
	}
	return errors.Join(err, l.socket.flush())
}

// Read implements io.Reader.
func (l *stompLink) Read(p []byte) (int, error) {
	for {
		l.alive()
		if l.r == nil {
			_, r, err := l.ws.NextReader()
			if err != nil {
				return 0, l.ended(err)
			}
			l.r = r
		}
		n, err := l.r.Read(p)
		if errors.Is(err, io.EOF) {
			l.r, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// ended is how a session hears of the end of its WebSocket.
func (l *stompLink) ended(err error) error {
	if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived) {
		return io.EOF
	}
	return err
}

// WriteFrame implements stomp.Link.
func (l *stompLink) WriteFrame(b []byte) error {
	kind := websocket.BinaryMessage
	if utf8.Valid(b) {
		kind = websocket.TextMessage
	}
	return l.ws.WriteMessage(kind, b)
}

// Flush implements stomp.Link.
func (l *stompLink) Flush() error { return l.socket.flush() }

// Finish implements stomp.Link.
func (l *stompLink) Finish(away bool) error {
	code, reason := websocket.CloseNormalClosure, ""
	if away {
		code, reason = websocket.CloseGoingAway, "draining"
	}
	err := l.control(l.ws, websocket.CloseMessage, websocket.FormatCloseMessage(code, reason))
	l.leave(closeGrace)
	return err
}

// Cut implements stomp.Link.
func (l *stompLink) Cut() { l.end() }
