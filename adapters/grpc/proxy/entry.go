package proxy

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"portico/core"
	"portico/core/policy"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// acceptWithin is how long whoever got a call may take to open its end of the session.
const acceptWithin = 10 * time.Second

// Handle carries a call that came in at the door, as bus may use it: it is the handler of grpc.UnknownServiceHandler. Errors are statuses that the server gave, or core.Errors:
// CodeUnimplemented for a service of the gateway's own and for a path that names no method, CodePermissionDenied without the permission for requests to the method's subject,
// CodeNoResponders when nobody serves it, CodeTooLarge, CodeResourceExhausted, CodeUnavailable.
func (p *Proxy) Handle(bus *core.Bus, stream grpc.ServerStream) error {
	path, _ := grpc.MethodFromServerStream(stream)
	service, method, ok := splitPath(path)
	if !ok || reserved(service) {
		return core.Errorf(core.CodeUnimplemented, "unknown method %s", strings.ToValidUTF8(path, "\uFFFD"))
	}
	if at := bus.Tenant(); at != core.DefaultTenant {
		return core.Errorf(core.CodeUnimplemented, "methods of other servers are not there in tenant %q", at)
	}
	if err := p.entering.enter(); err != nil {
		return err
	}
	defer p.entering.leave()
	subject := subjects + service + "." + method
	if err := bus.May(policy.Request, subject); err != nil {
		return err
	}
	header := p.requestHeader(stream.Context())
	switch kind := p.directory.kind(service, method); {
	case kind == unary:
		return p.enterUnary(stream, subject, header)
	case kind == unknown && p.posts.lingers(service, method):
		return errNobody
	case kind == streaming, p.bus.Interest(marks + service + "." + method):
		return p.enterSession(stream, subject, header)
	case p.bus.Interest(subject):
		return p.enterPlain(stream, subject, header)
	case p.bus.Interest(others + service + "." + method):
		return p.enterSession(stream, others+service+"."+method, header)
	}
	return core.Errorf(core.CodeNoResponders, "no server of %s is connected", path)
}

// requestHeader is what a call brings along: its metadata, deadline and the form of its messages.
func (p *Proxy) requestHeader(ctx context.Context) core.Header {
	md, _ := metadata.FromIncomingContext(ctx)
	h := make(core.Header, len(md)+4)
	addMetadata(h, "", md)
	if shown := md.Get(headerAuthorization); p.cfg.Authorization && len(shown) > 0 {
		h[headerAuthorization] = shown
	}
	h[headerTimeout] = []string{endless}
	if deadline, ok := ctx.Deadline(); ok {
		h[headerTimeout] = []string{writeTimeout(time.Until(deadline))}
	}
	if form := md.Get("content-type"); len(form) == 1 && strings.HasPrefix(form[0], contentTypes) {
		h[core.HeaderContentType] = form
	}
	return h
}

// enterPlain is enterUnary for a method that only a client of the bus serves, of which nobody would notice if it went: without a deadline the call gets one.
func (p *Proxy) enterPlain(stream grpc.ServerStream, subject string, h core.Header) error {
	ctx, cancel := context.WithTimeout(stream.Context(), p.cfg.RequestTimeout)
	defer cancel()
	if deadline, ok := ctx.Deadline(); ok {
		h[headerTimeout] = []string{writeTimeout(time.Until(deadline))}
	}
	return p.unaryCall(ctx, stream, subject, h)
}

func (p *Proxy) enterUnary(stream grpc.ServerStream, subject string, h core.Header) error {
	return p.unaryCall(stream.Context(), stream, subject, h)
}

// unaryCall is a request on the bus.
func (p *Proxy) unaryCall(ctx context.Context, stream grpc.ServerStream, subject string, h core.Header) error {
	request, err := onlyMessage(stream)
	if err != nil {
		return err
	}
	got := make(answer, 1)
	inbox, number := p.inbox.add(got)
	defer p.inbox.remove(number)
	if err := p.posts.call(&core.Message{Subject: subject, Reply: inbox, Header: h, Data: request}); err != nil {
		return err
	}
	select {
	case m := <-got:
		return reply(stream, m)
	case <-ctx.Done():
		p.cancel(inbox)
		return callerGone(ctx)
	}
}

