package proxy

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"

	"portico/core"
	"portico/core/policy"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// server is somebody who serves methods, over a connection of the gateway's.
type server struct {
	// immutable
	proxy  *Proxy
	name   string // for the log
	conn   grpc.ClientConnInterface
	served *description
	calls  *calls // that it has under way

	leaving sync.Once
}

// join lets a server have the calls of the methods it serves, as bus may: CodePermissionDenied without the permission to serve all their subjects, CodeUnavailable. What
// it gets goes over conn.
func (p *Proxy) join(bus *core.Bus, name string, conn grpc.ClientConnInterface, served *description) (*server, error) {
	if at := bus.Tenant(); at != core.DefaultTenant {
		return nil, core.Errorf(core.CodeUnimplemented, "servers cannot join in tenant %q", at)
	}
	s := &server{proxy: p, name: name, conn: conn, served: served, calls: newCalls(p.cfg.MaxCalls)}
	if err := served.mayBeBy(bus); err != nil {
		return nil, err
	}
	if err := p.posts.add(s, s.subjects()); err != nil {
		return nil, err
	}
	p.directory.add(s)
	p.log.Info("a gRPC server has joined", "server", name, "services", len(served.services))
	return s, nil
}

// mayBeBy checks that bus may serve all of it.
func (d *description) mayBeBy(bus *core.Bus) error {
	for _, pattern := range d.patterns() {
		if err := bus.May(policy.Serve, pattern); err != nil {
			return err
		}
	}
	return nil
}

// subjects are all that the server is found by; the marks come first, so that no method is taken for unary that is not.
func (s *server) subjects() []string { return append(s.served.marks(), s.served.patterns()...) }

// leave takes no more calls. Those that have begun go on. It may be called again.
func (s *server) leave() {
	s.leaving.Do(func() {
		s.proxy.directory.remove(s)
		s.proxy.posts.remove(s, s.subjects())
		s.calls.close()
		s.proxy.log.Info("a gRPC server takes no more calls", "server", s.name)
	})
}

// begin starts a call that has been counted in.
func (s *server) begin(path string, m *core.Message) {
	c := &call{server: s, path: path, request: m}
	c.ctx, c.cancel = context.WithCancel(s.proxy.ctx)
	session := m.Header.Get(headerSession) != ""
	if !session {
		s.proxy.begin(m.Reply, c.cancel)
	}
	go func() {
		defer s.proxy.exiting.leave()
		defer s.calls.leave()
		defer c.cancel()
		if session {
			c.session()
			return
		}
		defer s.proxy.over(m.Reply)
		c.unary()
	}()
}

func (s *server) enter() error {
	if err := s.proxy.exiting.enter(); err != nil {
		return err
	}
	if err := s.calls.enter(); err != nil {
		s.proxy.exiting.leave()
		return err
	}
	return nil
}

// call is a call on its way to a server.
type call struct {
	*server
	path    string
	request *core.Message
	ctx     context.Context
	cancel  context.CancelFunc
}

