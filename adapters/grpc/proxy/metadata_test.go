package proxy

import (
	"log/slog"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func TestStatusRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := status.New(codes.Code(rapid.Uint32Range(1, 20).Draw(t, "code")), rapid.String().Draw(t, "message"))
		if rapid.Bool().Draw(t, "details") {
			with, err := want.WithDetails(&errdetails.ErrorInfo{Reason: "R"})
			if err != nil {
				t.Fatal(err)
			}
			want = with
		}
		h := core.Header{}
		addStatus(h, want)
		if got := readStatus(h); !proto.Equal(got.Proto(), want.Proto()) {
			t.Fatalf("%v became %v by %v", want, got, h)
		}
	})
}

func TestMetadataRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.StringMatching(`[ -~]{0,20}`), 1, 3)
		binary := rapid.SliceOfN(rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }), 1, 3)
		header := metadata.MD(rapid.MapOfN(rapid.StringMatching(`x-[a-z0-9_.-]{1,10}t`), text, 0, 4).Draw(t, "header"))
		trailer := metadata.MD(rapid.MapOfN(rapid.StringMatching(`x-[a-z0-9_.-]{0,10}-bin`), binary, 0, 4).Draw(t, "trailer"))
		h := core.Header{}
		addMetadata(h, "", header)
		addMetadata(h, trailerPrefix, trailer)
		gotHeader, gotTrailer := readMetadata(h)
		for what, pair := range map[string][2]metadata.MD{"header": {header, gotHeader}, "trailer": {trailer, gotTrailer}} {
			if len(pair[0]) != len(pair[1]) {
				t.Fatalf("%s: %v became %v", what, pair[0], pair[1])
			}
			for name, values := range pair[0] {
				for i, v := range values {
					if pair[1][name][i] != v {
						t.Fatalf("%s %s: %q became %q", what, name, v, pair[1][name][i])
					}
				}
			}
		}
	})
}

func TestMetadataThatStays(t *testing.T) {
	h := core.Header{}
	for _, name := range []string{":authority", "authorization", "content-type", "user-agent", "te", "host", "grpc-timeout", "nats-rollup", "kv-operation", "portico-user-id", "status"} {
		addMetadata(h, "", metadata.MD{name: {"x"}})
	}
	if len(h) > 0 {
		t.Errorf("these travel: %v", h)
	}
	header, _ := readMetadata(core.Header{"Nats-Msg-Id": {"x"}, "X Y": {"x"}, "X-A": {"\xff"}, "X-Bin": {"!"}})
	for name, values := range header {
		t.Errorf("these arrive: %s %q", name, values)
	}
}

func TestTimeouts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := time.Duration(rapid.Int64Range(0, int64(100*365*24*time.Hour)).Draw(t, "timeout"))
		got, none, err := readTimeout(writeTimeout(want))
		if err != nil || none || got < want || float64(got-want) > 2e-5*float64(want)+1000 {
			t.Fatalf("%v became %v by %q, %v", want, got, writeTimeout(want), err)
		}
	})
	for text, want := range map[string]time.Duration{"1n": 1, "10u": 10_000, "0m": 0, "5S": 5 * time.Second, "3M": 3 * time.Minute, "2H": 2 * time.Hour} {
		if got, none, err := readTimeout(text); got != want || none || err != nil {
			t.Errorf("%s: %v, %v, %v", text, got, none, err)
		}
	}
	for _, text := range []string{endless, "99999998H"} {
		if _, none, err := readTimeout(text); !none || err != nil {
			t.Errorf("%s is a deadline: %v", text, err)
		}
	}
	for _, text := range []string{"", "1", "S", "-1S", "1.5S", "123456789S", "1s", "1 S"} {
		if _, _, err := readTimeout(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestSubjectsAndPaths(t *testing.T) {
	for _, path := range []string{"/shop.v1.Orders/Get", "/Orders/Get", "/a.b.c.D_1/E2"} {
		service, method, ok := splitPath(path)
		if !ok {
			t.Errorf("%s is no path", path)
		}
		for _, prefix := range []string{subjects, others} {
			if got, ok := pathOf(prefix + service + "." + method); got != path || !ok {
				t.Errorf("%s became %s, %v", path, got, ok)
			}
		}
	}
	for _, subject := range []string{"grpc.", "grpc.x", "grpc.a..b", "other.a.b", "grpc.a.b c"} {
		if path, ok := pathOf(subject); ok {
			t.Errorf("%s is a method's: %s", subject, path)
		}
	}
}

// TestSilenceEndsASession: only where the other end is in another process.
func TestSilenceEndsASession(t *testing.T) {
	p, err := New(Config{Status: status.Convert}, coretest.Start(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.drain()
		p.cut(errDraining)
		p.unsubscribe()
	})
	for name, c := range map[string]struct {
		peer  string
		after time.Duration
		over  bool
	}{
		"silent for long":  {"_INBOX.far", lostAfter + time.Second, true},
		"silent for a bit": {"_INBOX.far", pingEvery, false},
		"in this process":  {p.inbox.prefix + "1", time.Hour, false},
		"not opened yet":   {"", time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			pinged := make(chan *core.Message, 1)
			if c.peer == "_INBOX.far" {
				subscription, err := p.bus.Subscribe(c.peer, "", func(m *core.Message) { pinged <- m })
				if err != nil {
					t.Fatal(err)
				}
				defer subscription.Unsubscribe()
			}
			s := p.newSession(t.Context())
			defer s.close()
			s.towards(c.peer)
			s.watch(time.Now().Add(c.after))
			if over := s.ctx.Err() != nil; over != c.over {
				t.Errorf("over: %v", over)
			}
			if c.over || c.peer != "_INBOX.far" {
				return
			}
			select {
			case m := <-pinged:
				if got := m.Header.Get(headerFrame); got != "ping 1" {
					t.Errorf("frame %q", got)
				}
			case <-time.After(10 * time.Second):
				t.Error("no ping")
			}
		})
	}
}
