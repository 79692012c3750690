package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// method is a method of a service.
type method struct {
	*Bridge
	path   string
	output protoreflect.MessageDescriptor
	desc   *grpc.StreamDesc
}

// begin is a call's context towards the service. end must be called.
func (m *method) begin(ctx context.Context, header http.Header) (out context.Context, end func(), err error) {
	if !m.calls.TryAcquire(1) {
		return nil, nil, connect.NewError(connect.CodeResourceExhausted, errors.New("too many calls are under way"))
	}
	md := incoming(header)
	if who, ok := ctx.Value(callKey{}).(*caller); ok {
		md.Set(RemoteKey, who.remote)
	}
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(ctx, md))
	return ctx, func() {
		cancel()
		m.calls.Release(1)
	}, nil
}

func (m *method) options(more ...grpc.CallOption) []grpc.CallOption {
	return append(more, grpc.ForceCodecV2(through{}), grpc.MaxCallRecvMsgSize(1<<30)) // the service's own limits count
}

func (m *method) unary(ctx context.Context, req *connect.Request[envelope]) (*connect.Response[envelope], error) {
	ctx, end, err := m.begin(ctx, req.Header())
	if err != nil {
		return nil, err
	}
	defer end()
	var header, trailer metadata.MD
	resp := connect.NewResponse(&envelope{kind: m.output})
	if err := m.cfg.Conn.Invoke(ctx, m.path, req.Msg, resp.Msg, m.options(grpc.Header(&header), grpc.Trailer(&trailer))...); err != nil {
		return nil, failed(err, header, trailer)
	}
	outgoing(resp.Header(), header)
	outgoing(resp.Trailer(), trailer)
	return resp, nil
}

// answer is where a stream's answer goes.
type answer struct {
	header, trailer http.Header
	send            func(*envelope) error // nil sends the headers alone
}

func (m *method) serverStream(ctx context.Context, req *connect.Request[envelope], stream *connect.ServerStream[envelope]) error {
	ctx, end, err := m.begin(ctx, req.Header())
	if err != nil {
		return err
	}
	defer end()
	call, err := m.cfg.Conn.NewStream(ctx, m.desc, m.path, m.options()...)
	if err != nil {
		return failed(err, nil, nil)
	}
	if err := call.SendMsg(req.Msg); err != nil && !errors.Is(err, io.EOF) { // io.EOF: the status says why
		return failed(err, nil, nil)
	}
	if err := call.CloseSend(); err != nil {
		return failed(err, nil, nil)
	}
	return m.down(call, answer{stream.ResponseHeader(), stream.ResponseTrailer(), stream.Send})
}

func (m *method) clientStream(ctx context.Context, stream *connect.ClientStream[envelope]) (*connect.Response[envelope], error) {
	who, ok := ctx.Value(callKey{}).(*caller)
	if !ok {
		return nil, connect.NewError(connect.CodeInternal, errors.New("a call without its request"))
	}
	ctx, end, err := m.begin(ctx, stream.RequestHeader())
	if err != nil {
		return nil, err
	}
	defer end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := m.cfg.Conn.NewStream(ctx, m.desc, m.path, m.options()...)
	if err != nil {
		return nil, failed(err, nil, nil)
	}
	up := make(chan error, 1)
	go func() { up <- gather(call, stream, cancel) }()
	resp := connect.NewResponse(&envelope{kind: m.output})
	err = call.RecvMsg(resp.Msg) // which may be before the client has said all: who is refused does not keep the call
	who.hush()
	if broken := <-up; broken != nil && err != nil && status.Code(err) == codes.Canceled {
		return nil, broken
	}
	header, _ := call.Header() // an error is that of RecvMsg
	if err != nil {
		return nil, failed(err, header, call.Trailer())
	}
	if err := call.RecvMsg(&envelope{}); !errors.Is(err, io.EOF) {
		return nil, failed(err, header, call.Trailer())
	}
	outgoing(resp.Header(), header)
	outgoing(resp.Trailer(), call.Trailer())
	return resp, nil
}

// gather hands the service what the client says, until the end of it or of the call. What cannot be read ends the call, and is why.
func gather(call grpc.ClientStream, stream *connect.ClientStream[envelope], cancel context.CancelFunc) error {
	for stream.Receive() {
		if !sent(call, stream.Msg()) {
			return nil
		}
	}
	if err := stream.Err(); err != nil {
		cancel()
		return err
	}
	return call.CloseSend()
}

