package httpapi

import (
	"context"
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
	Queues int  `json:"queues"`
	Live   bool `json:"live"`
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

// publish: POST /v1/publish/{subject}?reply=… . 200 when at least one queue keeps the message, else 202: it was shown to
// whoever listened, and nothing keeps it.
func (a *Adapter) publish(c *gin.Context) {
	m, release, err := a.message(c, c.Param("subject"))
	if err != nil {
		a.fail(c, err)
		return
	}
	defer release()
	start := time.Now()
	ctx, cancel := context.WithTimeout(c.Request.Context(), keepPatience)
	defer cancel()
	r, err := busOf(c).Publish(ctx, m)
	if err != nil {
		a.fail(c, err)
		return
	}
	a.took(m, start)
	status := http.StatusAccepted
	if r.Queues > 0 {
		status = http.StatusOK
	}
	c.JSON(status, receipt{r.Queues, r.Live})
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
	a.raw(c, answer)
}

// raw answers with one message: its payload is the body.
func (a *Adapter) raw(c *gin.Context, m *core.Message) {
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
				return 0, false, core.Errorf(core.CodeInvalid, "Prefer: wait=%s is not a number of seconds from 1 to %d", value, int(maxWait/time.Second))
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
	return parseDuration(name, text, least, most)
}

func parseDuration(name, text string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		return 0, core.Errorf(core.CodeInvalid, "%s: %q is not a duration from %s to %s, such as 2s", name, text, least, most)
	}
	return d, nil
}
