// Package web serves gRPC services to browsers, and to whoever else speaks Connect, gRPC-Web or gRPC over plain HTTP: each method of a service, found by its descriptor, is an HTTP handler that calls the service
// over a connection of the same process and hands on what it says: messages, metadata, trailers, status with its details. Messages are JSON or protobuf on the HTTP side; here they are not looked at but to turn one into
// the other.
//
// Unary methods and those whose server streams work over HTTP/1.1; where the client streams too, HTTP/2 is needed, but for client-streaming in one go.
package web

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/proto" // the codec that ours stands in for
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// RemoteKey is the metadata entry that tells the service where a call came from, host:port. Nobody else can set it.
const RemoteKey = "portico-web-remote"

// Config is what a Bridge needs.
type Config struct {
	Conn       grpc.ClientConnInterface // where the services are
	Services   []string                 // with their packages; their descriptors must be linked in
	MaxMessage int                      // bytes of one message
	MaxCalls   int64                    // under way at a time; default 1,024. More are refused: resource_exhausted
}

// Bridge is an http.Handler for the paths /package.Service/Method of its services.
type Bridge struct {
	// immutable
	cfg   Config
	mux   *http.ServeMux
	calls *semaphore.Weighted
}

// New makes a Bridge. The error names a service without a descriptor.
func New(cfg Config) (*Bridge, error) {
	if cfg.MaxCalls <= 0 {
		cfg.MaxCalls = 1024
	}
	b := &Bridge{cfg: cfg, mux: http.NewServeMux(), calls: semaphore.NewWeighted(cfg.MaxCalls)}
	for _, name := range cfg.Services {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			return nil, err
		}
		service, ok := found.(protoreflect.ServiceDescriptor)
		if !ok {
			return nil, errors.New(name + " is no service")
		}
		for i := range service.Methods().Len() {
			m := service.Methods().Get(i)
			path := "/" + name + "/" + string(m.Name())
			b.mux.Handle(path, b.handler(path, m))
		}
	}
	return b, nil
}

// ServeHTTP implements http.Handler. A path that is no method is 404, which all three protocols take for UNIMPLEMENTED.
func (b *Bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = &body{r.Body}
	b.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, &caller{remote: r.RemoteAddr, body: r.Body})))
}

// handler serves one method.
func (b *Bridge) handler(path string, m protoreflect.MethodDescriptor) http.Handler {
	options := []connect.HandlerOption{
		connect.WithCodec(protobuf{}), connect.WithCodec(json{}), connect.WithReadMaxBytes(b.cfg.MaxMessage), connect.WithSchema(m),
		connect.WithRequestInitializer(func(_ connect.Spec, message any) error {
			message.(*envelope).kind = m.Input()
			return nil
		}),
	}
	c := &method{Bridge: b, path: path, output: m.Output(), desc: &grpc.StreamDesc{ServerStreams: m.IsStreamingServer(), ClientStreams: m.IsStreamingClient()}}
	switch {
	case m.IsStreamingClient() && m.IsStreamingServer():
		return connect.NewBidiStreamHandler(path, c.bidi, options...)
	case m.IsStreamingClient():
		return connect.NewClientStreamHandler(path, c.clientStream, options...)
	case m.IsStreamingServer():
		return connect.NewServerStreamHandler(path, c.serverStream, options...)
	}
	return connect.NewUnaryHandler(path, c.unary, options...)
}
