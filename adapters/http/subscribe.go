package httpapi

import (
	"context"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"portico/core"

	"github.com/gin-gonic/gin"
)

const (
	maxSubjects = 64               // subjects of one request
	keepAlive   = 15 * time.Second // a comment is sent when nothing else was for so long
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

// dropped tells a subscriber how many messages it has missed here.
type dropped struct {
	Messages int `json:"messages"`
}

// subscribe: GET /v1/subscribe?subject=a.>&subject=b&group=g, answered as server-sent events or NDJSON until the client goes, does not keep up, or the gateway stops. The answer's header is sent
// when the subscriptions are there. With ?stream= it is what that stream keeps of those subjects, and can be resumed: see follow.
func (a *Adapter) subscribe(c *gin.Context) {
	if c.Query("stream") != "" {
		a.subscribeStream(c)
		return
	}
	subjects := c.QueryArray("subject")
	if len(subjects) == 0 || len(subjects) > maxSubjects {
		a.fail(c, badField("query.subject", "1 to "+strconv.Itoa(maxSubjects)+" subjects, as in ?subject=orders.>", strconv.Itoa(len(subjects))))
		return
	}
	out := newOutbound(slowPolicy(c.DefaultQuery("slow", string(slowClose))))
	subs, err := a.listen(busOf(c), subjects, c.Query("group"), out)
	if err != nil {
		a.fail(c, err)
		return
	}
	s := a.newEventStream(c, "message")
	a.run(c, s, func(ctx context.Context) error {
		defer subs.end()
		if err := s.flush(); err != nil {
			return err
		}
		return a.pump(ctx, s, out)
	})
}

// subscriptions are those of one request.
type subscriptions []*core.Subscription

func (l subscriptions) end() {
	for _, s := range l {
		s.Unsubscribe()
	}
}

// listen subscribes to all subjects, or to none.
func (a *Adapter) listen(b *core.Bus, subjects []string, group string, out *outbound) (subscriptions, error) {
	var all subscriptions
	for _, subject := range subjects {
		s, err := b.Subscribe(subject, group, func(m *core.Message) { out.push(a.frames.of(m)) })
		if err != nil {
			all.end()
			return nil, err
		}
		s.OnRefused(out.refuse)
		all = append(all, s)
	}
	return all, nil
}

// subscribeStream is follow under the name of the stream in the query.
func (a *Adapter) subscribeStream(c *gin.Context) {
	for _, other := range []string{"group", "slow"} {
		if _, there := c.GetQuery(other); there {
			a.fail(c, badField("query."+other, "none, because stream is there", c.Query(other)))
			return
		}
	}
	c.Params = append(c.Params, gin.Param{Key: "stream", Value: c.Query("stream")})
	a.follow(c)
}

// pump writes what comes until ctx ends; what has come until then is written, too.
func (a *Adapter) pump(ctx context.Context, s *eventStream, out *outbound) error {
	for {
		select {
		case <-out.wake:
			t := out.take()
			if err := a.deliver(s, out.slow, t); err != nil {
				return err
			}
			if t.refused != nil {
				return t.refused
			}
			if t.full {
				return core.Errorf(core.CodeSlowConsumer, "more than %d messages or %d bytes were waiting", queueFrames, queueBytes)
			}
		case <-ctx.Done():
			return a.deliver(s, out.slow, out.take())
		}
	}
}

// deliver writes a batch, and where messages are missing how many.
func (a *Adapter) deliver(s *eventStream, slow slowPolicy, t taken) error {
	tell := func() error { return s.event("", "dropped", dropped{t.dropped}) }
	if t.dropped > 0 && slow == slowDropOldest {
		if err := tell(); err != nil {
			return err
		}
	}
	if err := s.frames(t.frames, &a.buffers); err != nil {
		return err
	}
	for _, x := range t.frames {
		a.metrics.Out.Inc()
		a.metrics.BytesOut.Add(float64(len(x.message.Data)))
		a.frames.forget(x)
	}
	if t.dropped > 0 && slow == slowDropNewest {
		if err := tell(); err != nil {
			return err
		}
	}
	return s.flush()
}

// frames writes messages that are encoded already, in as few writes as eventBatch allows. A stream needs a buffer for them only while it writes.
func (s *eventStream) frames(all []*frame, buffers *sync.Pool) error {
	if len(all) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return s.gone()
	}
	if err := s.write(); err != nil { // what came before
		return err
	}
	buffer, ok := buffers.Get().(*[]byte)
	if !ok {
		buffer = new([]byte)
	}
	b := (*buffer)[:0]
	for i, x := range all {
		b = append(b, s.encoded(x)...)
		if len(b) < eventBatch && i < len(all)-1 {
			continue
		}
		if err := s.send(b); err != nil {
			return err
		}
		b = b[:0]
	}
	if cap(b) <= 2*eventBatch {
		*buffer = b
		buffers.Put(buffer)
	}
	return nil
}