// onlyMessage reads the one message of a unary call.
func onlyMessage(stream grpc.ServerStream) ([]byte, error) {
	var first, second payload
	switch err := stream.RecvMsg(&first); {
	case errors.Is(err, io.EOF):
		return nil, status.Error(codes.Internal, "a unary call needs a message")
	case err != nil:
		return nil, err
	}
	switch err := stream.RecvMsg(&second); {
	case err == nil:
		return nil, status.Error(codes.Internal, "the method takes one message, or its server has not said that it takes more")
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	return first.data, nil
}

// reply hands a reply of the bus to the caller.
func reply(stream grpc.ServerStream, m *core.Message) error {
	if nobody(m) {
		return core.Errorf(core.CodeNoResponders, "the server of the method has just gone")
	}
	header, trailer := readMetadata(m.Header)
	if err := stream.SetHeader(header); err != nil {
		return err
	}
	stream.SetTrailer(trailer)
	if s := readStatus(m.Header); s.Code() != codes.OK {
		return s.Err()
	}
	return stream.SendMsg(&payload{data: m.Data})
}

// nobody tells the bus's own answer to a request that nobody takes.
func nobody(m *core.Message) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503" && m.Header.Get(headerStatus) == ""
}

// callerGone is the status of a call that ended because its context did.
func callerGone(ctx context.Context) error { return status.FromContextError(ctx.Err()).Err() }

// enterSession carries any call, message by message.
func (p *Proxy) enterSession(stream grpc.ServerStream, subject string, h core.Header) error {
	s := p.newSession(stream.Context())
	defer s.close()
	h[headerSession] = []string{sessionVersion}
	h[headerCredit] = []string{strconv.FormatInt(s.window, 10)}
	if err := p.posts.call(&core.Message{Subject: subject, Reply: s.inbox, Header: h}); err != nil {
		return err
	}
	first, err := s.accepted(stream.Context())
	if err != nil {
		return err
	}
	if first.kind == kindEnd {
		return finish(stream, first.header)
	}
	p.entering.also(func() { s.up(stream) })
	over, err := s.down(stream)
	if over {
		return err
	}
	return s.abandon(stream.Context(), err)
}

// accepted waits until the server's side has opened its end. A caller that goes meanwhile is waited for, so that the server's side hears of it: nobody knows yet where to tell it.
func (s *session) accepted(caller context.Context) (frame, error) {
	late := time.NewTimer(acceptWithin)
	defer late.Stop()
	failed := s.ctx.Done()
	for {
		f, ok := s.pop()
		switch {
		case ok && f.kind == kindEnd:
			return f, nil
		case ok && f.kind == kindAccept && f.reply != "":
			s.towards(f.reply)
			if caller.Err() != nil {
				return frame{}, s.abandon(caller, callerGone(caller))
			}
			return f, nil
		case ok:
			return frame{}, errFrame
		}
		select {
		case <-s.filled:
		case <-failed:
			if caller.Err() == nil {
				return frame{}, context.Cause(s.ctx)
			}
			failed = nil
		case <-late.C:
			return frame{}, core.Errorf(core.CodeUnavailable, "the server of the method does not answer")
		}
	}
}

// up sends what the caller says, until it has said all or is gone.
func (s *session) up(stream grpc.ServerStream) {
	for {
		var m payload
		switch err := stream.RecvMsg(&m); {
		case errors.Is(err, io.EOF):
			err = s.send(kindEnd, core.Header{}, nil)
			if err != nil {
				s.end(err)
			}
			return
		case err != nil:
			s.end(err)
			return
		}
		if err := s.message(m.data); err != nil {
			s.end(err)
			return
		}
	}
}

// down hands what the server says to the caller, until its end. Credit is given back when the caller's connection has room again.
// over: the server has ended the call, err is its status.
func (s *session) down(stream grpc.ServerStream) (over bool, err error) {
	for {
		f, err := s.next()
		if err != nil {
			return false, err
		}
		switch f.kind {
		case kindHeaders:
			header, _ := readMetadata(f.header)
			err = stream.SendHeader(header)
		case kindData:
			if err = stream.SendMsg(&payload{data: f.data}); err == nil {
				err = s.done(&f)
			}
		case kindEnd:
			return true, finish(stream, f.header)
		default:
			err = errFrame
		}
		if err != nil {
			return false, err
		}
	}
}

// finish ends the call as the server did. The error is the server's status.
func finish(stream grpc.ServerStream, h core.Header) error {
	header, trailer := readMetadata(h)
	if len(header) > 0 {
		_ = stream.SetHeader(header) // an error says that headers have been sent; then these were not wanted
	}
	stream.SetTrailer(trailer)
	return readStatus(h).Err()
}

// abandon tells the server's side that nobody reads any more, and returns why.
func (s *session) abandon(caller context.Context, why error) error {
	if err := s.send(kindCancel, core.Header{}, nil); err != nil {
		s.proxy.log.Debug("a call that is over could not be cancelled", "err", err)
	}
	if caller.Err() != nil {
		return callerGone(caller)
	}
	return why
}
