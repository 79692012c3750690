package grpcapi_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/stats"
)

// wireBytes counts what messages take on the wire.
type wireBytes struct{ in, out int }

func (*wireBytes) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*wireBytes) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*wireBytes) HandleConn(context.Context, stats.ConnStats)                       {}

func (w *wireBytes) HandleRPC(_ context.Context, event stats.RPCStats) {
	switch event := event.(type) {
	case *stats.InPayload:
		w.in += event.WireLength
	case *stats.OutPayload:
		w.out += event.WireLength
	}
}

func TestCompression(t *testing.T) {
	h := start(t)
	seen := &wireBytes{}
	client := porticov1.NewPorticoServiceClient(h.dial(grpc.WithStatsHandler(seen)))
	payload := strings.Repeat("compressible ", 10_000)
	h.declare(&porticov1.Queue{Name: "q"})
	if _, err := client.Append(h.ctx(), &porticov1.AppendRequest{Queue: "q", Message: message("", payload)}, grpc.UseCompressor(gzip.Name)); err != nil {
		t.Fatal(err)
	}
	resp, err := client.Fetch(h.ctx(), &porticov1.FetchRequest{Queue: "q"}, grpc.UseCompressor(gzip.Name))
	if err != nil || len(resp.GetMessages()) != 1 || string(resp.GetMessages()[0].GetMessage().GetData()) != payload {
		t.Fatalf("fetched %d messages, %v", len(resp.GetMessages()), err)
	}
	if limit := len(payload) / 10; seen.out > limit || seen.in > limit {
		t.Errorf("%d bytes went and %d came for a payload of %d", seen.out, seen.in, len(payload))
	}
}

func TestHealthOfEachService(t *testing.T) {
	h := start(t)
	health := healthv1.NewHealthClient(h.conn)
	for _, service := range []string{"", "portico.v1.PorticoService", "portico.v1.StreamService", "portico.v1.KeyValueService", "portico.v1.ObjectService", "portico.v1.AdminService"} {
		h.eventually("health of "+service, func() bool {
			resp, err := health.Check(h.ctx(), &healthv1.HealthCheckRequest{Service: service})
			return err == nil && resp.GetStatus() == healthv1.HealthCheckResponse_SERVING
		})
	}
	_, err := health.Check(h.ctx(), &healthv1.HealthCheckRequest{Service: "none"})
	want(t, err, codes.NotFound, "")
}

// TestTooManyPingsEndTheConnection: a client that pings more often than every 5 s is told to calm down.
func TestTooManyPingsEndTheConnection(t *testing.T) {
	h := start(t)
	conn, framer := h.raw()
	defer conn.Close()
	go func() {
		for framer.WritePing(false, [8]byte{1}) == nil {
		}
	}()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("no GOAWAY before %v", err)
		}
		if away, ok := frame.(*http2.GoAwayFrame); ok {
			if away.ErrCode != http2.ErrCodeEnhanceYourCalm {
				t.Errorf("GOAWAY with %v", away.ErrCode)
			}
			return
		}
	}
}

// raw is a connection that has exchanged settings.
func (h *house) raw() (net.Conn, *http2.Framer) {
	h.Helper()
	conn, err := net.Dial("tcp", h.address)
	if err != nil {
		h.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		h.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		h.Fatal(err)
	}
	return conn, framer
}

// headers is a HEADERS frame's block for a call.
func headers(pairs ...string) []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return b.Bytes()
}

func callHeaders(more ...string) []byte {
	return headers(append([]string{":method", "POST", ":scheme", "http", ":path", "/portico.v1.PorticoService/Publish", ":authority", "x", "content-type", "application/grpc", "te", "trailers"}, more...)...)
}

