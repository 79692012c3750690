package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"portico/core"
	"portico/core/queue"

	"github.com/gin-gonic/gin"
)

const (
	maxFetch     = 1000                  // messages of one fetch, tokens of one settlement
	fetchBytes   = 8 << 20               // a fetch is full when it has so many bytes, whatever its max
	defaultLease = 30 * time.Second      // of a fetch that names none
	minLease     = 10 * time.Millisecond // what a lease may be …
	maxLease     = 12 * time.Hour
	linger       = 5 * time.Millisecond // when the first messages are there, so long for those right behind them
	readBack     = time.Second          // a fetch that does not wait gives a backlog so long to be read from disk
)

// pull gathers the deliveries of one fetch.
type pull struct {
	wake chan struct{} // immutable; capacity 1

	mu    sync.Mutex // guards the rest
	got   []queue.Delivery
	bytes int
	gone  error
}

func (p *pull) deliver(batch []queue.Delivery) {
	p.mu.Lock()
	for _, d := range batch {
		p.got = append(p.got, d)
		p.bytes += len(d.Record)
	}
	p.mu.Unlock()
	p.signal()
}

func (p *pull) room() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes < fetchBytes
}

func (p *pull) end(reason error) {
	p.mu.Lock()
	p.gone = reason
	p.mu.Unlock()
	p.signal()
}

func (p *pull) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// state tells how many are there, and whether no more will come.
func (p *pull) state(limit int) (n int, full bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got), len(p.got) >= limit || p.bytes >= fetchBytes || p.gone != nil
}

// gather returns when it has limit messages, when some came and no more follow, after wait without any, or when ctx ends or stop is closed.
func (p *pull) gather(ctx context.Context, stop <-chan struct{}, limit int, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-p.wake:
			if _, full := p.state(limit); full {
				return
			}
			timer.Reset(linger)
		case <-timer.C:
			return
		case <-stop:
			return
		case <-ctx.Done():
			return
		}
	}
}

// order is what a fetch asks for.
type order struct {
	max      int
	wait     time.Duration
	lease    time.Duration
	priority int  // among the queue's consumers
	raw      bool // one message, as the body
	envelope bool // one message, in its JSON form
}

func readOrder(c *gin.Context) (o order, err error) {
	o = order{max: 10, lease: defaultLease}
	o.raw = c.Query("raw") == "1" || wants(c, "application/octet-stream")
	o.envelope = !o.raw && wants(c, messageType)
	if text, ok := c.GetQuery("max"); ok {
		o.max, err = strconv.Atoi(text)
		if err != nil || o.max < 1 || o.max > maxFetch {
			return o, badField("query.max", "a whole number from 1 to "+strconv.Itoa(maxFetch), text)
		}
	}
	if o.raw || o.envelope {
		o.max = 1
	}
	if text, ok := c.GetQuery("priority"); ok {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return o, badField("query.priority", "a whole number of 32 bits", text)
		}
		o.priority = int(n)
	}
	if o.wait, err = duration(c, "wait", 0, 0, maxWait); err != nil {
		return o, err
	}
	o.lease, err = duration(c, "lease", defaultLease, minLease, maxLease)
	return o, err
}

