package proxy

import (
	"mime"

	"portico/core"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

const jsonType = "application/json"

// isJSON tells a request whose payload is the message in protobuf's JSON form.
func isJSON(h core.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get(core.HeaderContentType))
	return err == nil && kind == jsonType
}

// translator turns the messages of one method into JSON and back.
type translator struct {
	types         *dynamicpb.Types
	input, output protoreflect.MessageDescriptor
}

// translator finds a method's messages. CodeUnimplemented when their descriptors are not known.
func (d *description) translator(path string) (*translator, error) {
	service, method, _ := splitPath(path)
	unknown := core.Errorf(core.CodeUnimplemented, "the messages of %s are not known: its payload must be protobuf", path)
	if d.files == nil {
		return nil, unknown
	}
	found, err := d.files.FindDescriptorByName(protoreflect.FullName(service))
	declared, ok := found.(protoreflect.ServiceDescriptor)
	if err != nil || !ok {
		return nil, unknown
	}
	m := declared.Methods().ByName(protoreflect.Name(method))
	if m == nil {
		return nil, unknown
	}
	return &translator{types: dynamicpb.NewTypes(d.files), input: m.Input(), output: m.Output()}, nil
}

// request is the protobuf form of a JSON message. An empty payload is the message without fields. CodeInvalid.
func (t *translator) request(payload []byte) ([]byte, error) {
	m := dynamicpb.NewMessage(t.input)
	if len(payload) > 0 {
		if err := (protojson.UnmarshalOptions{Resolver: t.types}).Unmarshal(payload, m); err != nil {
			return nil, &core.Error{Code: core.CodeInvalid, Detail: err.Error()}
		}
	}
	return proto.MarshalOptions{}.Marshal(m)
}

// reply is the JSON form of a message of the server's. CodeInternal when it is none.
func (t *translator) reply(payload []byte) ([]byte, error) {
	m := dynamicpb.NewMessage(t.output)
	if err := (proto.UnmarshalOptions{Resolver: t.types}).Unmarshal(payload, m); err != nil {
		return nil, &core.Error{Code: core.CodeInternal, Detail: "the server's message is not of its type", Err: err}
	}
	return protojson.MarshalOptions{Resolver: t.types}.Marshal(m)
}
