package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"portico/core"

	"github.com/gin-gonic/gin"
)

const (
	maxSubjects = 64               // subjects of one request
	keepAlive   = 15 * time.Second // a comment is sent when nothing else was for so long
	queueFrames = 8192             // messages waiting for one client …
	queueBytes  = 8 << 20          // … and their bytes; when full, the client is closed as a slow consumer
)

// event is the JSON form of a message.
type event struct {
	Subject    string         `json:"subject,omitempty"`
	Reply      string         `json:"reply,omitempty"`
	Headers    map[string]any `json:"headers,omitempty"`
	Data       *string        `json:"data,omitempty"`
	DataBase64 []byte         `json:"data_base64,omitempty"` // instead of data when the payload is not UTF-8
}

func eventOf(m *core.Message) event {
	e := event{Subject: m.Subject, Reply: m.Reply, Headers: shown(m.Header)}
	if utf8.Valid(m.Data) {
		text := string(m.Data)
		e.Data = &text
	} else {
		e.DataBase64 = m.Data
	}
	return e
}

// outbound is the one bounded queue between the bus and a client. Messages are shared, not copied, and encoded when they are written.
type outbound struct {
	wake chan struct{} // immutable; capacity 1

	mu    sync.Mutex // guards the rest
	queue []*core.Message
	bytes int
	slow  bool // it was full: what follows is lost, and the client is told
}

// push never blocks.
func (o *outbound) push(m *core.Message) {
	o.mu.Lock()
	if !o.slow && (len(o.queue) >= queueFrames || len(o.queue) > 0 && o.bytes+len(m.Data) > queueBytes) {
		o.slow, o.queue = true, nil
	}
	if !o.slow {
		o.queue = append(o.queue, m)
		o.bytes += len(m.Data)
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbound) take() (queue []*core.Message, slow bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	queue, o.queue, o.bytes = o.queue, nil, 0
	return queue, o.slow
}

// subscribe: GET /v1/subscribe?subject=a.>&subject=b&group=g, answered as server-sent events until the client goes, does
// not keep up, or the gateway stops. The answer's header is sent when the subscriptions are there.
func (a *Adapter) subscribe(c *gin.Context) {
	subjects := c.QueryArray("subject")
	if len(subjects) == 0 || len(subjects) > maxSubjects {
		a.fail(c, core.Errorf(core.CodeInvalid, "name 1 to %d subjects, as in ?subject=orders.>", maxSubjects))
		return
	}
	out := &outbound{wake: make(chan struct{}, 1)}
	for _, subject := range subjects {
		s, err := busOf(c).Subscribe(subject, c.Query("group"), out.push)
		if err != nil {
			a.fail(c, err)
			return
		}
		defer s.Unsubscribe()
	}
	h := c.Writer.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	c.Status(http.StatusOK)
	s := &stream{c: c, rc: http.NewResponseController(c.Writer), adapter: a}
	s.run(out)
}

// stream writes events to one client.
type stream struct {
	adapter *Adapter
	c       *gin.Context
	rc      *http.ResponseController
	buf     bytes.Buffer
}

func (s *stream) run(out *outbound) {
	s.buf.WriteString("retry: 2000\n\n")
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for s.flush() == nil {
		select {
		case <-out.wake:
			queue, slow := out.take()
			if s.messages(queue) != nil {
				return
			}
			if slow {
				s.farewell(core.Errorf(core.CodeSlowConsumer, "more than %d messages or %d bytes were waiting", queueFrames, queueBytes))
				return
			}
		case <-tick.C:
			s.buf.WriteString(": keep-alive\n\n")
		case <-s.adapter.draining:
			if queue, _ := out.take(); s.messages(queue) != nil {
				return
			}
			s.farewell(core.Errorf(core.CodeUnavailable, "the gateway stops"))
			return
		case <-s.c.Request.Context().Done():
			return
		}
	}
}

// messages writes a batch, flushing when much has gathered.
func (s *stream) messages(queue []*core.Message) error {
	for _, m := range queue {
		if err := s.event("message", eventOf(m)); err != nil {
			return err
		}
		s.adapter.metrics.Out.Inc()
		s.adapter.metrics.BytesOut.Add(float64(len(m.Data)))
		if s.buf.Len() < 64<<10 {
			continue
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) event(name string, data any) error {
	s.buf.WriteString("event: " + name + "\ndata: ")
	enc := json.NewEncoder(&s.buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil { // ends with a line feed, and has no other
		return err
	}
	s.buf.WriteByte('\n')
	return nil
}

func (s *stream) farewell(err error) {
	if s.event("error", problemOf(err)) == nil {
		_ = s.flush() // the client may be gone: nothing is left to do for it
	}
}

func (s *stream) flush() error {
	if s.buf.Len() == 0 {
		return nil
	}
	if err := s.rc.SetWriteDeadline(time.Now().Add(s.adapter.writeTimeout)); err != nil {
		return err
	}
	_, err := s.c.Writer.Write(s.buf.Bytes())
	s.buf.Reset()
	if err != nil {
		return err
	}
	return s.rc.Flush()
}