// fetch: POST /v1/queues/{q}/fetch?max=10&wait=5s&lease=30s&priority=0. It answers as soon as there is something, or after wait with
// nothing. What it hands over is held until it is settled by its token or the lease runs out; what could not be handed over,
// because the client went meanwhile, goes back at once.
func (a *Adapter) fetch(c *gin.Context, q *core.Queue) {
	o, err := readOrder(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	// net/http notices that the client has gone only when the request's body has been read.
	_, release, err := a.readBody(c, maxControl)
	if err != nil {
		a.fail(c, err)
		return
	}
	release()
	p := &pull{wake: make(chan struct{}, 1)}
	consumer, err := q.Consume(queue.ConsumerConfig{
		Deliver: p.deliver, Room: p.room, Gone: p.end, Lease: o.lease, Credit: o.max, Priority: o.priority,
	})
	if err != nil {
		a.fail(c, err)
		return
	}
	p.gather(c.Request.Context(), a.draining, o.max, patience(q, o.wait))
	consumer.Cancel()
	if c.Request.Context().Err() != nil {
		consumer.Close()
		return
	}
	if err := a.handOver(c, q, o, p); err != nil {
		consumer.Close()
		a.fail(c, err)
	}
}

// patience is wait, or long enough to read a backlog from disk when the client does not want to wait at all.
func patience(q *core.Queue, wait time.Duration) time.Duration {
	if wait > 0 {
		return wait
	}
	if stats, err := q.Stats(); err == nil && stats.Ready > 0 {
		return readBack
	}
	return linger
}

// handOver writes the answer. After an error nothing counts as handed over.
func (a *Adapter) handOver(c *gin.Context, q *core.Queue, o order, p *pull) error {
	if len(p.got) == 0 && p.gone != nil {
		return p.gone
	}
	incarnation := a.sealer.incarnation(q)
	messages := make([]fetched, 0, len(p.got))
	for _, d := range p.got {
		m, err := a.gateway.Message(d.Record)
		if err != nil {
			a.log.Error("a record cannot be read and is rejected", "door", door, "queue", q.Config().Name, "seq", d.Seq, "err", err)
			q.Settle(queue.Reject, []queue.Handle{d.Handle}, nil)
			continue
		}
		messages = append(messages, fetched{a.sealer.seal(incarnation, d.Handle), d.Attempt, d.Redelivered, eventOf(m), m})
		if d.Redelivered {
			a.metrics.Redeliveries.Inc()
		}
	}
	a.leave(c, q)
	switch {
	case !o.raw && !o.envelope && wantsEvents(c):
		return a.writeEvents(c, messages)
	case !o.raw && !o.envelope:
		return a.writeFetched(c, messages)
	case len(messages) == 0:
		c.Status(http.StatusNoContent)
		c.Writer.WriteHeaderNow()
	case o.envelope:
		a.metrics.Out.Inc()
		a.metrics.BytesOut.Add(float64(len(messages[0].message.Data)))
		a.envelope(c, messages[0])
	default:
		a.writeRaw(c, messages[0])
	}
	return nil
}

// leave ends the fetch's part in its queue before the client is told: an auto-delete queue that it was the last consumer of is gone then, and so is its incarnation.
func (a *Adapter) leave(c *gin.Context, q *core.Queue) {
	busOf(c).DeleteIdle(q)
	a.sealer.forget(busOf(c), q.Name())
}

// Envelope is event under a name that reflection shows where it is embedded.
type Envelope = event

// fetched is a message of a fetch.
type fetched struct {
	Token       string `json:"token" doc:"What settles it"`
	Attempt     uint32 `json:"attempt" doc:"How often it has been delivered, this time included"`
	Redelivered bool   `json:"redelivered" doc:"Somebody may have seen it before"`
	Envelope
	message *core.Message
}

// fetchedList is the JSON form of a fetch's answer.
type fetchedList struct {
	Messages []fetched `json:"messages"`
}

func exampleFetched() any {
	text := "first job"
	e := event{Headers: map[string]any{"Content-Type": "text/plain"}, Data: &text}
	return fetchedList{[]fetched{{Token: "AAAAAAAAAAEAAAAAAAAAAQAAAAGlDe6HTaVnd2lpKYsXVr0i", Attempt: 1, Envelope: e}}}
}

// writeFetched writes the JSON form, message by message: encoding needs memory for one at a time.
func (a *Adapter) writeFetched(c *gin.Context, messages []fetched) error {
	c.Header("Content-Type", "application/json; charset=utf-8")
	c.Status(http.StatusOK)
	if _, err := io.WriteString(c.Writer, `{"messages":[`); err != nil {
		return err
	}
	enc := json.NewEncoder(c.Writer)
	enc.SetEscapeHTML(false)
	for i, m := range messages {
		if i > 0 {
			if _, err := io.WriteString(c.Writer, ","); err != nil {
				return err
			}
		}
		if err := enc.Encode(m); err != nil {
			return err
		}
		a.metrics.Out.Inc()
		a.metrics.BytesOut.Add(float64(len(m.message.Data)))
	}
	_, err := io.WriteString(c.Writer, "]}\n")
	return err
}

// writeRaw writes one message as the body, with what else there is to say in headers.
func (a *Adapter) writeRaw(c *gin.Context, m fetched) {
	c.Header("Portico-Token", m.Token)
	c.Header("Portico-Attempt", strconv.FormatUint(uint64(m.Attempt), 10))
	c.Header("Portico-Redelivered", strconv.FormatBool(m.Redelivered))
	if m.Subject != "" && carriable(m.Subject) {
		c.Header("Portico-Subject", m.Subject)
	}
	if m.Reply != "" && carriable(m.Reply) {
		c.Header("Portico-Reply", m.Reply)
	}
	a.raw(c, m.message)
}
