package httpapi

import (
	"context"
	"math"
	"net/http"
	"time"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// consumerConfig is the body of PUT /v1/streams/{stream}/consumers/{consumer}; what is left out has the default.
type consumerConfig struct {
	Description   string     `json:"description,omitempty" doc:"Free text"`
	Deliver       string     `json:"deliver,omitempty" doc:"Where it begins" enum:"all,new,last,last_per_subject,sequence,time"`
	Sequence      uint64     `json:"sequence,omitempty" doc:"With deliver sequence: the first"`
	Time          *time.Time `json:"time,omitempty" doc:"With deliver time: messages stored then or later"`
	Subjects      []string   `json:"subjects,omitempty" doc:"Patterns, any of which must match; none: all" example:"[\"orders.new\"]"`
	AckWait       millis     `json:"ack_wait,omitempty" doc:"Milliseconds that a fetched message is lent; 0: 30000" minimum:"0" maximum:"315360000000"`
	MaxDeliver    int        `json:"max_deliver,omitempty" doc:"How often a message is lent; 0: no limit" minimum:"0"`
	MaxAckPending int        `json:"max_ack_pending,omitempty" doc:"Lent at once; 0: 1000" minimum:"0"`
	Inactive      millis     `json:"inactive,omitempty" doc:"Milliseconds after which it is deleted when nobody uses it; 0: never" minimum:"0" maximum:"315360000000"`
}

func (s *consumerConfig) config(name string) (core.ConsumerConfig, error) {
	var k checks
	k.text("description", s.Description, maxText)
	k.word("deliver", s.Deliver, "all", "new", "last", "last_per_subject", "sequence", "time")
	k.count("subjects", len(s.Subjects), maxStreamSubjects)
	k.time("ack_wait", s.AckWait)
	k.within("max_deliver", int64(s.MaxDeliver), 0, math.MaxInt32)
	k.within("max_ack_pending", int64(s.MaxAckPending), 0, math.MaxInt32)
	k.time("inactive", s.Inactive)
	if k.err == nil && (s.Deliver == "sequence") != (s.Sequence > 0) {
		k.err = badField("body.sequence", "a sequence number with deliver sequence, none with any other", "")
	}
	if k.err == nil && (s.Deliver == "time") != (s.Time != nil) {
		k.err = badField("body.time", "a time with deliver time, none with any other", "")
	}
	cfg := core.ConsumerConfig{
		Name: name, Description: s.Description, Deliver: s.Deliver, Sequence: s.Sequence, Subjects: s.Subjects, AckWait: s.AckWait.duration(),
		MaxDeliver: s.MaxDeliver, MaxAckPending: s.MaxAckPending, Inactive: s.Inactive.duration(),
	}
	if s.Time != nil {
		cfg.Time = *s.Time
	}
	return cfg, k.err
}

func consumerConfigOf(s core.ConsumerConfig) consumerConfig {
	return consumerConfig{
		Description: s.Description, Deliver: s.Deliver, Sequence: s.Sequence, Time: known(s.Time), Subjects: s.Subjects, AckWait: millisOf(s.AckWait),
		MaxDeliver: s.MaxDeliver, MaxAckPending: s.MaxAckPending, Inactive: millisOf(s.Inactive),
	}
}

// consumerShown is a consumer as it is told to clients.
type consumerShown struct {
	Stream      string         `json:"stream" example:"orders"`
	Name        string         `json:"name" example:"billing"`
	Config      consumerConfig `json:"config"`
	Created     time.Time      `json:"created"`
	Delivered   uint64         `json:"delivered" doc:"The highest sequence number of the stream that was delivered"`
	AckFloor    uint64         `json:"ack_floor" doc:"Everything up to here is settled"`
	AckPending  int            `json:"ack_pending" doc:"Lent now"`
	Redelivered int            `json:"redelivered" doc:"Lent again"`
	Pending     uint64         `json:"pending" doc:"Not delivered yet"`
	PausedUntil *time.Time     `json:"paused_until,omitempty" doc:"No deliveries until then"`
}

func consumerShownOf(s core.ConsumerInfo) consumerShown {
	return consumerShown{
		Stream: s.Stream, Name: s.Config.Name, Config: consumerConfigOf(s.Config), Created: s.Created, Delivered: s.Delivered, AckFloor: s.AckFloor,
		AckPending: s.AckPending, Redelivered: s.Redelivered, Pending: s.Pending, PausedUntil: known(s.PausedUntil),
	}
}

func consumerTag(s core.ConsumerInfo) string { return tagOf(consumerConfigOf(s.Config)) }

// putConsumer: PUT /v1/streams/{stream}/consumers/{consumer}. What is there with other properties is 409: a place in a stream is not moved by the way.
func (a *Adapter) putConsumer(c *gin.Context) {
	var body consumerConfig
	if err := a.readJSON(c, &body); err != nil {
		a.fail(c, err)
		return
	}
	cfg, err := body.config(c.Param("consumer"))
	if err != nil {
		a.fail(c, err)
		return
	}
	bus, stream := busOf(c), c.Param("stream")
	put(a, c, cfg, ensure[core.ConsumerConfig, core.ConsumerInfo, consumerShown]{
		create: func(ctx context.Context, cfg core.ConsumerConfig) (core.ConsumerInfo, bool, error) {
			return bus.CreateConsumer(ctx, stream, cfg)
		},
		find: func(ctx context.Context) (core.ConsumerInfo, error) { return bus.Consumer(ctx, stream, cfg.Name) },
		tag:  consumerTag, show: consumerShownOf,
	})
}

// consumerList is a page of consumers.
type consumerList struct {
	Consumers []consumerShown `json:"consumers"`
	Next      string          `json:"next,omitempty" doc:"The cursor of the next page, if there is one"`
}

// listConsumers: GET /v1/streams/{stream}/consumers.
func (a *Adapter) listConsumers(c *gin.Context) {
	name := func(s core.ConsumerInfo) string { return s.Config.Name }
	page, next, ok := list(a, c, name, consumerShownOf, func(ctx context.Context, after string, limit int) ([]core.ConsumerInfo, error) {
		return busOf(c).Consumers(ctx, c.Param("stream"), after, limit)
	})
	if ok {
		c.PureJSON(http.StatusOK, consumerList{page, next})
	}
}

// getConsumer: GET /v1/streams/{stream}/consumers/{consumer}.
func (a *Adapter) getConsumer(c *gin.Context) {
	info, err := busOf(c).Consumer(c.Request.Context(), c.Param("stream"), c.Param("consumer"))
	showOne(a, c, info, err, consumerTag, consumerShownOf)
}

// deleteConsumer: DELETE /v1/streams/{stream}/consumers/{consumer}.
func (a *Adapter) deleteConsumer(c *gin.Context) {
	bus, stream, name := busOf(c), c.Param("stream"), c.Param("consumer")
	drop(a, c, func(ctx context.Context) (core.ConsumerInfo, error) { return bus.Consumer(ctx, stream, name) }, consumerTag,
		func(ctx context.Context) error { return bus.DeleteConsumer(ctx, stream, name) })
}

// pauseRequest is the body of a pause: one of the two.
type pauseRequest struct {
	Until *time.Time `json:"until,omitempty" doc:"No deliveries until then"`
	For   millis     `json:"for,omitempty" doc:"Milliseconds from now" minimum:"0" maximum:"315360000000" example:"60000"`
}

// pauseConsumer: POST …/pause.
func (a *Adapter) pauseConsumer(c *gin.Context) {
	var body pauseRequest
	err := a.readJSON(c, &body)
	var k checks
	k.time("for", body.For)
	until := time.Now().Add(body.For.duration())
	switch {
	case err != nil:
	case k.err != nil:
		err = k.err
	case (body.Until != nil) == (body.For > 0):
		err = badField("body.until", "either until or for", "")
	case body.Until != nil:
		if until = *body.Until; !until.After(time.Now()) {
			err = badField("body.until", "a time to come", until.Format(time.RFC3339))
		}
	}
	if err != nil {
		a.fail(c, err)
		return
	}
	a.paused(c, until)
}

// resumeConsumer: POST …/resume.
func (a *Adapter) resumeConsumer(c *gin.Context) { a.paused(c, time.Time{}) }

func (a *Adapter) paused(c *gin.Context, until time.Time) {
	info, err := busOf(c).PauseConsumer(c.Request.Context(), c.Param("stream"), c.Param("consumer"), until)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.PureJSON(http.StatusOK, consumerShownOf(info))
}
