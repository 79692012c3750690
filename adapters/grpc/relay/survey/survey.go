// Package survey asks a gRPC server what it serves, by reflection v1 or v1alpha, and collects the file descriptors that say how. The proxy asks the servers that the gateway dials,
// a relay the server it forwards to. What a server tells is bounded before it is kept.
package survey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Bounds on what a server may tell of itself.
const (
	MaxServices = 1000
	MaxMethods  = 10_000
	maxFiles    = 4096
	maxFileSize = 16 << 20 // bytes of all files
)

// Files collects encoded FileDescriptorProtos, each file once. Not for several goroutines.
type Files struct {
	size    int
	byName  map[string]*descriptorpb.FileDescriptorProto
	encoded [][]byte
	wanted  []string // imported and perhaps not here yet
}

// NewFiles makes an empty collection.
func NewFiles() *Files { return &Files{byName: map[string]*descriptorpb.FileDescriptorProto{}} }

// Add adds files. The error says which bound they exceed, or that one is no file descriptor.
func (f *Files) Add(encoded ...[]byte) error {
	for _, raw := range encoded {
		file := &descriptorpb.FileDescriptorProto{}
		if f.size += len(raw); f.size > maxFileSize {
			return fmt.Errorf("file descriptors of more than %d bytes", maxFileSize)
		}
		if err := proto.Unmarshal(raw, file); err != nil {
			return fmt.Errorf("file descriptor: %w", err)
		}
		if f.byName[file.GetName()] != nil {
			continue
		}
		if len(f.byName) >= maxFiles {
			return fmt.Errorf("more than %d file descriptors", maxFiles)
		}
		f.byName[file.GetName()] = file
		f.encoded = append(f.encoded, raw)
		f.wanted = append(f.wanted, file.GetDependency()...)
	}
	return nil
}

// Encoded are the files as they came, each once.
func (f *Files) Encoded() [][]byte { return f.encoded }

// Registry is what the files declare. Imports that are not here are no error.
func (f *Files) Registry() (*protoregistry.Files, error) {
	set := &descriptorpb.FileDescriptorSet{File: slices.Collect(maps.Values(f.byName))}
	files, err := protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("file descriptors: %w", err)
	}
	return files, nil
}

// missing is a file that is imported and not here; "" when there is none. Each is named once.
func (f *Files) missing() string {
	for len(f.wanted) > 0 {
		name := f.wanted[0]
		f.wanted = f.wanted[1:]
		if _, here := f.byName[name]; !here {
			return name
		}
	}
	return ""
}

// Service finds the declaration of a service; nil if it is not known.
func Service(in *protoregistry.Files, name string) protoreflect.ServiceDescriptor {
	found, err := in.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil
	}
	declared, _ := found.(protoreflect.ServiceDescriptor)
	return declared
}

// ask sends one question of the reflection service and waits for the answer.
type ask func(*reflectionv1.ServerReflectionRequest) (*reflectionv1.ServerReflectionResponse, error)

// Ask asks a server for the names of the services that wanted accepts, and for the files that declare them. An error: the server has no reflection, does not answer, or exceeds a bound.
func Ask(ctx context.Context, conn grpc.ClientConnInterface, wanted func(service string) bool) (services []string, files *Files, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the streams
	for _, version := range []string{"v1", "v1alpha"} {
		question, err := open(ctx, conn, version)
		if err != nil {
			return nil, nil, err
		}
		services, files, err = learn(question, wanted)
		if err == nil {
			return services, files, nil
		}
		if status.Code(err) != codes.Unimplemented || version == "v1alpha" {
			return nil, nil, fmt.Errorf("ask the server's reflection: %w", err)
		}
	}
	return services, files, nil
}

// None tells an error of Ask that says that the server has no reflection.
func None(err error) bool { return status.Code(err) == codes.Unimplemented }

// open opens one version of the service: the messages of both are the same on the wire.
func open(ctx context.Context, conn grpc.ClientConnInterface, version string) (ask, error) {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/grpc.reflection."+version+".ServerReflection/ServerReflectionInfo")
	if err != nil {
		return nil, err
	}
	return func(req *reflectionv1.ServerReflectionRequest) (*reflectionv1.ServerReflectionResponse, error) {
		if err := stream.SendMsg(req); err != nil && !errors.Is(err, io.EOF) { // io.EOF: RecvMsg has the status
			return nil, err
		}
		answer := &reflectionv1.ServerReflectionResponse{}
		if err := stream.RecvMsg(answer); err != nil {
			return nil, err
		}
		return answer, nil
	}, nil
}

// learn asks for all services and the files that declare them.
func learn(question ask, wanted func(string) bool) (names []string, files *Files, err error) {
	answer, err := question(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{ListServices: "*"}})
	if err != nil {
		return nil, nil, err
	}
	listed := answer.GetListServicesResponse().GetService()
	if len(listed) > MaxServices {
		return nil, nil, fmt.Errorf("%d services: at most %d", len(listed), MaxServices)
	}
	files = NewFiles()
	for _, service := range listed {
		name := service.GetName()
		if !wanted(name) {
			continue
		}
		names = append(names, name)
		if err := files.ask(question, &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name}}); err != nil {
			return nil, nil, err
		}
	}
	for name := files.missing(); name != ""; name = files.missing() { // some servers send only what was asked for
		if err := files.ask(question, &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileByFilename{FileByFilename: name}}); err != nil {
			return nil, nil, err
		}
	}
	return names, files, nil
}

// ask adds the files of one answer. A server that does not know the file says so, and nothing is added: then the methods are not known.
func (f *Files) ask(question ask, what *reflectionv1.ServerReflectionRequest) error {
	answer, err := question(what)
	if err != nil {
		return err
	}
	return f.Add(answer.GetFileDescriptorResponse().GetFileDescriptorProto()...)
}
