package web

import (
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// envelope is a message in protobuf's binary form, and what it is.
type envelope struct {
	kind protoreflect.MessageDescriptor
	data []byte
}

// message is an empty message of its kind.
func (e *envelope) message() proto.Message {
	if known, err := protoregistry.GlobalTypes.FindMessageByName(e.kind.FullName()); err == nil {
		return known.New().Interface()
	}
	return dynamicpb.NewMessage(e.kind)
}

// protobuf is connect's binary codec for envelopes, and for its own messages.
type protobuf struct{}

// Name implements connect.Codec.
func (protobuf) Name() string { return "proto" }

// Marshal implements connect.Codec.
func (protobuf) Marshal(v any) ([]byte, error) {
	switch m := v.(type) {
	case *envelope:
		return m.data, nil
	case proto.Message:
		return proto.Marshal(m)
	}
	return nil, fmt.Errorf("%T is no message", v)
}

// Unmarshal implements connect.Codec. data is valid only for now. What cannot be read is refused here, as the protocols have it: the service would take it for the gateway's fault.
func (protobuf) Unmarshal(data []byte, v any) error {
	switch m := v.(type) {
	case *envelope:
		m.data = append([]byte(nil), data...)
		return proto.Unmarshal(m.data, m.message())
	case proto.Message:
		return proto.Unmarshal(data, m)
	}
	return fmt.Errorf("%T is no message", v)
}

// json is the same for protobuf's JSON form.
type json struct{}

// Name implements connect.Codec.
func (json) Name() string { return "json" }

// Marshal implements connect.Codec.
func (json) Marshal(v any) ([]byte, error) {
	switch m := v.(type) {
	case *envelope:
		open := m.message()
		if err := proto.Unmarshal(m.data, open); err != nil {
			return nil, err
		}
		return protojson.Marshal(open)
	case proto.Message:
		return protojson.Marshal(m)
	}
	return nil, fmt.Errorf("%T is no message", v)
}

// Unmarshal implements connect.Codec.
func (json) Unmarshal(data []byte, v any) (err error) {
	switch m := v.(type) {
	case *envelope:
		open := m.message()
		if err := protojson.Unmarshal(data, open); err != nil {
			return err
		}
		m.data, err = proto.Marshal(open)
		return err
	case proto.Message:
		return protojson.Unmarshal(data, m)
	}
	return fmt.Errorf("%T is no message", v)
}

// through is gRPC's codec for envelopes: their bytes as they are.
type through struct{}

// Name implements encoding.CodecV2.
func (through) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (through) Marshal(v any) (mem.BufferSlice, error) {
	e, ok := v.(*envelope)
	if !ok {
		return nil, fmt.Errorf("%T is no envelope", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(e.data)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (through) Unmarshal(data mem.BufferSlice, v any) error {
	e, ok := v.(*envelope)
	if !ok {
		return fmt.Errorf("%T is no envelope", v)
	}
	e.data = data.Materialize()
	return nil
}

// body is a request's body that can be closed while somebody reads it, which ends the read where the connection is HTTP/2.
type body struct{ io.ReadCloser }

type callKey struct{}

// caller is what is known of who calls.
type caller struct {
	remote string
	body   io.Closer
	once   sync.Once
}

// hush ends what is still read of the request.
func (c *caller) hush() { c.once.Do(func() { _ = c.body.Close() }) }
