package websocket

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"portico/core"
)

const (
	maxID   = 64   // bytes of an id or sid
	maxTags = 4096 // tags of one settlement
	maxTerm = 12 * time.Hour

	messageID = "Nats-Msg-Id" // the header under which a message is kept once
)

// frame is a decoded client frame. Which fields an operation looks at stands in the table of ops.go.
type frame struct {
	Op           string         `json:"op"`
	ID           string         `json:"id"`
	SID          string         `json:"sid"`
	User         string         `json:"user"`
	Password     string         `json:"password"`
	Subject      string         `json:"subject"`
	Reply        string         `json:"reply"`
	Group        string         `json:"group"`
	Headers      header         `json:"headers"`
	Data         body           `json:"data"`
	Base64       *string        `json:"data_base64"`
	Timeout      term           `json:"timeout"`
	Queue        string         `json:"queue"`
	Durable      *bool          `json:"durable"`
	AutoDelete   bool           `json:"auto_delete"`
	Type         core.QueueType `json:"type"`
	MaxPriority  uint8          `json:"max_priority"`
	SingleActive bool           `json:"single_active_consumer"`
	core.QueueRules
	Death     death    `json:"dead_letter"` // instead of the one of QueueRules: nack has it, too
	Credit    *int     `json:"credit"`
	N         int      `json:"n"`
	Lease     term     `json:"lease"`
	AutoAck   bool     `json:"auto_ack"`
	Exclusive bool     `json:"exclusive"`
	Priority  int32    `json:"priority"` // of a consumer
	Tag       uint64   `json:"tag"`
	Tags      []uint64 `json:"tags"`
	Requeue   *bool    `json:"requeue"`

	Slow     string  `json:"slow"`
	Buffer   *int    `json:"buffer"`
	Token    string  `json:"token"`
	Batch    *bool   `json:"batch"`
	MsgID    string  `json:"msg_id"`
	Ack      *bool   `json:"ack"`
	Filter   *filter `json:"filter"`
	Stream   string  `json:"stream"`
	From     start   `json:"from"`
	After    mark    `json:"after"`
	Epoch    string  `json:"epoch"`
	Cursor   string  `json:"cursor"`
	Seq      uint64  `json:"seq"`
	Last     int     `json:"last"`
	Limit    int     `json:"limit"`
	Reverse  bool    `json:"reverse"`
	Bucket   string  `json:"bucket"`
	Key      string  `json:"key"`
	Pattern  string  `json:"pattern"`
	Revision *uint64 `json:"revision"`
	Presence bool    `json:"presence"`
	Info     info    `json:"info"`
	Watch    bool    `json:"watch"`

	data []byte // the payload, from Data or Base64
}

// decodeFrame decodes one client frame: an object with known fields and an operation. The frame shares nothing with b. Even
// with an error the frame has its id, if that could be read. Errors are CodeInvalid.
func decodeFrame(b []byte) (frame, error) {
	var f frame
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return salvage(b), malformed(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return f.known(), core.Errorf(core.CodeInvalid, "something follows the JSON object")
	}
	return f.checked()
}

// checked looks at what every frame must be, however it was encoded.
func (f *frame) checked() (frame, error) {
	if len(f.ID) > maxID || len(f.SID) > maxID {
		return f.known(), core.Errorf(core.CodeInvalid, "id and sid have at most %d bytes", maxID)
	}
	if err := f.payload(); err != nil {
		return f.known(), err
	}
	return *f, f.settleTags()
}

// known is what an error can be answered with.
func (f *frame) known() frame {
	if len(f.ID) > maxID {
		return frame{Op: f.Op}
	}
	return frame{Op: f.Op, ID: f.ID}
}

// salvage finds the id of a frame that is an object but not a legal frame.
func salvage(b []byte) frame {
	var read struct {
		Op string `json:"op"`
		ID string `json:"id"`
	}
	if json.Unmarshal(b, &read) != nil {
		return frame{}
	}
	f := frame{Op: read.Op, ID: read.ID}
	return f.known()
}

// malformed says what is wrong in words that fit the protocol.
func malformed(err error) error {
	if e, ok := errors.AsType[*core.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if e.Field == "" {
			return core.Errorf(core.CodeInvalid, "a frame is a JSON object")
		}
		return core.Errorf(core.CodeInvalid, "field %q cannot be a %s", strings.TrimPrefix(e.Field, rulesPrefix), e.Value)
	}
	if e, ok := errors.AsType[*strconv.NumError](err); ok {
		return core.Errorf(core.CodeInvalid, "%s is not a whole number", e.Num)
	}
	if text, ok := strings.CutPrefix(err.Error(), "json: "); ok {
		return core.Errorf(core.CodeInvalid, "%s", text)
	}
	if notJSON(err) {
		return core.Errorf(core.CodeInvalid, "the frame is not JSON")
	}
	return core.Errorf(core.CodeInvalid, "%v", err) // a value's own words
}

// rulesPrefix is what the path of an embedded field begins with.
const rulesPrefix = "QueueRules."

// notJSON tells whether err is of the frame's form, and not of a value in it.
func notJSON(err error) bool {
	_, syntax := errors.AsType[*json.SyntaxError](err)
	return syntax || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// payload decodes the payload.
func (f *frame) payload() error {
	switch {
	case f.Data.set && f.Base64 != nil:
		return core.Errorf(core.CodeInvalid, "data and data_base64 exclude each other")
	case f.Data.set:
		f.data = f.Data.bytes
	case f.Base64 != nil:
		data, err := base64.StdEncoding.DecodeString(*f.Base64)
		if err != nil {
			return core.Errorf(core.CodeInvalid, "data_base64 is not base64")
		}
		f.data = data
	}
	f.Data, f.Base64 = body{}, nil
	return nil
}

// settleTags folds tag into tags.
func (f *frame) settleTags() error {
	if f.Tag != 0 {
		f.Tags = append(f.Tags, f.Tag)
	}
	if len(f.Tags) > maxTags {
		return core.Errorf(core.CodeInvalid, "at most %d tags in one frame", maxTags)
	}
	return nil
}

// message makes the frame's message for subject.
func (f *frame) message(subject string) *core.Message {
	if f.MsgID != "" {
		if f.Headers == nil {
			f.Headers = header{}
		}
		core.Header(f.Headers).Set(messageID, f.MsgID)
	}
	return &core.Message{Subject: subject, Reply: f.Reply, Header: core.Header(f.Headers), Data: f.data}
}
