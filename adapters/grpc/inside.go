package grpcapi

import (
	"context"
	"net"
	"net/http"
	"sync"

	"portico/adapters/grpc/proxy"
	"portico/adapters/grpc/web"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
)

// inside is the door's services once more, for the calls that come from the HTTP port: a server that only this process can reach, with the same limits and the same edge.
type inside struct {
	// immutable
	listener *bufconn.Listener
	server   *grpc.Server
	conn     *grpc.ClientConn
	bridge   *web.Bridge

	// guarded by mu
	mu       sync.Mutex
	sessions map[string]*session // by the address of the HTTP connection
}

const (
	insideBuffer = 256 << 10 // bytes on the way to the server inside, and as many back
	maxSessions  = 4096      // that are remembered; beyond that any one is forgotten, which costs its owner a login
)

func (a *Adapter) openInside() (*inside, error) {
	in := &inside{listener: bufconn.Listen(insideBuffer), sessions: map[string]*session{}}
	in.server = grpc.NewServer(
		grpc.ForceServerCodecV2(sharedCodec{proxy.NewCodec()}),
		grpc.ChainUnaryInterceptor(in.unary, a.unaryEdge),
		grpc.ChainStreamInterceptor(in.stream, a.streamEdge),
		grpc.MaxRecvMsgSize(a.gateway.MaxMessage()+envelopeSlack),
		grpc.MaxHeaderListSize(maxHeaderList),
		grpc.WaitForHandlers(true),
	)
	a.registerOn(in.server)
	var err error
	in.conn, err = grpc.NewClient("passthrough:///inside", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return in.listener.DialContext(ctx) }))
	if err != nil {
		return nil, err
	}
	in.bridge, err = web.New(web.Config{Conn: in.conn, MaxMessage: a.gateway.MaxMessage() + envelopeSlack, Services: []string{
		porticov1.PorticoService_ServiceDesc.ServiceName, porticov1.StreamService_ServiceDesc.ServiceName, porticov1.KeyValueService_ServiceDesc.ServiceName,
		porticov1.ObjectService_ServiceDesc.ServiceName, porticov1.AdminService_ServiceDesc.ServiceName,
	}})
	return in, err
}

// Web serves the door's own services over plain HTTP: Connect and gRPC-Web for browsers, and gRPC where the connection is HTTP/2. It takes the paths /portico.v1.Service/Method; the adapter must be served.
func (a *Adapter) Web() http.Handler { return a.inside.bridge }

// close ends what is left.
func (in *inside) close() {
	in.server.Stop()
	_ = in.conn.Close() // it has nothing to say
	_ = in.listener.Close()
}

func (in *inside) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	return handle(in.withSession(ctx), req)
}

func (in *inside) stream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return handle(srv, &streamWithContext{ServerStream: stream, ctx: in.withSession(stream.Context())})
}

// withSession gives a call the session of the HTTP connection it came by.
func (in *inside) withSession(ctx context.Context) context.Context {
	md, _ := metadata.FromIncomingContext(ctx)
	remote := ""
	if told := md.Get(web.RemoteKey); len(told) == 1 {
		remote = told[0]
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	s := in.sessions[remote]
	if s == nil {
		for other := range in.sessions {
			if len(in.sessions) < maxSessions {
				break
			}
			delete(in.sessions, other)
		}
		s = &session{remote: remote}
		in.sessions[remote] = s
	}
	return context.WithValue(ctx, sessionKey{}, s)
}
