package websocket

import (
	"portico/adapters/websocket/outbound"
	"portico/core"
)

// defaultBuffer is how many messages wait for a subscription that leaves some out and does not say how many may wait.
const defaultBuffer = 1024

// lane is where a subscription's messages wait, by what the client wants to happen when it does not keep up. nil: with everything else, and the connection ends.
func (c *conn) lane(f *frame) (*outbound.Lane[item], error) {
	policy := outbound.Close
	switch f.Slow {
	case "", "close":
	case "drop-oldest":
		policy = outbound.DropOldest
	case "drop-newest":
		policy = outbound.DropNewest
	default:
		return nil, core.Errorf(core.CodeInvalid, "slow is %.32q: want close, drop-oldest or drop-newest", f.Slow)
	}
	buffer := defaultBuffer
	if f.Buffer != nil {
		buffer = *f.Buffer
	}
	switch {
	case buffer < 1 || buffer > outbound.MaxBuffer:
		return nil, core.Errorf(core.CodeInvalid, "buffer: 1 to %d", outbound.MaxBuffer)
	case policy == outbound.Close && f.Buffer == nil:
		return nil, nil
	}
	sid := f.SID
	return outbound.NewLane(policy, buffer, func(n int) item { return item{kind: itemAnswer, answer: &answer{Op: "dropped", SID: sid, Count: &n}} }), nil
}
