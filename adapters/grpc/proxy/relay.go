package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"portico/adapters/grpc/relay/survey"
	"portico/adapters/grpc/relay/tunnel"
	"portico/core"
	relayv1 "portico/proto/portico/relay/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// helloWithin is how long a server that joins may take to say what it serves.
const helloWithin = 10 * time.Second

// RelayService is the service where servers join by dialling the gateway. It implements relayv1.RelayServiceServer.
type RelayService struct {
	relayv1.UnimplementedRelayServiceServer
	proxy *Proxy
	bus   func(context.Context) *core.Bus
}

// RelayService makes the service; bus finds what the caller's identity may use.
func (p *Proxy) RelayService(bus func(context.Context) *core.Bus) *RelayService {
	return &RelayService{proxy: p, bus: bus}
}

type relayStream = grpc.BidiStreamingServer[relayv1.ConnectRequest, relayv1.ConnectResponse]

// relayed is a server that has dialled the gateway, while it is connected.
type relayed struct {
	stream relayStream
	far    net.Conn      // the tunnel's end of the connection; the other is the gateway's HTTP/2 client's
	leave  chan struct{} // closed when the server wants to go
	failed chan error    // why the tunnel is over
}

// Connect implements RelayServiceServer. Errors: CodeInvalid for a hello that is none, CodePermissionDenied, CodeResourceExhausted, CodeUnavailable.
func (r *RelayService) Connect(stream relayStream) error {
	p := r.proxy
	if err := p.entering.enter(); err != nil {
		return err
	}
	defer p.entering.leave()
	served, err := p.hello(stream)
	if err != nil {
		return err
	}
	near, far := net.Pipe()
	defer far.Close()
	conn, err := grpc.NewClient("passthrough:///relay", append(callOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(once(near)))...)
	if err != nil {
		near.Close()
		return err
	}
	defer conn.Close()
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	bus := r.bus(ctx)
	s, err := p.join(bus, remote(stream), conn, served)
	if err != nil {
		return err
	}
	defer s.leave()
	defer bus.Guard(func() error { return served.mayBeBy(bus) }, end)()
	if err := stream.Send(&relayv1.ConnectResponse{Frame: &relayv1.ConnectResponse_Ready{Ready: &relayv1.Ready{}}}); err != nil {
		return err
	}
	t := &relayed{stream: stream, far: far, leave: make(chan struct{}), failed: make(chan error, 2)}
	p.entering.also(t.out)
	p.entering.also(t.in)
	conn.Connect()
	return p.whileConnected(ctx, t, s)
}

// whileConnected waits until the tunnel is over, or the server or the gateway wants to go and nothing is under way any more. ctx ends when the server may not serve any more.
func (p *Proxy) whileConnected(ctx context.Context, t *relayed, s *server) error {
	select {
	case err := <-t.failed:
		return t.lost(s, err)
	case <-ctx.Done():
		return t.lost(s, context.Cause(ctx))
	case <-t.leave:
	case <-p.draining.Done():
	}
	s.leave()
	select {
	case err := <-t.failed:
		return t.lost(s, err)
	case <-ctx.Done():
		return t.lost(s, context.Cause(ctx))
	case <-s.calls.idle:
		return nil
	case <-p.ctx.Done():
		return errDraining
	}
}

// lost lets the calls under way find out that their server has gone, which takes no time but where a caller does not read.
func (t *relayed) lost(s *server, why error) error {
	t.far.Close()
	s.leave()
	enough := time.NewTimer(time.Second)
	defer enough.Stop()
	select {
	case <-s.calls.idle:
	case <-enough.C:
	}
	return why
}

func remote(stream relayStream) string {
	if at, ok := addressOf(stream.Context()); ok {
		return at
	}
	return "relay"
}

// once is a dialer for a connection that is there already: when it is over there is no other.
func once(conn net.Conn) func(context.Context, string) (net.Conn, error) {
	var mu sync.Mutex
	return func(context.Context, string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if conn == nil {
			return nil, errors.New("the server has gone")
		}
		dialled := conn
		conn = nil
		return dialled, nil
	}
}

