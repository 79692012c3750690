package relay

import (
	"maps"
	"slices"

	relayv1 "portico/proto/portico/relay/v1"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// describe says what a server serves. Health and reflection are the gateway's own.
func describe(server *grpc.Server, others bool) *relayv1.Hello {
	hello := &relayv1.Hello{Others: others}
	files := map[string]bool{}
	infos := server.GetServiceInfo()
	for _, name := range slices.Sorted(maps.Keys(infos)) {
		if gateways(name) {
			continue
		}
		service := &relayv1.Service{Name: name}
		for _, m := range infos[name].Methods {
			service.Methods = append(service.Methods, &relayv1.Method{Name: m.Name, ClientStreams: m.IsClientStream, ServerStreams: m.IsServerStream})
		}
		hello.Services = append(hello.Services, service)
		if found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name)); err == nil {
			hello.Files = addFile(hello.Files, files, found.ParentFile())
		}
	}
	return hello
}

// addFile adds a file and what it imports, each once.
func addFile(to [][]byte, seen map[string]bool, file protoreflect.FileDescriptor) [][]byte {
	if seen[file.Path()] || file.IsPlaceholder() {
		return to
	}
	seen[file.Path()] = true
	raw, err := proto.Marshal(protodesc.ToFileDescriptorProto(file))
	if err != nil {
		return to // reflection will not show it
	}
	imports := file.Imports()
	for i := range imports.Len() {
		to = addFile(to, seen, imports.Get(i).FileDescriptor)
	}
	return append(to, raw)
}
