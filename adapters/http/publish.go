package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"portico/core"

	"github.com/gin-gonic/gin"
)

const (
	defaultWait = 5 * time.Second // of a request that names none
	maxWait     = 5 * time.Minute

	// keepPatience is how long queues may take to keep a message: a memory queue that waits for memory takes longer. Then the answer is 504, and the message may be kept yet.
	keepPatience = 30 * time.Second
)

// receipt is the answer to a message that was taken.
type receipt struct {
	Queues    int    `json:"queues" doc:"Queues that keep it"`
	Live      bool   `json:"live" doc:"Somebody was listening"`
	Stream    string `json:"stream,omitempty" doc:"The stream that keeps it"`
	Sequence  uint64 `json:"sequence,omitempty" doc:"Its number in that stream"`
	Duplicate bool   `json:"duplicate,omitempty" doc:"It had been kept before, under the same key"`
}

// receiptOf is what core says of a message that was taken.
func receiptOf(r core.Receipt) receipt {
	return receipt{r.Queues, r.Live, r.Stream, r.Sequence, r.Duplicate}
}

// write answers with the receipt. The common ones are written by hand: a publish is the one thing at this door that is done very often.
func (r receipt) write(c *gin.Context, status int) {
	if r.Stream != "" || r.Duplicate {
		c.JSON(status, r)
		return
	}
	b := strconv.AppendInt(append(make([]byte, 0, 64), `{"queues":`...), int64(r.Queues), 10)
	b = append(strconv.AppendBool(append(b, `,"live":`...), r.Live), '}')
	c.Data(status, "application/json; charset=utf-8", b)
}

// kept tells whether a message is kept somewhere.
func (r receipt) kept() bool { return r.Queues > 0 || r.Stream != "" || r.Duplicate }

const (
	headerIdempotency = "Idempotency-Key"
	headerMsgID       = "Nats-Msg-Id" // what it is called on the bus
	maxKey            = 255           // bytes
)

// setKey makes the request's idempotency key the message's.
func setKey(h core.Header, values []string) error {
	switch {
	case len(values) == 0:
		return nil
	case len(values) > 1:
		return badField("header."+headerIdempotency, "one value", strconv.Itoa(len(values))+" values")
	case values[0] == "" || len(values[0]) > maxKey || !plain(values[0]):
		return badField("header."+headerIdempotency, "text of 1 to "+strconv.Itoa(maxKey)+" bytes", values[0])
	}
	h[headerMsgID] = values
	return nil
}

// message makes a Message of the request: raw body, mapped headers. release as for readBody.
func (a *Adapter) message(c *gin.Context, subject string) (m *core.Message, release func(), err error) {
	h, err := messageHeader(c.Request.Header)
	if err != nil {
		return nil, nil, err
	}
	body, release, err := a.readBody(c, a.maxBody)
	if err != nil {
		return nil, nil, err
	}
	return &core.Message{Subject: subject, Reply: c.Query("reply"), Header: h, Data: body}, release, nil
}

// keyed is message with the request's idempotency key.
func (a *Adapter) keyed(c *gin.Context, subject string) (m *core.Message, release func(), err error) {
	if m, release, err = a.message(c, subject); err != nil {
		return nil, nil, err
	}
	if err := setKey(m.Header, c.Request.Header[headerIdempotency]); err != nil {
		release()
		return nil, nil, err
	}
	return m, release, nil
}

// publish: POST /v1/publish/{subject}?reply=… . 200 when at least one queue or stream keeps the message, else 202: it was shown to
// whoever listened, and nothing keeps it.
func (a *Adapter) publish(c *gin.Context) {
	m, release, err := a.keyed(c, c.Param("subject"))
	if err != nil {
		a.fail(c, err)
		return
	}
	defer release()
	start := time.Now()
	told, err := publishAndWait(c, m)
	if err != nil {
		a.fail(c, err)
		return
	}
	a.took(m, start)
	r := receiptOf(told)
	status := http.StatusAccepted
	if r.kept() {
		status = http.StatusOK
	}
	r.write(c, status)
}