// TestBrokenHTTP2 throws at the port what no client sends. Each ends its own connection at most, and the door stays what it was.
func TestBrokenHTTP2(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "q"})
	frame := func(length uint32, kind, flags byte, stream uint32, payload ...byte) []byte {
		b := []byte{byte(length >> 16), byte(length >> 8), byte(length), kind, flags}
		return append(binary.BigEndian.AppendUint32(b, stream), payload...)
	}
	begun := func(after func(f *http2.Framer) error) func(*http2.Framer) error {
		return func(f *http2.Framer) error {
			return errors.Join(f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: callHeaders(), EndHeaders: true}), after(f))
		}
	}
	raw := func(b []byte) func(*http2.Framer) error {
		return func(f *http2.Framer) error {
			return f.WriteRawFrame(http2.FrameType(b[3]), http2.Flags(b[4]), binary.BigEndian.Uint32(b[5:]), b[9:])
		}
	}
	for name, attack := range map[string]func(f *http2.Framer) error{
		"data without a stream":     raw(frame(1, 0, 0, 1, 0)),
		"data on stream 0":          raw(frame(1, 0, 0, 0, 0)),
		"headers on an even stream": raw(frame(0, 1, 4, 2)),
		"broken header compression": raw(frame(3, 1, 4, 1, 0xff, 0xff, 0xff)),
		"settings of odd length":    raw(frame(5, 4, 0, 0, 1, 2, 3, 4, 5)),
		"window beyond bounds": func(f *http2.Framer) error {
			return errors.Join(f.WriteWindowUpdate(0, 1<<31-1), f.WriteWindowUpdate(0, 1<<31-1))
		},
		"window update of nothing":   raw(frame(4, 8, 0, 0, 0, 0, 0, 0)),
		"unknown frame":              raw(frame(3, 0xee, 0xff, 7, 1, 2, 3)),
		"push promise":               raw(frame(4, 5, 4, 1, 0, 0, 0, 2)),
		"continuation of nothing":    raw(frame(1, 9, 4, 1, 0)),
		"message longer than it is":  begun(func(f *http2.Framer) error { return f.WriteData(1, true, []byte{0, 0, 0, 1, 0, 1}) }),
		"message of 4 GiB":           begun(func(f *http2.Framer) error { return f.WriteData(1, false, []byte{0, 0xff, 0xff, 0xff, 0xff}) }),
		"message of unknown coding":  begun(func(f *http2.Framer) error { return f.WriteData(1, true, []byte{1, 0, 0, 0, 1, 0}) }),
		"message that is no message": begun(func(f *http2.Framer) error { return f.WriteData(1, true, []byte{0, 0, 0, 0, 2, 0xff, 0xff}) }),
		"reset at once":              begun(func(f *http2.Framer) error { return f.WriteRSTStream(1, http2.ErrCodeCancel) }),
		"headers that never end": func(f *http2.Framer) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: callHeaders()})
		},
		"headers without a path": func(f *http2.Framer) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(":method", "POST"), EndHeaders: true, EndStream: true})
		},
		"a GET": func(f *http2.Framer) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(":method", "GET", ":scheme", "http", ":path", "/", ":authority", "x"), EndHeaders: true, EndStream: true})
		},
		"a timeout that is none": func(f *http2.Framer) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: callHeaders("grpc-timeout", "soon"), EndHeaders: true, EndStream: true})
		},
		"headers of 64 KiB": func(f *http2.Framer) error {
			block := callHeaders("x", strings.Repeat("x", 60<<10))
			err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16<<10]})
			for block = block[16<<10:]; err == nil && len(block) > 0; {
				n := min(len(block), 16<<10)
				err = f.WriteContinuation(1, n == len(block), block[:n])
				block = block[n:]
			}
			return err
		},
		"a thousand resets": func(f *http2.Framer) error {
			for id := uint32(1); id < 2000; id += 2 {
				if err := errors.Join(f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: callHeaders(), EndHeaders: true}), f.WriteRSTStream(id, http2.ErrCodeCancel)); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn, framer := h.raw()
			defer conn.Close()
			framer.AllowIllegalWrites = true
			if err := attack(framer); err != nil {
				t.Logf("it did not take all: %v", err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // whether it answers or not
			_, _ = io.Copy(io.Discard, conn)
			if got := h.info("q"); got.GetQueue().GetName() != "q" {
				t.Errorf("afterwards the door says %v", got)
			}
		})
	}
	for name, garbage := range map[string]string{"HTTP/1": "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "nothing": "", "AMQP": "AMQP\x00\x00\x09\x01", "half a preface": http2.ClientPreface[:10]} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", h.address)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, garbage)
			_ = conn.Close()
			h.info("q")
		})
	}
}
