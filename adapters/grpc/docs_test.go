package grpcapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"portico/core"

	"google.golang.org/grpc"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// example is a grpcurl line of the documentation: what one echo (or -d) sends is a group, and before the next group something
// must have arrived.
type example struct {
	line   string
	method protoreflect.MethodDescriptor
	path   string
	groups []string // of messages, in JSON
}

// blanks are what examples leave out: what an earlier answer has told.
type blanks struct {
	token, cursor string
}

func (b *blanks) fill(text string) string {
	return strings.NewReplacer("TOKEN", b.token, "CURSOR", b.cursor).Replace(text)
}

var (
	toldToken  = regexp.MustCompile(`"token": *"([^"]+)"`)
	toldCursor = regexp.MustCompile(`"cursor": *"([^"]+)"`)
)

// hear keeps what an answer, in JSON, tells.
func (b *blanks) hear(answer string) {
	for pattern, blank := range map[*regexp.Regexp]*string{toldToken: &b.token, toldCursor: &b.cursor} {
		if all := pattern.FindAllStringSubmatch(answer, -1); len(all) > 0 {
			*blank = all[len(all)-1][1]
		}
	}
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
		e.groups = append(e.groups, text[1])
	}
	return e, true
}

// messages are those of a group.
func (e example) messages(text string) (group []*dynamicpb.Message, err error) {
	for dec := json.NewDecoder(strings.NewReader(text)); ; {
		var raw json.RawMessage
		if err := dec.Decode(&raw); errors.Is(err, io.EOF) {
			return group, nil
		} else if err != nil {
			return nil, err
		}
		m := dynamicpb.NewMessage(e.method.Input())
		if err := protojson.Unmarshal(raw, m); err != nil {
			return nil, err
		}
		group = append(group, m)
	}
}

// endless tells whether a method goes on until the client cancels.
func (e example) endless() bool {
	return slices.Contains([]protoreflect.Name{"Subscribe", "FollowStream", "WatchKeys"}, e.method.Name())
}