func (m *method) bidi(ctx context.Context, stream *connect.BidiStream[envelope, envelope]) error {
	who, ok := ctx.Value(callKey{}).(*caller)
	if !ok {
		return connect.NewError(connect.CodeInternal, errors.New("a call without its request"))
	}
	ctx, done, err := m.begin(ctx, stream.RequestHeader())
	if err != nil {
		return err
	}
	defer done()
	ctx, end := context.WithCancel(ctx)
	defer end()
	call, err := m.cfg.Conn.NewStream(ctx, m.desc, m.path, m.options()...)
	if err != nil {
		return failed(err, nil, nil)
	}
	up := make(chan error, 1)
	go func() { up <- m.up(call, stream, end) }()
	err = m.down(call, answer{stream.ResponseHeader(), stream.ResponseTrailer(), stream.Send})
	who.hush()
	if broken := <-up; broken != nil && connect.CodeOf(err) == connect.CodeCanceled {
		return broken
	}
	return err
}

// up hands the service what the client says. What cannot be read ends the call, and is why.
func (m *method) up(call grpc.ClientStream, stream *connect.BidiStream[envelope, envelope], cancel context.CancelFunc) error {
	for {
		got, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return call.CloseSend()
		}
		if err != nil {
			cancel()
			return err
		}
		if !sent(call, got) {
			return nil
		}
	}
}

// sent tells whether a message could be sent. Otherwise the call has ended, and who reads it is told how.
func sent(call grpc.ClientStream, m *envelope) bool { return call.SendMsg(m) == nil }

// down hands the client what the service says, until its end. The headers go as soon as they are there.
func (m *method) down(call grpc.ClientStream, to answer) error {
	header, err := call.Header()
	if err == nil && header != nil {
		outgoing(to.header, header)
		err = to.send(nil)
	}
	for err == nil {
		got := &envelope{kind: m.output}
		if err = call.RecvMsg(got); err == nil {
			err = to.send(got)
		}
	}
	if errors.Is(err, io.EOF) {
		outgoing(to.trailer, call.Trailer())
		return nil
	}
	return failed(err, nil, call.Trailer())
}

// failed is a status as connect has it: code, message, details, and metadata beside.
func failed(err error, header, trailer metadata.MD) error {
	if own := (*connect.Error)(nil); errors.As(err, &own) {
		return err
	}
	s := status.Convert(err)
	if s.Code() == 0 { // io.EOF where a message was wanted
		return connect.NewError(connect.CodeInternal, err)
	}
	out := connect.NewError(connect.Code(s.Code()), errors.New(s.Message()))
	for _, detail := range s.Proto().GetDetails() {
		if d, err := connect.NewErrorDetail(detail); err == nil {
			out.AddDetail(d)
		}
	}
	outgoing(out.Meta(), header)
	outgoing(out.Meta(), trailer)
	return out
}

// own are the names that HTTP and the protocols keep for themselves, and prefixes of such, which end in a hyphen.
var own = []string{
	"accept", "accept-", "access-control-", "connect-", "connection", "content-", "cookie", "grpc-", "host", "keep-alive", "origin", "proxy-", "referer", "sec-", "te", "trailer", "transfer-encoding",
	"upgrade", "user-agent", "x-grpc-web", "x-user-agent", RemoteKey,
}

// carried tells whether a header is metadata.
func carried(name string) bool {
	return !slices.ContainsFunc(own, func(kept string) bool {
		return name == kept || strings.HasSuffix(kept, "-") && strings.HasPrefix(name, kept)
	})
}

// printable tells whether gRPC can carry a header; HTTP allows more.
func printable(name, value string) bool {
	odd := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.", c)
	}
	return !strings.ContainsFunc(name, odd) && (strings.HasSuffix(name, "-bin") || !strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }))
}

// incoming is the metadata of a request. What cannot be metadata, and binary values that are none, are passed over.
func incoming(h http.Header) metadata.MD {
	md := metadata.MD{}
	for name, values := range h {
		name = strings.ToLower(name)
		if !carried(name) {
			continue
		}
		for _, v := range values {
			if strings.HasSuffix(name, "-bin") {
				raw, err := connect.DecodeBinaryHeader(v)
				if err != nil {
					continue
				}
				v = string(raw)
			}
			if printable(name, v) {
				md.Append(name, v)
			}
		}
	}
	return md
}

// outgoing adds metadata to headers or trailers.
func outgoing(h http.Header, md metadata.MD) {
	for name, values := range md {
		if !carried(name) {
			continue
		}
		for _, v := range values {
			if strings.HasSuffix(name, "-bin") {
				v = connect.EncodeBinaryHeader([]byte(v))
			}
			h.Add(name, v)
		}
	}
}
