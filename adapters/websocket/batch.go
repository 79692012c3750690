package websocket

import (
	"bytes"
	"encoding/json"

	"portico/core"
)

const (
	maxBatch   = 256      // frames of a batch
	batchBytes = 64 << 10 // of a batch to a client, or one frame
)

func errBatch() error { return core.Errorf(core.CodeInvalid, "a batch has 1 to %d frames", maxBatch) }

// handleMessage answers what the client sent in one message: a frame, or a list of frames, each as if it had come alone.
func (c *conn) handleMessage(b []byte) {
	frames, batch, err := c.wire.split(b)
	switch {
	case err != nil:
		c.fail("", err)
	case !batch:
		c.handle(b)
	default:
		for i := range frames {
			if i > 0 && c.pace(1) != nil || c.out.Room(c.ctx) != nil || c.out.IsClosing() {
				return
			}
			c.handle(frames[i])
		}
	}
}

// blanks are those that JSON knows.
const blanks = " \t\r\n"

// split implements wire. What is no JSON is a frame, which says so.
func (jsonWire) split(b []byte) (frames [][]byte, batch bool, err error) {
	if b = bytes.TrimLeft(b, blanks); len(b) == 0 || b[0] != '[' {
		return nil, false, nil
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if _, err := dec.Token(); err != nil {
		return nil, true, malformed(err)
	}
	for dec.More() {
		var one json.RawMessage
		if err := dec.Decode(&one); err != nil {
			return nil, true, malformed(err)
		}
		if frames = append(frames, one); len(frames) > maxBatch {
			return nil, true, errBatch()
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, true, malformed(err)
	}
	if len(frames) == 0 || len(bytes.TrimLeft(b[dec.InputOffset():], blanks)) > 0 {
		return nil, true, errBatch()
	}
	return frames, true, nil
}

// listing implements wire.
func (jsonWire) listing(int) (begin []byte, separator, end string) { return []byte{'['}, ",", "]" }

// options changes how the connection is served.
func (c *conn) options(f *frame) error {
	if f.Batch == nil {
		return core.Errorf(core.CodeInvalid, "options: batch is true or false")
	}
	c.batches.Store(*f.Batch)
	c.done(ok(f.ID))
	return nil
}

// group is what gathers to be sent as one message.
type group struct {
	n       int
	content []byte // frames with separators
}

// emit writes a frame, given in two parts, or lets it gather.
func (c *conn) emit(s *scratch, head, tail []byte) {
	if !c.batches.Load() {
		c.ungroup(s)
		c.frame(s, head, tail)
		return
	}
	g := &s.group
	if g.n > 0 && (g.n == maxBatch || len(g.content)+len(head)+len(tail) > batchBytes) {
		c.ungroup(s)
	}
	if g.n > 0 {
		_, separator, _ := c.wire.listing(g.n)
		g.content = append(g.content, separator...)
	}
	g.content = append(append(g.content, head...), tail...)
	g.n++
}

// ungroup writes what has gathered: one frame as it is, several as a list.
func (c *conn) ungroup(s *scratch) {
	g := &s.group
	if g.n == 0 {
		return
	}
	var begin []byte
	end := ""
	if g.n > 1 {
		begin, _, end = c.wire.listing(g.n)
	}
	c.frame(s, begin, g.content, []byte(end))
	g.drop()
}

// drop forgets what has gathered.
func (g *group) drop() {
	g.n, g.content = 0, g.content[:0]
	if cap(g.content) > keptScratch {
		g.content = nil
	}
}
