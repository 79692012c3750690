package amqp

import (
	"bytes"
	"context"
	"net"

	"portico/adapters/amqp/wire"
	"portico/core"
)

// localFrame is the frame_max of a channel without a socket: as much as there is.
const localFrame = 1 << 30

// local is a channel that no client has opened, so that what the API does goes the way of what clients do, rules and words included. What it sends stays in the outbox.
type local struct {
	*channel
	forget func() bool // the context
}

// openLocal opens a channel as who asks. It must be closed. What it does waits no longer than ctx.
func (c *call) openLocal(ctx context.Context) local {
	ours, theirs := net.Pipe()
	_ = theirs.Close()
	k := newConn(c.door, ours)
	k.log = c.door.log.With("door", "amqp", "user", c.bus.User())
	k.bus, k.vhost, k.user, k.frameMax, k.channelMax = c.bus, c.vhost, c.bus.User(), localFrame, 1
	return local{channel: newChannel(k, 1), forget: context.AfterFunc(ctx, func() { k.fail(ctx.Err()) })}
}

func (l local) close() {
	l.forget()
	l.end()
	l.conn.flushTally()
	l.conn.out.close()
	l.conn.fail(errClientClosed)
}

// do has a channel act on m; nobody wants the answer.
func (c *call) do(m wire.Method) error {
	l := c.openLocal(c.http.Context())
	defer l.close()
	return l.dispatch(m)
}

// feed has the channel act on frames.
func (l local) feed(frames []byte) error {
	in := wire.NewReader(bytes.NewReader(frames), localFrame)
	for {
		f, err := in.ReadFrame()
		if err != nil {
			return nil //nolint:nilerr // io.EOF: the frames were made here and are whole
		}
		if err := l.handle(f); err != nil {
			return err
		}
	}
}

// listen passes the methods that the channel sends to each, until that has heard enough.
func (l local) listen(ctx context.Context, each func(wire.MethodID) (enough bool)) error {
	for {
		b, _ := l.conn.out.take()
		if b == nil {
			select {
			case <-l.conn.out.wakeup:
				continue
			case <-ctx.Done():
				return core.AsError(ctx.Err())
			}
		}
		enough := eachMethod(b.b, each)
		l.conn.out.written(b)
		if enough {
			return nil
		}
	}
}

// eachMethod passes the methods in frames to each, until that has heard enough.
func eachMethod(frames []byte, each func(wire.MethodID) (enough bool)) (enough bool) {
	for in := wire.NewReader(bytes.NewReader(frames), localFrame); !enough; {
		f, err := in.ReadFrame()
		if err != nil {
			return false
		}
		if f.Type == wire.FrameMethod {
			id, _ := wire.PeekMethod(f.Payload)
			enough = each(id)
		}
	}
	return true
}
