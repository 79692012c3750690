package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"
)

// A link is an in-process connection to the embedded server that speaks the client protocol itself. What it does that a client
// library does not: it hands over messages on its reading goroutine, in the order the server sent them whatever subscription they belong to, without a
// goroutine and a queue for each; a reader that falls behind is felt by the server, which slows publishers down, and nothing is dropped in
// between; header blocks go out as they are, so that a status can be sent.
//
// If the server cuts the link (it read too slowly), the link connects again and renews its subscriptions; what was published meanwhile is lost to it, as to any subscriber.
type link struct {
	// immutable
	dial     func() (net.Conn, error)
	greeting string // the CONNECT line
	log      *slog.Logger
	quit     chan struct{} // closed by close
	wake     chan struct{} // the writer has something to do
	over     sync.WaitGroup

	// guarded by mu
	mu      sync.Mutex
	drained *sync.Cond // out has been taken
	conn    net.Conn   // nil while there is none
	out     []byte     // what the writer takes next
	spare   []byte     // the writer's former buffer
	pongs   []chan error
	subs    map[uint64]*linkSub
	lastSub uint64
	closed  bool
}

// linkSub is one subscription of the server.
type linkSub struct {
	id      uint64
	subject string
	group   string
	deliver func(linkMessage)
}

// linkMessage is a message as it came; the slices belong to the receiver.
type linkMessage struct {
	subject string
	reply   string
	header  []byte // the header block, nil if there is none
	data    []byte
}

const (
	// linkBuffer is how many bytes wait for the writer before publishers wait. One message of any size may exceed it.
	linkBuffer = 4 << 20
	// linkBacklog is how many bytes answers, which must not wait, may pile up; beyond it they are dropped.
	linkBacklog = 64 << 20
	// keepBuffer is the largest buffer that an idle link keeps.
	keepBuffer = 256 << 10

	redialDelay = 50 * time.Millisecond
)

var (
	errLinkClosed = errors.New("bus connection closed")
	errLinkLost   = errors.New("bus connection lost")
)

// newLink connects to an account.
func newLink(dial func() (net.Conn, error), account, password string, log *slog.Logger) (*link, error) {
	l := &link{
		dial: dial, log: log, quit: make(chan struct{}), wake: make(chan struct{}, 1), subs: map[uint64]*linkSub{},
		greeting: fmt.Sprintf(`CONNECT {"verbose":false,"pedantic":false,"lang":"portico","version":"1","protocol":1,"headers":true,"no_responders":true,"echo":true,`+
			`"name":%q,"user":%q,"pass":%q}`+"\r\n", "portico "+account, bootPrefix+account, password),
	}
	l.drained = sync.NewCond(&l.mu)
	if err := l.connect(); err != nil {
		return nil, err
	}
	l.over.Go(l.writer)
	return l, nil
}

// connect dials, greets, renews the subscriptions and starts the reader.
func (l *link) connect() error {
	conn, err := l.dial()
	if err != nil {
		return fmt.Errorf("connect to the bus: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		conn.Close()
		return errLinkClosed
	}
	l.conn = conn
	fresh := []byte(l.greeting)
	for _, s := range l.subs {
		fresh = appendSub(fresh, s)
	}
	l.out = append(fresh, l.out...)
	l.over.Go(func() { l.reader(conn) })
	l.kick()
	return nil
}

// kick wakes the writer. The caller holds mu.
func (l *link) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *link) writer() {
	for {
		select {
		case <-l.wake:
		case <-l.quit:
			return
		}
		l.mu.Lock()
		out, conn := l.out, l.conn
		if conn == nil || len(out) == 0 {
			l.mu.Unlock()
			continue
		}
		l.out, l.spare = l.spare[:0], nil
		l.drained.Broadcast()
		l.mu.Unlock()
		if _, err := conn.Write(out); err != nil {
			conn.Close() // the reader notices and connects again
		}
		l.mu.Lock()
		if cap(out) <= keepBuffer {
			l.spare = out[:0]
		}
		l.mu.Unlock()
	}
}

// publish hands one message to the server, in order with the link's other calls. header is a header block or empty. It waits while linkBuffer is full,
// unless it must not; then errLinkLost tells that linkBacklog is full, too.
func (l *link) publish(subject, reply string, header, data []byte, mayWait bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for mayWait && !l.closed && len(l.out) >= linkBuffer {
		l.drained.Wait()
	}
	switch {
	case l.closed:
		return errLinkClosed
	case len(l.out) >= linkBacklog:
		return errLinkLost
	}
	l.out = appendPub(l.out, subject, reply, header, data)
	l.kick()
	return nil
}

func appendPub(dst []byte, subject, reply string, header, data []byte) []byte {
	if len(header) > 0 {
		dst = append(dst, 'H')
	}
	dst = append(dst, "PUB "...)
	dst = append(append(dst, subject...), ' ')
	if reply != "" {
		dst = append(append(dst, reply...), ' ')
	}
	if len(header) > 0 {
		dst = append(strconv.AppendInt(dst, int64(len(header)), 10), ' ')
	}
	dst = append(strconv.AppendInt(dst, int64(len(header)+len(data)), 10), "\r\n"...)
	dst = append(append(dst, header...), data...)
	return append(dst, "\r\n"...)
}

func appendSub(dst []byte, s *linkSub) []byte {
	dst = append(append(append(dst, "SUB "...), s.subject...), ' ')
	if s.group != "" {
		dst = append(append(dst, s.group...), ' ')
	}
	return append(strconv.AppendUint(dst, s.id, 10), "\r\n"...)
}

// subscribe asks the server for subject; deliver is called on the link's reading goroutine and must not block. The subscription
// is in force when a later flush returns.
func (l *link) subscribe(subject, group string, deliver func(linkMessage)) (*linkSub, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errLinkClosed
	}
	l.lastSub++
	s := &linkSub{id: l.lastSub, subject: subject, group: group, deliver: deliver}
	l.subs[s.id] = s
	l.out = appendSub(l.out, s)
	l.kick()
	return s, nil
}

// unsubscribe ends a subscription: nothing that is read later is delivered.
func (l *link) unsubscribe(s *linkSub) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.subs[s.id]; !there || l.closed {
		return
	}
	delete(l.subs, s.id)
	l.out = append(strconv.AppendUint(append(l.out, "UNSUB "...), s.id, 10), "\r\n"...)
	l.kick()
}

// flush returns when the server has seen everything handed over before.
func (l *link) flush(ctx context.Context) error {
	answer := make(chan error, 1)
	l.mu.Lock()
	if l.closed || l.conn == nil {
		l.mu.Unlock()
		return errLinkLost
	}
	l.pongs = append(l.pongs, answer)
	l.out = append(l.out, "PING\r\n"...)
	l.kick()
	l.mu.Unlock()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends the link and waits for its goroutines. It must not be called from deliver.
func (l *link) close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.quit)
		if l.conn != nil {
			l.conn.Close()
		}
		l.drained.Broadcast()
	}
	l.mu.Unlock()
	l.over.Wait()
}
