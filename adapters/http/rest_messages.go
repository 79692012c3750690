package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"portico/core"

	"github.com/gin-gonic/gin"
)

const (
	maxRead     = 1000 // messages of one read
	defaultRead = 100
	readBytes   = 4 << 20 // bytes of payload of one read, or a single message
)

// stored is a message with its place in a stream, as clients see it.
type stored struct {
	Sequence uint64    `json:"sequence" doc:"Its place in the stream"`
	Time     time.Time `json:"time" doc:"When it was stored"`
	event
}

func storedOf(m *core.StoredMessage) stored {
	return stored{Sequence: m.Sequence, Time: m.Time, event: eventOf(&m.Message)}
}

// storedList is the answer to a read.
type storedList struct {
	Messages []stored `json:"messages"`
	Next     uint64   `json:"next" doc:"The from of the read that goes on here"`
}

// missing tells a follower what it cannot see any more.
type missing struct {
	From uint64 `json:"from" doc:"The first sequence number that is missing"`
	To   uint64 `json:"to" doc:"The last one"`
}

// readOptions are what read and follow have in common.
func readOptions(c *gin.Context) (o core.ReadOptions, err error) {
	o = core.ReadOptions{From: whole(c, "from", 0), Subjects: c.QueryArray("subject"), MaxBytes: readBytes}
	o.Limit = int(whole(c, "limit", defaultRead))
	if len(o.Subjects) > maxSubjects {
		return o, badField("query.subject", "at most "+strconv.Itoa(maxSubjects), strconv.Itoa(len(o.Subjects)))
	}
	if o.Since, err = moment(c, "since"); err == nil && o.From > 0 && !o.Since.IsZero() {
		err = badField("query.since", "none, because from is there", c.Query("since"))
	}
	return o, err
}