// out sends the server what the gateway's HTTP/2 client writes.
func (t *relayed) out() {
	err := tunnel.Out(t.far, func(chunk []byte) error {
		return t.stream.Send(&relayv1.ConnectResponse{Frame: &relayv1.ConnectResponse_Data{Data: chunk}})
	})
	t.failed <- tunnelError(err)
}

// tunnelError is the end of the HTTP/2 connection as an error that tells the server whether it may come again.
func tunnelError(err error) error {
	switch {
	case errors.Is(err, tunnel.ErrChunk):
		return &core.Error{Code: core.CodeInvalid, Detail: "data: " + err.Error()}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe):
		return core.Errorf(core.CodeUnavailable, "the connection inside is over")
	}
	return err
}

// in hands the gateway's HTTP/2 client what the server sends.
func (t *relayed) in() {
	t.failed <- t.receive()
	t.far.Close()
}

func (t *relayed) receive() error {
	leaving := false
	for {
		frame, err := t.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case frame.GetLeave() != nil && !leaving:
			leaving = true
			close(t.leave)
		case frame.GetHello() != nil:
			return core.Errorf(core.CodeInvalid, "a second hello")
		}
		if data := frame.GetData(); len(data) > 0 {
			if err := tunnel.In(t.far, data); err != nil {
				return tunnelError(err)
			}
		}
	}
}

// hello reads the first frame.
func (p *Proxy) hello(stream relayStream) (*description, error) {
	type first struct {
		frame *relayv1.ConnectRequest
		err   error
	}
	got := make(chan first, 1)
	p.entering.also(func() {
		frame, err := stream.Recv()
		got <- first{frame, err}
	})
	late := time.NewTimer(helloWithin)
	defer late.Stop()
	select {
	case f := <-got:
		if f.err != nil && !errors.Is(f.err, io.EOF) {
			return nil, f.err
		}
		return readHello(f.frame.GetHello())
	case <-late.C:
		return nil, core.Errorf(core.CodeTimeout, "no hello within %v", helloWithin)
	case <-p.draining.Done():
		return nil, errDraining
	}
}

// readHello checks what a server says that it serves.
func readHello(hello *relayv1.Hello) (*description, error) {
	if hello == nil {
		return nil, core.Errorf(core.CodeInvalid, "the first frame must be hello")
	}
	if n := len(hello.GetServices()); n > survey.MaxServices {
		return nil, core.Errorf(core.CodeInvalid, "services: %d, at most %d", n, survey.MaxServices)
	}
	d, count := &description{services: map[string]methods{}, others: hello.GetOthers()}, 0
	for _, service := range hello.GetServices() {
		name := service.GetName()
		if count += len(service.GetMethods()); count > survey.MaxMethods {
			return nil, core.Errorf(core.CodeInvalid, "services: %d methods, at most %d", count, survey.MaxMethods)
		}
		if err := checkService(name); err != nil {
			return nil, err
		}
		if service.GetAllMethods() {
			d.services[name] = nil
			continue
		}
		d.services[name] = methods{}
		for _, m := range service.GetMethods() {
			if !isWord(m.GetName()) {
				return nil, core.Errorf(core.CodeInvalid, "services: %s.%q is not the name of a method", name, m.GetName())
			}
			d.services[name][m.GetName()] = kindOf(m.GetClientStreams(), m.GetServerStreams())
		}
	}
	if len(d.services) == 0 && !d.others {
		return nil, core.Errorf(core.CodeInvalid, "services: none")
	}
	return d, d.addFiles(hello.GetFiles())
}

func checkService(name string) error {
	switch {
	case !isService(name):
		return core.Errorf(core.CodeInvalid, "services: %q is not the name of a service", name)
	case reserved(name):
		return core.Errorf(core.CodePermissionDenied, "services: %s is the gateway's own", name)
	}
	return nil
}

func (d *description) addFiles(encoded [][]byte) error {
	files := survey.NewFiles()
	err := files.Add(encoded...)
	if err == nil {
		d.files, err = files.Registry()
	}
	if err != nil {
		return &core.Error{Code: core.CodeInvalid, Detail: "files: " + err.Error()}
	}
	return nil
}
