package proxy

import (
	"context"
	"fmt"

	"portico/adapters/grpc/relay/survey"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
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

// askReflection asks a server what it serves.
func askReflection(ctx context.Context, conn *grpc.ClientConn) (*description, error) {
	names, files, err := survey.Ask(ctx, conn, func(name string) bool { return isService(name) && !reserved(name) })
	if err != nil {
		return nil, err
	}
	return describe(names, files)
}

// describe makes a description of services and the files that declare them. A service that is not declared has methods that are not known.
func describe(services []string, from *survey.Files) (*description, error) {
	files, err := from.Registry()
	if err != nil {
		return nil, err
	}
	d, count := &description{services: map[string]methods{}, files: files}, 0
	for _, name := range services {
		d.services[name] = nil
		if declared := survey.Service(files, name); declared != nil {
			d.services[name] = methodsOf(declared)
			count += len(d.services[name])
		}
	}
	if count > survey.MaxMethods {
		return nil, fmt.Errorf("%d methods: at most %d", count, survey.MaxMethods)
	}
	return d, nil
}
