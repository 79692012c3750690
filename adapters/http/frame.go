package httpapi

import (
	"bytes"
	"encoding/json"
	"sync"
	"sync/atomic"

	"portico/core"
)

// frame is a message on its way to subscribers. It is encoded once for all that get it, by the first that writes it.
type frame struct {
	message   *core.Message
	sse       encoding
	line      encoding
	event     encoding // as a CloudEvent: server-sent …
	eventLine encoding // … and a line
}

// encoding is one form of a frame.
type encoding struct {
	once sync.Once
	text []byte
}

// frames finds the frame of a message. Core gives one message to all its subscribers one after the other, so remembering the last one is enough to share it among them.
type frames struct{ last atomic.Pointer[frame] }

func (f *frames) of(m *core.Message) *frame {
	if x := f.last.Load(); x != nil && x.message == m {
		return x
	}
	x := &frame{message: m}
	f.last.Store(x)
	return x
}

// forget lets go of the last message. Without it an idle door would keep one of 128 MiB.
func (f *frames) forget(x *frame) { f.last.CompareAndSwap(x, nil) }

// encoded is the frame as a line of NDJSON, or as a server-sent event. The bytes are shared: they must not be changed.
func (x *frame) encoded(line bool) []byte {
	if line {
		x.line.once.Do(func() { x.line.text = encodeFrame("", x.message, "") })
		return x.line.text
	}
	x.sse.once.Do(func() { x.sse.text = encodeFrame("event: message\ndata: ", x.message, "\n") })
	return x.sse.text
}

// encodeFrame is m in its JSON form, which ends with a line feed and has no other, between before and after.
func encodeFrame(before string, m *core.Message, after string) []byte {
	var b bytes.Buffer
	b.Grow(len(before) + len(m.Data)*5/4 + 128)
	b.WriteString(before)
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(eventOf(m)); err != nil {
		return nil // text, maps of text and bytes: there is nothing that could not be encoded
	}
	b.WriteString(after)
	return b.Bytes()
}
