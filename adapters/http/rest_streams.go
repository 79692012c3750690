package httpapi

import (
	"context"
	"math"
	"net/http"
	"time"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// maxStreamSubjects is how many subjects one stream, consumer or read may name.
const maxStreamSubjects = 1000

// streamConfig is the body of PUT /v1/streams/{stream}; what is left out has the default.
type streamConfig struct {
	Description     string   `json:"description,omitempty" doc:"Free text"`
	Subjects        []string `json:"subjects,omitempty" doc:"Patterns of what it keeps; none: its name" example:"[\"orders.>\"]"`
	Retention       string   `json:"retention,omitempty" doc:"What a message is kept for" enum:"limits,interest,workqueue"`
	Storage         string   `json:"storage,omitempty" doc:"Where it is kept" enum:"file,memory"`
	Discard         string   `json:"discard,omitempty" doc:"What goes at a limit: the oldest messages, or the new one is refused" enum:"old,new"`
	MaxMessages     int64    `json:"max_messages,omitempty" doc:"0: no limit" minimum:"0"`
	MaxPerSubject   int64    `json:"max_per_subject,omitempty" doc:"Messages of one subject; 0: no limit" minimum:"0"`
	MaxBytes        int64    `json:"max_bytes,omitempty" doc:"0: no limit" minimum:"0"`
	MaxMessageSize  int32    `json:"max_message_size,omitempty" doc:"Bytes; 0: the gateway's limit" minimum:"0"`
	MaxAge          millis   `json:"max_age,omitempty" doc:"Milliseconds that a message is kept; 0: for ever" minimum:"0" maximum:"315360000000"`
	DuplicateWindow millis   `json:"duplicate_window,omitempty" doc:"Milliseconds that message ids are remembered; 0: two minutes, or max_age if that is less" minimum:"0" maximum:"315360000000"`
	Replicas        int      `json:"replicas,omitempty" doc:"Copies in a cluster; 0: 1" minimum:"0" maximum:"5"`
}

func (s *streamConfig) config(name string) (core.StreamConfig, error) {
	var k checks
	k.text("description", s.Description, maxText)
	k.count("subjects", len(s.Subjects), maxStreamSubjects)
	k.word("retention", s.Retention, "limits", "interest", "workqueue")
	k.word("storage", s.Storage, "file", "memory")
	k.word("discard", s.Discard, "old", "new")
	k.within("max_messages", s.MaxMessages, 0, math.MaxInt64)
	k.within("max_per_subject", s.MaxPerSubject, 0, math.MaxInt64)
	k.within("max_bytes", s.MaxBytes, 0, math.MaxInt64)
	k.within("max_message_size", int64(s.MaxMessageSize), 0, math.MaxInt32)
	k.time("max_age", s.MaxAge)
	k.time("duplicate_window", s.DuplicateWindow)
	k.within("replicas", int64(s.Replicas), 0, 5)
	return core.StreamConfig{
		Name: name, Description: s.Description, Subjects: s.Subjects, Retention: s.Retention, Storage: s.Storage, Discard: s.Discard,
		MaxMessages: s.MaxMessages, MaxPerSubject: s.MaxPerSubject, MaxBytes: s.MaxBytes, MaxMessageSize: s.MaxMessageSize,
		MaxAge: s.MaxAge.duration(), DuplicateWindow: s.DuplicateWindow.duration(), Replicas: s.Replicas,
	}, k.err
}

func streamConfigOf(s core.StreamConfig) streamConfig {
	return streamConfig{
		Description: s.Description, Subjects: s.Subjects, Retention: s.Retention, Storage: s.Storage, Discard: s.Discard,
		MaxMessages: s.MaxMessages, MaxPerSubject: s.MaxPerSubject, MaxBytes: s.MaxBytes, MaxMessageSize: s.MaxMessageSize,
		MaxAge: millisOf(s.MaxAge), DuplicateWindow: millisOf(s.DuplicateWindow), Replicas: s.Replicas,
	}
}

// streamShown is a stream as it is told to clients. Its config may be put back as it is.
type streamShown struct {
	Name          string       `json:"name" example:"orders"`
	Config        streamConfig `json:"config"`
	Created       time.Time    `json:"created"`
	Messages      uint64       `json:"messages" doc:"How many it holds"`
	Bytes         uint64       `json:"bytes"`
	FirstSequence uint64       `json:"first_sequence" doc:"Of the oldest message; one more than last_sequence when there is none"`
	LastSequence  uint64       `json:"last_sequence" doc:"Of the newest message there ever was; 0: there was none"`
	LastTime      *time.Time   `json:"last_time,omitempty" doc:"When the newest message came"`
	Consumers     int          `json:"consumers"`
	Subjects      uint64       `json:"subjects" doc:"How many different ones its messages have"`
}

func streamShownOf(s core.StreamInfo) streamShown {
	return streamShown{
		Name: s.Config.Name, Config: streamConfigOf(s.Config), Created: s.Created, Messages: s.Messages, Bytes: s.Bytes,
		FirstSequence: s.FirstSequence, LastSequence: s.LastSequence, LastTime: known(s.LastTime), Consumers: s.Consumers, Subjects: s.Subjects,
	}
}

// known is nil for the zero time.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func streamTag(s core.StreamInfo) string { return tagOf(streamConfigOf(s.Config)) }

// putStream: PUT /v1/streams/{stream}.
func (a *Adapter) putStream(c *gin.Context) {
	var body streamConfig
	if err := a.readJSON(c, &body); err != nil {
		a.fail(c, err)
		return
	}
	cfg, err := body.config(c.Param("stream"))
	if err != nil {
		a.fail(c, err)
		return
	}
	bus := busOf(c)
	put(a, c, cfg, ensure[core.StreamConfig, core.StreamInfo, streamShown]{
		create: bus.CreateStream, update: bus.UpdateStream, tag: streamTag, show: streamShownOf,
		find: func(ctx context.Context) (core.StreamInfo, error) { return bus.Stream(ctx, cfg.Name) },
	})
}

// streamList is a page of streams.
type streamList struct {
	Streams []streamShown `json:"streams"`
	Next    string        `json:"next,omitempty" doc:"The cursor of the next page, if there is one"`
}

// listStreams: GET /v1/streams.
func (a *Adapter) listStreams(c *gin.Context) {
	name := func(s core.StreamInfo) string { return s.Config.Name }
	if page, next, ok := list(a, c, name, streamShownOf, busOf(c).Streams); ok {
		c.PureJSON(http.StatusOK, streamList{page, next})
	}
}

// getStream: GET /v1/streams/{stream}.
func (a *Adapter) getStream(c *gin.Context) {
	info, err := busOf(c).Stream(c.Request.Context(), c.Param("stream"))
	showOne(a, c, info, err, streamTag, streamShownOf)
}

// deleteStream: DELETE /v1/streams/{stream}.
func (a *Adapter) deleteStream(c *gin.Context) {
	bus, name := busOf(c), c.Param("stream")
	drop(a, c, func(ctx context.Context) (core.StreamInfo, error) { return bus.Stream(ctx, name) }, streamTag,
		func(ctx context.Context) error { return bus.DeleteStream(ctx, name) })
}

// purgeRequest is the body of a purge; none: everything goes.
type purgeRequest struct {
	Subject string `json:"subject,omitempty" doc:"Only messages that match this pattern" example:"orders.old.>"`
	Before  uint64 `json:"before,omitempty" doc:"Only those below this sequence number; not together with keep"`
	Keep    uint64 `json:"keep,omitempty" doc:"All but the newest so many"`
}

// purgedMessages is how many went.
type purgedMessages struct {
	Purged uint64 `json:"purged" doc:"Messages that were removed"`
}

// purgeStream: POST /v1/streams/{stream}/purge.
func (a *Adapter) purgeStream(c *gin.Context) {
	var body purgeRequest
	err := a.readJSON(c, &body)
	if err == nil && body.Before > 0 && body.Keep > 0 {
		err = badField("body.keep", "none, because before is there", "")
	}
	if err != nil {
		a.fail(c, err)
		return
	}
	n, err := busOf(c).PurgeStream(c.Request.Context(), c.Param("stream"), core.PurgeOptions{Subject: body.Subject, Before: body.Before, Keep: body.Keep})
	if err != nil {
		a.fail(c, err)
		return
	}
	c.PureJSON(http.StatusOK, purgedMessages{n})
}
