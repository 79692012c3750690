package grpcapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// example is a grpcurl line of the documentation: what one echo (or -d) sends is a group, and before the next group something
// must have arrived.
type example struct {
	line   string
	method protoreflect.MethodDescriptor
	path   string
	groups [][]*dynamicpb.Message
}

var (
	shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")
	calledWith = regexp.MustCompile(`127\.0\.0\.1:50051 ([\w.]+)/(\w+)$`)
	quoted     = regexp.MustCompile(`'(\{.*?\})'`)
)

func examples(t *testing.T) []example {
	t.Helper()
	page, err := os.ReadFile("../../docs/grpc.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	for _, block := range shellBlock.FindAllStringSubmatch(string(page), -1) {
		for line := range strings.Lines(block[1]) {
			if e, ok := parseExample(t, strings.TrimSpace(line)); ok {
				all = append(all, e)
			}
		}
	}
	return all
}

func parseExample(t *testing.T, line string) (example, bool) {
	t.Helper()
	called := calledWith.FindStringSubmatch(line)
	if called == nil {
		return example{}, false
	}
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(called[1] + "." + called[2]))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	e := example{line: line, method: descriptor.(protoreflect.MethodDescriptor), path: "/" + called[1] + "/" + called[2]}
	for _, text := range quoted.FindAllStringSubmatch(line, -1) {
		var group []*dynamicpb.Message
		for dec := json.NewDecoder(strings.NewReader(text[1])); ; {
			var raw json.RawMessage
			if err := dec.Decode(&raw); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			m := dynamicpb.NewMessage(e.method.Input())
			if err := protojson.Unmarshal(raw, m); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			group = append(group, m)
		}
		e.groups = append(e.groups, group)
	}
	return e, true
}

// play runs an example to its end. begun is closed when a stream is in place.
func (e example) play(ctx context.Context, conn *grpc.ClientConn, begun chan<- struct{}) error {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, e.path)
	if err != nil {
		return err
	}
	for i, group := range e.groups {
		if i > 0 {
			if err := e.untilWork(stream); err != nil {
				return err
			}
		}
		for _, m := range group {
			if err := stream.SendMsg(m); err != nil {
				return err
			}
		}
		if i == 0 && len(e.groups) > 1 {
			if _, err := stream.Header(); err != nil {
				return err
			}
			close(begun)
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for err == nil {
		err = e.receive(stream, new(string))
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// untilWork waits for a delivery or a call.
func (e example) untilWork(stream grpc.ClientStream) error {
	for frame := ""; frame != "deliveries" && frame != "call"; {
		if err := e.receive(stream, &frame); err != nil {
			return err
		}
	}
	return nil
}

func (e example) receive(stream grpc.ClientStream, frame *string) error {
	m := dynamicpb.NewMessage(e.method.Output())
	if err := stream.RecvMsg(m); err != nil {
		return err
	}
	var failure error
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		*frame = string(field.Name())
		if *frame == "failure" {
			failure = errors.New(value.String())
		}
		return true
	})
	return failure
}

func TestExamplesOfTheDocumentation(t *testing.T) {
	h := start(t)
	shown := make(map[string]bool)
	background := make(chan error, 2)
	running := 0
	for _, e := range examples(t) {
		name := string(e.method.Name())
		shown[name] = true
		switch begun := make(chan struct{}); name {
		case "Subscribe": // goes on until the client cancels
			ctx, cancel := context.WithCancel(h.ctx())
			stream, err := h.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, e.path)
			if err == nil {
				err = errors.Join(stream.SendMsg(e.groups[0][0]), stream.CloseSend())
			}
			if err == nil {
				_, err = stream.Header()
			}
			if err != nil {
				t.Errorf("%s: %v", e.line, err)
			}
			defer cancel()
		case "Serve": // is there for the next example
			running++
			go func() { background <- e.play(h.ctx(), h.conn, begun) }()
			<-begun
		default:
			if err := e.play(h.ctx(), h.conn, begun); err != nil {
				t.Errorf("%s: %v", e.line, err)
			}
		}
	}
	for range running {
		if err := <-background; err != nil {
			t.Errorf("in the background: %v", err)
		}
	}
	methods := porticov1.File_portico_v1_portico_proto.Services().Get(0).Methods()
	for i := range methods.Len() {
		if name := string(methods.Get(i).Name()); !shown[name] {
			t.Errorf("%s has no example", name)
		}
	}
}

func TestDocumentationNamesEveryReason(t *testing.T) {
	page, err := os.ReadFile("../../docs/grpc.md")
	if err != nil {
		t.Fatal(err)
	}
	for c := core.CodeInternal; c <= core.CodeUnimplemented; c++ {
		if !strings.Contains(string(page), "| `"+c.String()+"` |") {
			t.Errorf("%q is not in the table of errors", c)
		}
	}
}