// outgoing is the call's context as the server will see it: deadline and metadata.
func (c *call) outgoing() (context.Context, context.CancelFunc, error) {
	timeout, none := c.proxy.cfg.RequestTimeout, false
	if text := c.request.Header.Get(headerTimeout); text != "" {
		var err error
		if timeout, none, err = readTimeout(text); err != nil {
			return nil, nil, err
		}
	}
	md, _ := readMetadata(c.request.Header)
	if shown := c.request.Header[headerAuthorization]; c.proxy.cfg.Authorization && len(shown) > 0 {
		md[headerAuthorization] = shown
	}
	ctx := metadata.NewOutgoingContext(c.ctx, md)
	if none {
		return ctx, func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	return ctx, cancel, nil
}

// options are those of every call: messages pass as they are, in the form the caller named.
func (c *call) options(more ...grpc.CallOption) []grpc.CallOption {
	most := c.proxy.maxMessage
	all := append(more, grpc.ForceCodecV2(c.proxy.codec), grpc.MaxCallRecvMsgSize(most), grpc.MaxCallSendMsgSize(most))
	if form, ok := strings.CutPrefix(c.request.Header.Get(core.HeaderContentType), contentTypes); ok {
		all = append(all, grpc.CallContentSubtype(form))
	}
	return all
}

// unary calls the server and answers with its reply, its status and both kinds of metadata.
func (c *call) unary() {
	ctx, cancel, err := c.outgoing()
	if err != nil {
		c.refuse(err)
		return
	}
	defer cancel()
	request, translate, err := c.protobuf()
	if err != nil {
		c.refuse(err)
		return
	}
	var header, trailer metadata.MD
	var got payload
	err = c.conn.Invoke(ctx, c.path, &payload{data: request}, &got, c.options(grpc.Header(&header), grpc.Trailer(&trailer))...)
	if c.request.Reply == "" {
		return // it was published: nobody wants to know
	}
	h := make(core.Header, len(header)+len(trailer)+4)
	addMetadata(h, "", header)
	addMetadata(h, trailerPrefix, trailer)
	if own := (*core.Error)(nil); err != nil && errors.As(context.Cause(c.ctx), &own) {
		err = own // the gateway cut it
	}
	if err == nil && translate != nil {
		got.data, err = translate(got.data)
		h[core.HeaderContentType] = []string{jsonType}
	}
	addStatus(h, c.proxy.statusOf(err))
	if err := c.proxy.send(&core.Message{Subject: c.request.Reply, Header: h, Data: got.data}); err != nil {
		c.refuse(err)
	}
}

// protobuf is the message that the server gets, and what is to be done with its answer: nil for nothing.
func (c *call) protobuf() (request []byte, translate func([]byte) ([]byte, error), err error) {
	if !isJSON(c.request.Header) {
		return c.request.Data, nil, nil
	}
	t, err := c.served.translator(c.path)
	if err != nil {
		return nil, nil, err
	}
	request, err = t.request(c.request.Data)
	return request, t.reply, err
}

// refuse answers with an error of the gateway's own.
func (c *call) refuse(err error) { c.proxy.refuse(refusal{c.request.Reply, err}) }

// session opens the server's side of a session and carries the call until it is over.
func (c *call) session() {
	h := c.request.Header
	credit, err := strconv.ParseInt(h.Get(headerCredit), 10, 64)
	if h.Get(headerSession) != sessionVersion || err != nil || credit < 0 || c.request.Reply == "" {
		c.refuse(core.Errorf(core.CodeInvalid, "a session of version %s needs a reply subject and %s", sessionVersion, headerCredit))
		return
	}
	ctx, cancel, err := c.outgoing()
	if err != nil {
		c.refuse(err)
		return
	}
	defer cancel()
	s := c.proxy.newSession(ctx)
	defer s.close()
	s.credit = credit
	s.towards(c.request.Reply)
	if err := s.sendFrom(s.inbox, kindAccept, core.Header{headerCredit: {strconv.FormatInt(s.window, 10)}}, nil); err != nil {
		return // the caller's side finds out by its own clock
	}
	stream, err := c.conn.NewStream(s.ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, c.path, c.options()...)
	if err != nil {
		c.finish(s, nil, err)
		return
	}
	c.proxy.exiting.also(func() { toServer(s, stream) })
	c.finish(s, stream, fromServer(s, stream))
}

// toServer hands the server what the caller says. Credit is given back when the server's connection has room again.
func toServer(s *session, stream grpc.ClientStream) {
	for {
		f, err := s.next()
		switch {
		case err != nil:
			s.end(err)
			return
		case f.kind == kindEnd:
			if err := stream.CloseSend(); err != nil {
				s.end(err)
			}
		case f.kind != kindData:
			s.end(errFrame)
			return
		case stream.SendMsg(&payload{data: f.data}) != nil:
			return // the call has ended: its status is read by the other goroutine
		default:
			if err := s.done(&f); err != nil {
				s.end(err)
				return
			}
		}
	}
}

// fromServer sends the caller what the server says, until its end. The error is the server's status, io.EOF for OK, or why nothing can be sent any more.
func fromServer(s *session, stream grpc.ClientStream) error {
	header, err := stream.Header()
	if err == nil && header != nil {
		h := make(core.Header, len(header)+1)
		addMetadata(h, "", header)
		err = s.send(kindHeaders, h, nil)
	}
	for err == nil {
		var m payload
		if err = stream.RecvMsg(&m); err == nil {
			err = s.message(m.data)
		}
	}
	return err
}

// finish tells the caller how the call ended, with the trailers if there are any.
func (c *call) finish(s *session, stream grpc.ClientStream, err error) {
	over := context.Cause(s.ctx)
	s.end(nil) // the server learns of it if it has not ended the call itself
	h := core.Header{}
	if stream != nil && isStatus(err) {
		addMetadata(h, trailerPrefix, stream.Trailer())
	}
	switch own := (*core.Error)(nil); {
	case errors.Is(err, io.EOF):
		addStatus(h, status.New(codes.OK, ""))
	case errors.As(over, &own) && (own == errCancelled || own == errLost):
		return // nobody is there who could be told
	case over != nil && errors.As(over, &own):
		addStatus(h, c.proxy.cfg.Status(own))
	default:
		addStatus(h, c.proxy.statusOf(err))
	}
	if why := s.send(kindEnd, h, nil); why != nil {
		again := s.send(kindEnd, c.proxy.plainStatus(why), nil)
		c.proxy.log.Debug("the end of a call could not be told as it was", "method", c.path, "err", why, "again", again)
	}
}

func isStatus(err error) bool {
	if errors.Is(err, io.EOF) {
		return true
	}
	_, ok := err.(interface{ GRPCStatus() *status.Status })
	return ok
}

// statusOf is the status for err, which the server gave or which is the gateway's own.
func (p *Proxy) statusOf(err error) *status.Status {
	if err == nil || isStatus(err) {
		return status.Convert(err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return status.FromContextError(err)
	}
	return p.cfg.Status(err)
}

// plainStatus is err as the only thing that is told.
func (p *Proxy) plainStatus(err error) core.Header {
	h := core.Header{}
	addStatus(h, p.statusOf(err))
	return h
}

// refusal is an answer of the gateway's own to a call.
type refusal struct {
	reply string
	err   error
}

func (p *Proxy) refuse(r refusal) {
	if r.reply == "" {
		return
	}
	if err := p.send(&core.Message{Subject: r.reply, Header: p.plainStatus(r.err)}); err != nil {
		p.log.Debug("a refusal could not be told", "err", err)
	}
}
