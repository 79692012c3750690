package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"portico/adapters/grpc/relay/survey"
	relayv1 "portico/proto/portico/relay/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Target is a gRPC server in another process that a relay forwards to.
type Target struct {
	Address  string      // host:port
	Services []string    // with their packages; none: those that the server's reflection lists. All their methods are taken where reflection does not tell them
	TLS      *tls.Config // nil: the server speaks HTTP/2 without TLS
}

// Forward is ServeWith for a server in another process, which stays as it is: it serves the gateway's callers on a connection from this process, as it serves other clients. While it cannot be reached no calls come, and
// it is tried again as the gateway is. The error is one that another attempt would not change, as for ServeWith; without Services and Options.Others the server must have reflection.
func Forward(ctx context.Context, conn grpc.ClientConnInterface, to Target, o Options) error {
	if _, port, err := net.SplitHostPort(to.Address); err != nil || port == "" {
		return fmt.Errorf("relay to %q: want host:port", to.Address)
	}
	o = o.withDefaults()
	return run(ctx, conn, &forward{to: to, others: o.Others}, o)
}

// forward is a server in another process.
type forward struct {
	to     Target
	others bool
}

func (f *forward) gone() <-chan struct{} { return nil } // whether it comes back is not known

func (f *forward) giveUp() {}

// dialWithin is how long the server may take to accept a connection, and to tell what it serves.
const dialWithin = 10 * time.Second

// connect dials the server.
func (f *forward) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	if f.to.TLS == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", f.to.Address)
	}
	secured := f.to.TLS.Clone()
	secured.NextProtos = []string{"h2"}
	return (&tls.Dialer{Config: secured}).DialContext(ctx, "tcp", f.to.Address)
}

// hello asks the server what it serves.
func (f *forward) hello(ctx context.Context) (*relayv1.Hello, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	names, files, err := f.ask(ctx)
	if err != nil {
		return nil, err
	}
	told := &relayv1.Hello{Others: f.others, Files: files.Encoded()}
	declared, err := files.Registry()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		told.Services = append(told.Services, declare(name, survey.Service(declared, name)))
	}
	if len(told.Services) == 0 && !f.others {
		return nil, errNothing
	}
	return told, nil
}

var errNothing = errors.New("the server serves nothing but health and reflection, and no services are named")

// ask is what the server's reflection tells, of the services that are wanted. Without reflection it is what has been named.
func (f *forward) ask(ctx context.Context) ([]string, *survey.Files, error) {
	dial := func(ctx context.Context, _ string) (net.Conn, error) { return f.connect(ctx) }
	conn, err := grpc.NewClient("passthrough:///target", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dial))
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	names, files, err := survey.Ask(ctx, conn, f.wanted)
	switch {
	case err == nil:
	case survey.None(err) && (f.others || len(f.to.Services) > 0):
		files = survey.NewFiles()
	default:
		return nil, nil, err
	}
	for _, name := range f.to.Services {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, files, nil
}

// wanted tells whether a service that the server lists is one to serve.
func (f *forward) wanted(service string) bool {
	if len(f.to.Services) > 0 {
		return slices.Contains(f.to.Services, service)
	}
	return !gateways(service)
}

// gateways tells services that every server has and the gateway has its own of.
func gateways(service string) bool {
	return strings.HasPrefix(service, "grpc.health.") || strings.HasPrefix(service, "grpc.reflection.")
}

// declare is a service with the methods of its descriptor; nil: they are not known.
func declare(name string, declared protoreflect.ServiceDescriptor) *relayv1.Service {
	out := &relayv1.Service{Name: name, AllMethods: declared == nil}
	if declared == nil {
		return out
	}
	for i := range declared.Methods().Len() {
		m := declared.Methods().Get(i)
		out.Methods = append(out.Methods, &relayv1.Method{Name: string(m.Name()), ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()})
	}
	return out
}