// publishAndWait publishes and waits for keepPatience. What nobody has to keep is answered at once, and needs no timer.
func publishAndWait(c *gin.Context, m *core.Message) (core.Receipt, error) {
	type outcome struct {
		receipt core.Receipt
		err     error
	}
	answered := make(chan outcome, 1)
	busOf(c).PublishAsync(m, func(r core.Receipt, err error) { answered <- outcome{r, err} })
	select {
	case o := <-answered:
		return o.receipt, o.err
	default:
	}
	timer := time.NewTimer(keepPatience)
	defer timer.Stop()
	select {
	case o := <-answered:
		return o.receipt, o.err
	case <-timer.C:
		return core.Receipt{}, context.DeadlineExceeded
	case <-c.Request.Context().Done():
		return core.Receipt{}, c.Request.Context().Err()
	}
}

// request: POST /v1/request/{subject}?timeout=2s (or Prefer: wait=2). The answer's payload, content type and headers come
// back as they are.
func (a *Adapter) request(c *gin.Context) {
	wait, preferred, err := requestWait(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	m, release, err := a.message(c, c.Param("subject"))
	if err != nil {
		a.fail(c, err)
		return
	}
	defer release()
	m.Reply = ""
	ctx, cancel := context.WithTimeout(c.Request.Context(), wait)
	defer cancel()
	a.metrics.In.Inc()
	a.metrics.BytesIn.Add(float64(len(m.Data)))
	answer, err := busOf(c).Request(ctx, m)
	if err != nil {
		a.fail(c, err)
		return
	}
	if preferred {
		c.Header("Preference-Applied", "wait="+strconv.Itoa(int(wait/time.Second)))
	}
	a.answerWith(c, answer)
}

// answerWith answers with one message, as it is or in its JSON form.
func (a *Adapter) answerWith(c *gin.Context, m *core.Message) {
	if !wants(c, messageType) {
		a.raw(c, m)
		return
	}
	a.metrics.Out.Inc()
	a.metrics.BytesOut.Add(float64(len(m.Data)))
	a.envelope(c, eventOf(m))
}

// envelope answers with the JSON form of one message.
func (a *Adapter) envelope(c *gin.Context, message any) {
	body, err := json.Marshal(message)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.Data(http.StatusOK, messageType, append(body, '\n'))
}

// raw answers with one message: its payload is the body, or it is an event where the client wants that.
func (a *Adapter) raw(c *gin.Context, m *core.Message) {
	if wants(c, eventType) {
		a.asEvent(c, m)
		return
	}
	h := c.Writer.Header()
	setHeader(h, m.Header)
	contentType := h.Get("Content-Type")
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	a.metrics.Out.Inc()
	a.metrics.BytesOut.Add(float64(len(m.Data)))
	c.Data(http.StatusOK, contentType, m.Data)
}

// took counts a message that was taken.
func (a *Adapter) took(m *core.Message, start time.Time) {
	a.metrics.In.Inc()
	a.metrics.BytesIn.Add(float64(len(m.Data)))
	a.metrics.PublishSeconds.Observe(time.Since(start).Seconds())
}

// requestWait reads how long to wait for an answer: ?timeout=, else Prefer: wait= [RFC 7240 4.3], else defaultWait.
func requestWait(c *gin.Context) (wait time.Duration, preferred bool, err error) {
	if c.Query("timeout") != "" {
		wait, err = duration(c, "timeout", 0, time.Millisecond, maxWait)
		return wait, false, err
	}
	for _, header := range c.Request.Header.Values("Prefer") {
		for preference := range strings.SplitSeq(header, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			n, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`))
			if err != nil || n < 1 || n > int(maxWait/time.Second) {
				return 0, false, badField("header.Prefer", fmt.Sprintf("wait=N with 1 to %d seconds", int(maxWait/time.Second)), header)
			}
			return time.Duration(n) * time.Second, true, nil
		}
	}
	return defaultWait, false, nil
}

// duration reads a query parameter such as 2s or 500ms; absent is fallback.
func duration(c *gin.Context, name string, fallback, least, most time.Duration) (time.Duration, error) {
	text, ok := c.GetQuery(name)
	if !ok {
		return fallback, nil
	}
	return parseDuration("query."+name, text, least, most)
}

// parseDuration reads a duration; name is its field in a problem.
func parseDuration(name, text string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		return 0, badField(name, fmt.Sprintf("a duration from %s to %s, such as 2s", least, most), text)
	}
	return d, nil
}
