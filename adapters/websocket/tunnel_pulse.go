package websocket

import (
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// pulse looks after the life of a WebSocket that carries another protocol: it sends pings, and ends the reader of a client that shows no sign of life for two of them.
type pulse struct {
	ws *websocket.Conn // set by begin, immutable afterwards

	mu      sync.Mutex // guards the rest
	every   time.Duration
	timer   *time.Timer
	lost    func() // a ping could not be written
	leaving bool   // the read deadline is no longer prolonged
	gone    bool   // ended, perhaps before it began
}

// begin takes the WebSocket; false: it has been ended meanwhile, and the WebSocket is closed.
func (p *pulse) begin(ws *websocket.Conn, every time.Duration, lost func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		_ = ws.Close() // nobody is there to be told
		return false
	}
	p.ws, p.every, p.lost = ws, every, lost
	ws.SetPongHandler(func(string) error { p.alive(); return nil })
	p.timer = time.AfterFunc(every, p.ping)
	return true
}

// end closes the WebSocket. It may be called more than once.
func (p *pulse) end() {
	p.mu.Lock()
	p.gone = true
	if p.timer != nil {
		p.timer.Stop()
	}
	ws := p.ws
	p.mu.Unlock()
	if ws != nil {
		_ = ws.Close() // nobody is there to be told
	}
}

// ping asks for a sign of life, and again after a while.
func (p *pulse) ping() {
	err := p.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout))
	if err != nil && !errors.Is(err, websocket.ErrCloseSent) {
		p.lost()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		p.timer.Reset(p.every)
	}
}

// alive gives the client two pings' time for the next sign of life.
func (p *pulse) alive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.leaving {
		_ = p.ws.SetReadDeadline(time.Now().Add(2*p.every + p.every/2)) // fails on a closed connection only: the next read tells
	}
}

// leave ends the reader after d at the latest.
func (p *pulse) leave(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaving = true
	_ = p.ws.SetReadDeadline(time.Now().Add(d)) // fails on a closed connection only: the reader has ended
}
