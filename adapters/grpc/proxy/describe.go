package proxy

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
	maxServices = 1000
	maxMethods  = 10_000
	maxFiles    = 4096
	maxFileSize = 16 << 20 // bytes of all files
)

// kindOf is the kind of a method with or without streams.
func kindOf(clientStreams, serverStreams bool) kind {
	if clientStreams || serverStreams {
		return streaming
	}
	return unary
}

// methodsOf are the methods that a descriptor declares.
func methodsOf(service protoreflect.ServiceDescriptor) methods {
	out := methods{}
	for i := range service.Methods().Len() {
		m := service.Methods().Get(i)
		out[string(m.Name())] = kindOf(m.IsStreamingClient(), m.IsStreamingServer())
	}
	return out
}

// fileSet collects encoded FileDescriptorProtos, each file once.
type fileSet struct {
	size   int
	byName map[string]*descriptorpb.FileDescriptorProto
	wanted []string // imported and perhaps not here yet
}

func newFileSet() *fileSet { return &fileSet{byName: map[string]*descriptorpb.FileDescriptorProto{}} }

func (f *fileSet) add(encoded ...[]byte) error {
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
		f.wanted = append(f.wanted, file.GetDependency()...)
	}
	return nil
}

// missing is a file that is imported and not here; "" when there is none. Each is named once.
func (f *fileSet) missing() string {
	for len(f.wanted) > 0 {
		name := f.wanted[0]
		f.wanted = f.wanted[1:]
		if _, here := f.byName[name]; !here {
			return name
		}
	}
	return ""
}

func (f *fileSet) files() (*protoregistry.Files, error) {
	set := &descriptorpb.FileDescriptorSet{File: slices.Collect(maps.Values(f.byName))}
	files, err := protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("file descriptors: %w", err)
	}
	return files, nil
}

// ask sends one question of the reflection service and waits for the answer.
type ask func(*reflectionv1.ServerReflectionRequest) (*reflectionv1.ServerReflectionResponse, error)

// askReflection asks a server what it serves, by reflection v1, or v1alpha where it has only that.
func askReflection(ctx context.Context, conn *grpc.ClientConn) (*description, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the streams
	var answer error
	for _, version := range []string{"v1", "v1alpha"} {
		question, err := openReflection(ctx, conn, version)
		if err != nil {
			return nil, err
		}
		told, err := learn(question)
		if status.Code(err) != codes.Unimplemented {
			return told, err
		}
		answer = err
	}
	return nil, fmt.Errorf("the server has no reflection: %w", answer)
}

// openReflection opens one version of the service: the messages of both are the same on the wire.
func openReflection(ctx context.Context, conn *grpc.ClientConn, version string) (ask, error) {
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
func learn(question ask) (*description, error) {
	answer, err := question(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{ListServices: "*"}})
	if err != nil {
		return nil, err
	}
	listed := answer.GetListServicesResponse().GetService()
	if len(listed) > maxServices {
		return nil, fmt.Errorf("%d services: at most %d", len(listed), maxServices)
	}
	var names []string
	files := newFileSet()
	for _, service := range listed {
		name := service.GetName()
		if reserved(name) || !isService(name) {
			continue
		}
		names = append(names, name)
		err := files.ask(question, &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name}})
		if err != nil {
			return nil, err
		}
	}
	for name := files.missing(); name != ""; name = files.missing() { // some servers send only what was asked for
		err := files.ask(question, &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileByFilename{FileByFilename: name}})
		if err != nil {
			return nil, err
		}
	}
	return describe(names, files)
}

// ask adds the files of one answer. A server that does not know the file says so, and nothing is added: then the methods are not known.
func (f *fileSet) ask(question ask, what *reflectionv1.ServerReflectionRequest) error {
	answer, err := question(what)
	if err != nil {
		return err
	}
	return f.add(answer.GetFileDescriptorResponse().GetFileDescriptorProto()...)
}

// describe makes a description of services and the files that declare them. A service that is not declared has methods that are not known.
func describe(services []string, from *fileSet) (*description, error) {
	files, err := from.files()
	if err != nil {
		return nil, err
	}
	d, count := &description{services: map[string]methods{}, files: files}, 0
	for _, name := range services {
		d.services[name] = nil
		found, err := files.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			continue
		}
		if declared, ok := found.(protoreflect.ServiceDescriptor); ok {
			d.services[name] = methodsOf(declared)
			count += len(d.services[name])
		}
	}
	if count > maxMethods {
		return nil, fmt.Errorf("%d methods: at most %d", count, maxMethods)
	}
	return d, nil
}