// readMessages: GET /v1/streams/{stream}/messages.
func (a *Adapter) readMessages(c *gin.Context) {
	if c.Request.URL.Query().Has("last_for") {
		a.lastMessage(c)
		return
	}
	o, err := readOptions(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	messages, next, err := busOf(c).ReadStream(c.Request.Context(), c.Param("stream"), o)
	if err != nil {
		a.fail(c, err)
		return
	}
	a.told(c, messages, next)
}

// lastMessage answers with the newest message of a subject, as a read of one.
func (a *Adapter) lastMessage(c *gin.Context) {
	for _, other := range []string{"from", "since", "subject", "limit"} {
		if c.Request.URL.Query().Has(other) {
			a.fail(c, badField("query."+other, "none, because last_for is there", c.Query(other)))
			return
		}
	}
	m, err := busOf(c).LastStreamMessage(c.Request.Context(), c.Param("stream"), c.Query("last_for"))
	switch {
	case err != nil:
		a.fail(c, err)
	case wants(c, "application/octet-stream"):
		a.rawStored(c, &m)
	default:
		a.told(c, []core.StoredMessage{m}, m.Sequence+1)
	}
}

// told writes messages as JSON or NDJSON, one by one: encoding needs memory for one at a time.
func (a *Adapter) told(c *gin.Context, messages []core.StoredMessage, next uint64) {
	for i := range messages {
		a.metrics.Out.Inc()
		a.metrics.BytesOut.Add(float64(len(messages[i].Data)))
	}
	each := func(i int) any { return storedOf(&messages[i]) }
	if wantsLines(c) {
		c.Header("Portico-Next", strconv.FormatUint(next, 10))
		a.cut(c, writeLines(c, len(messages), each))
		return
	}
	a.cut(c, writeArray(c, "messages", len(messages), each, `,"next":`+strconv.FormatUint(next, 10)))
}

// cut notes that an answer could not be written to its end. The connection is over, and the client sees that something is missing.
func (a *Adapter) cut(c *gin.Context, err error) {
	if err != nil {
		a.log.Debug("an answer was cut", "door", door, "remote", c.Request.RemoteAddr, "path", c.Request.URL.Path, "err", err)
	}
}

// writeLines writes n values, each on a line of its own.
func writeLines(c *gin.Context, n int, value func(i int) any) error {
	c.Header("Content-Type", "application/x-ndjson")
	c.Status(http.StatusOK)
	c.Writer.WriteHeaderNow()
	enc := json.NewEncoder(c.Writer)
	enc.SetEscapeHTML(false)
	for i := range n {
		if err := enc.Encode(value(i)); err != nil {
			return err
		}
	}
	return nil
}

// writeArray writes {"name":[n values]tail}.
func writeArray(c *gin.Context, name string, n int, value func(i int) any, tail string) error {
	c.Header("Content-Type", "application/json; charset=utf-8")
	c.Status(http.StatusOK)
	if _, err := io.WriteString(c.Writer, `{"`+name+`":[`); err != nil {
		return err
	}
	enc := json.NewEncoder(c.Writer)
	enc.SetEscapeHTML(false)
	for i := range n {
		if i > 0 {
			if _, err := io.WriteString(c.Writer, ","); err != nil {
				return err
			}
		}
		if err := enc.Encode(value(i)); err != nil {
			return err
		}
	}
	_, err := io.WriteString(c.Writer, "]"+tail+"}\n")
	return err
}

// getMessage: GET /v1/streams/{stream}/messages/{sequence}.
func (a *Adapter) getMessage(c *gin.Context) {
	sequence, err := position(c, "sequence")
	if err != nil {
		a.fail(c, err)
		return
	}
	m, err := busOf(c).StreamMessage(c.Request.Context(), c.Param("stream"), sequence)
	switch {
	case err != nil:
		a.fail(c, err)
	case wants(c, "application/octet-stream"):
		a.rawStored(c, &m)
	default:
		a.metrics.Out.Inc()
		a.metrics.BytesOut.Add(float64(len(m.Data)))
		c.PureJSON(http.StatusOK, storedOf(&m))
	}
}

// rawStored answers with one message: its payload is the body.
func (a *Adapter) rawStored(c *gin.Context, m *core.StoredMessage) {
	setPlace(c, m)
	a.raw(c, &m.Message)
}

// setPlace tells where a message is in headers.
func setPlace(c *gin.Context, m *core.StoredMessage) {
	c.Header("Portico-Sequence", strconv.FormatUint(m.Sequence, 10))
	c.Header("Portico-Time", m.Time.UTC().Format(time.RFC3339Nano))
	if carriable(m.Subject) {
		c.Header("Portico-Subject", m.Subject)
	}
}

// deleteMessage: DELETE /v1/streams/{stream}/messages/{sequence}.
func (a *Adapter) deleteMessage(c *gin.Context) {
	sequence, err := position(c, "sequence")
	if err == nil {
		err = busOf(c).DeleteStreamMessage(c.Request.Context(), c.Param("stream"), sequence)
	}
	a.done(c, err)
}

// follow: GET /v1/streams/{stream}/follow. It goes on behind Last-Event-ID, else from ?from= or ?since=, else with what comes from now on. The place where that is goes out first, so that a client
// that loses its connection before the first message misses nothing either.
func (a *Adapter) follow(c *gin.Context) {
	o, err := readOptions(c)
	if err == nil {
		err = a.resumeAt(c, &o)
	}
	if err != nil {
		a.fail(c, err)
		return
	}
	s := a.newEventStream(c, "message")
	bus, stream := busOf(c), c.Param("stream")
	a.run(c, s, func(ctx context.Context) error {
		if o.From > 0 {
			if err := s.place(sequenceID(o.From - 1)); err != nil {
				return err
			}
		}
		return bus.FollowStream(ctx, stream, o,
			func(batch []core.StoredMessage) error { return a.tell(s, batch) },
			func(from, to uint64) error {
				if err := s.event(sequenceID(to), "gap", missing{from, to}); err != nil {
					return err
				}
				return s.flush()
			})
	})
}

// resumeAt finds where a follower begins.
func (a *Adapter) resumeAt(c *gin.Context, o *core.ReadOptions) error {
	seen, err := resumed(c)
	switch {
	case err != nil:
		return err
	case c.GetHeader("Last-Event-ID") != "":
		o.From, o.Since = seen+1, time.Time{}
		return nil
	case o.From > 0 || !o.Since.IsZero():
		return nil
	}
	info, err := busOf(c).Stream(c.Request.Context(), c.Param("stream"))
	switch {
	case err == nil:
		o.From = info.LastSequence + 1
	case core.AsError(err).Code == core.CodePermissionDenied:
		return nil // perhaps it may read all the same, and has no place until its first message
	}
	return err
}

func sequenceID(n uint64) string { return strconv.FormatUint(n, 10) }

// tell sends a batch to a follower.
func (a *Adapter) tell(s *eventStream, batch []core.StoredMessage) error {
	for i := range batch {
		m := &batch[i]
		if err := s.event(sequenceID(m.Sequence), "message", s.stored(m)); err != nil {
			return err
		}
		a.metrics.Out.Inc()
		a.metrics.BytesOut.Add(float64(len(m.Data)))
	}
	return s.flush()
}
