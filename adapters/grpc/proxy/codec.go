package proxy

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // servers may compress
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// payload is a message as it is on the wire, uncompressed.
type payload struct{ data []byte }

// Codec passes payloads through as they are and leaves every other message to the protobuf codec. A server that has it (grpc.ForceServerCodecV2) can serve both
// its own services and the proxy.
type Codec struct{ proto encoding.CodecV2 }

// NewCodec makes a Codec.
func NewCodec() Codec { return Codec{proto: encoding.GetCodecV2(protocodec.Name)} }

// Name implements encoding.CodecV2.
func (Codec) Name() string { return protocodec.Name }

// Marshal implements encoding.CodecV2. A payload is not copied.
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	if p, ok := v.(*payload); ok {
		return mem.BufferSlice{mem.SliceBuffer(p.data)}, nil
	}
	return c.proto.Marshal(v)
}

// Unmarshal implements encoding.CodecV2. A payload becomes the receiver's own.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if p, ok := v.(*payload); ok {
		p.data = data.Materialize()
		return nil
	}
	return c.proto.Unmarshal(data, v)
}
