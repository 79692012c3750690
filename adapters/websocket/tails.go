package websocket

import (
	"strconv"
	"sync/atomic"
	"time"

	"portico/core"
)

const (
	keptTails   = 1024    // messages of streams whose frames are remembered, in all
	largestTail = 4 << 10 // bytes of one
)

// tails remembers how the latest messages of streams are written, for all who follow the same stream at about the same place. A slot holds whichever came last.
type tails struct {
	slots [keptTails]atomic.Pointer[tail]
}

// tail is the end of a message's JSON frame, behind the sid. Immutable.
type tail struct {
	tenant, stream string
	created        time.Time // of the stream
	sequence       uint64
	text           []byte
}

// of returns the end of the frame of a cursor's item. The bytes are shared: they must not be changed.
func (x *tails) of(i *item) []byte {
	from, n := i.source, i.stored.Sequence
	slot := &x.slots[n%keptTails]
	if t := slot.Load(); t != nil && t.sequence == n && t.created.Equal(from.created) && t.stream == from.stream && t.tenant == from.tenant {
		return t.text
	}
	text := appendStoredTail(make([]byte, 0, len(i.stored.Data)+len(i.stored.Subject)+128), i)
	if len(text) <= largestTail {
		slot.Store(&tail{tenant: from.tenant, stream: from.stream, created: from.created, sequence: n, text: text})
	}
	return text
}

// appendStored appends the frame of a message with its place in a stream.
func appendStored(dst []byte, i *item) []byte {
	dst = append(append(dst, `{"op":"msg","`...), i.source.naming()...)
	return appendStoredTail(appendString(append(dst, `":`...), i.name), i)
}

// appendStoredTail appends what follows the name of whom it is for.
func appendStoredTail(dst []byte, i *item) []byte {
	dst = appendString(append(dst, `,"stream":`...), i.source.stream)
	dst = strconv.AppendUint(append(dst, `,"seq":`...), i.stored.Sequence, 10)
	dst = i.stored.Time.UTC().AppendFormat(append(dst, `,"time":"`...), time.RFC3339Nano)
	m := core.Message{Subject: i.stored.Subject, Header: i.stored.Header, Data: i.stored.Data}
	return appendMessage(append(dst, '"'), &m)
}

// spliceStored writes the frame of a cursor's message.
func (c *conn) spliceStored(s *scratch, i *item) {
	c.buf = appendString(append(c.buf[:0], `{"op":"msg","sid":`...), i.name)
	c.emit(s, c.buf, c.adapter.tails.of(i))
	m := c.adapter.metrics
	m.Out.Inc()
	m.BytesOut.Add(float64(len(i.stored.Data)))
}
