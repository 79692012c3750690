package grpcapi

import (
	"sync"
	"sync/atomic"

	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// shared is a message on its way to subscribers. It is encoded once for all that get it, by the first that writes it.
type shared struct {
	message *core.Message
	once    sync.Once
	frame   mem.BufferSlice // the SubscribeResponse in its binary form; its bytes must not be changed
	err     error
}

// sharing finds what is shared of a message. Core gives one message to all its subscribers one after the other, so remembering the last one is enough.
type sharing struct{ last atomic.Pointer[shared] }

func (s *sharing) of(m *core.Message) *shared {
	if x := s.last.Load(); x != nil && x.message == m {
		return x
	}
	x := &shared{message: m}
	s.last.Store(x)
	return x
}

// forget lets go of the last message. Without it an idle door would keep one of 128 MiB.
func (s *sharing) forget(x *shared) { s.last.CompareAndSwap(x, nil) }

// encode makes the frame, if that has not been done.
func (x *shared) encode() (mem.BufferSlice, error) {
	x.once.Do(func() {
		var raw []byte
		raw, x.err = proto.Marshal(&porticov1.SubscribeResponse{Message: toProto(x.message)})
		x.frame = mem.BufferSlice{mem.SliceBuffer(raw)}
	})
	return x.frame, x.err
}

// sharedCodec sends what is shared as it has been encoded, and leaves everything else to another codec.
type sharedCodec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c sharedCodec) Marshal(v any) (mem.BufferSlice, error) {
	if x, ok := v.(*shared); ok {
		return x.encode()
	}
	return c.CodecV2.Marshal(v)
}