// play runs an example to its end, or an endless one to its first answer. begun is closed when a stream is in place.
func (e example) play(ctx context.Context, conn *grpc.ClientConn, known *blanks, begun chan<- struct{}) error {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, e.path)
	if err != nil {
		return err
	}
	for i, text := range e.groups {
		if i > 0 {
			if err := e.untilWork(stream); err != nil {
				return err
			}
		}
		group, err := e.messages(known.fill(text))
		if err != nil {
			return err
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
	if e.method.Name() == "Subscribe" {
		_, err = stream.Header()
		return err
	}
	for err == nil {
		if err = e.receive(stream, known, new(string)); err == nil && e.endless() {
			return nil
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// untilWork waits for a delivery or a call.
func (e example) untilWork(stream grpc.ClientStream) error {
	for frame := ""; frame != "deliveries" && frame != "call"; {
		if err := e.receive(stream, &blanks{}, &frame); err != nil {
			return err
		}
	}
	return nil
}

func (e example) receive(stream grpc.ClientStream, known *blanks, frame *string) error {
	m := dynamicpb.NewMessage(e.method.Output())
	if err := stream.RecvMsg(m); err != nil {
		return err
	}
	told, err := protojson.Marshal(m)
	if err != nil {
		return err
	}
	known.hear(string(told))
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

// TestExamplesOfTheDocumentation calls every method that reflection lists, with success.
func TestExamplesOfTheDocumentation(t *testing.T) {
	h := start(t)
	shown := make(map[string]bool)
	background := make(chan error, 8)
	running := 0
	ctx, cancel := context.WithCancel(h.ctx())
	defer cancel()
	var known blanks
	for _, e := range examples(t) {
		shown[string(e.method.FullName())] = true
		begun := make(chan struct{})
		if e.method.Name() == "Serve" { // is there for the examples that follow
			running++
			go func() { background <- e.play(ctx, h.conn, &blanks{}, begun) }()
			<-begun
		} else if err := e.play(ctx, h.conn, &known, begun); err != nil {
			t.Errorf("%s: %v", e.line, err)
		}
	}
	for range running {
		if err := <-background; err != nil {
			t.Errorf("in the background: %v", err)
		}
	}
	for _, version := range []string{"v1", "v1alpha"} {
		methods := h.reflected(version)
		if len(methods) < 50 {
			t.Errorf("reflection %s lists %q", version, methods)
		}
		for _, method := range methods {
			if !shown[method] {
				t.Errorf("%s has no example", method)
			}
		}
	}
}

// reflected are the methods of portico.v1 that a version of reflection lists. The messages of both are the same on the wire.
func (h *house) reflected(version string) (methods []string) {
	h.Helper()
	stream, err := h.conn.NewStream(h.ctx(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/grpc.reflection."+version+".ServerReflection/ServerReflectionInfo")
	if err != nil {
		h.Fatal(err)
	}
	ask := func(req *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		resp := &reflectionv1.ServerReflectionResponse{}
		if err := errors.Join(stream.SendMsg(req), stream.RecvMsg(resp)); err != nil {
			h.Fatal(err)
		}
		return resp
	}
	list := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}})
	for _, service := range list.GetListServicesResponse().GetService() {
		if !strings.HasPrefix(service.GetName(), "portico.v1.") {
			continue
		}
		files := ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service.GetName()}})
		for _, raw := range files.GetFileDescriptorResponse().GetFileDescriptorProto() {
			file := &descriptorpb.FileDescriptorProto{}
			if err := proto.Unmarshal(raw, file); err != nil {
				h.Fatal(err)
			}
			for _, s := range file.GetService() {
				if name := file.GetPackage() + "." + s.GetName(); name == service.GetName() {
					for _, m := range s.GetMethod() {
						methods = append(methods, name+"."+m.GetName())
					}
				}
			}
		}
	}
	return methods
}

// TestGrpcurl plays the documentation's examples with grpcurl itself, as they stand there, and lists and describes what it finds by reflection.
func TestGrpcurl(t *testing.T) {
	program, err := filepath.Abs("../../bin/grpcurl")
	if err != nil {
		t.Fatal(err)
	}
	switch _, err := os.Stat(program); {
	case os.Getenv("CI") != "true" && os.Getenv("E2E") != "long":
		t.Skip("it takes 15 s: with CI=true or E2E=long")
	case err != nil:
		t.Fatal("bin/grpcurl is not there: make bin/grpcurl")
	}
	h := start(t)
	shell := func(line string) (string, error) {
		line = strings.ReplaceAll(strings.ReplaceAll(line, "127.0.0.1:50051", h.address), "grpcurl ", program+" ")
		out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
		return string(out), err
	}
	listed, err := shell("grpcurl -plaintext 127.0.0.1:50051 list")
	if err != nil || strings.Count(listed, "portico.v1.") != 5 {
		t.Fatalf("%s%v", listed, err)
	}
	var known blanks
	var served chan error
	for _, e := range examples(t) {
		line := known.fill(e.line)
		if e.endless() {
			line = strings.Replace(line, "-plaintext", "-plaintext -max-time 1", 1)
		}
		if e.method.Name() == "Serve" { // is there for the example that follows
			if served != nil {
				if err := <-served; err != nil {
					t.Error(err)
				}
			}
			served = make(chan error, 1)
			go func() {
				out, err := shell(line)
				if err != nil {
					err = fmt.Errorf("%s: %s%w", e.line, out, err)
				}
				served <- err
			}()
			h.eventually("a responder", func() bool { return h.bus.Interest("math.double") })
			continue
		}
		out, err := shell(line)
		if err != nil && !(e.endless() && strings.Contains(out, "DeadlineExceeded")) {
			t.Errorf("%s\n%s%v", e.line, out, err)
		}
		known.hear(out)
	}
	if err := <-served; err != nil {
		t.Error(err)
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
