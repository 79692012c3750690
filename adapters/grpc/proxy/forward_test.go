package proxy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/adapters/grpc/proxy"
	"portico/adapters/grpc/relay"
	"portico/core"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
)

// authority makes certificates of one authority as files.
type authority struct {
	testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{TB: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// issue writes NAME.pem and NAME.key.
func (a *authority) issue(name string, what *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.Fatal(err)
	}
	what.SerialNumber, what.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	what.NotBefore, what.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = what, key
	}
	der, err := x509.CreateCertificate(rand.Reader, what, parent, &key.PublicKey, signer)
	if err != nil {
		a.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "PRIVATE KEY", secret)
	return cert, key
}

func (a *authority) write(name, kind string, der []byte) {
	a.Helper()
	if err := os.WriteFile(a.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.Fatal(err)
	}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// server issues a certificate for a name and returns what a server needs that wants one of its clients.
func (a *authority) server(name string) *tls.Config {
	a.Helper()
	a.issue("server", &x509.Certificate{DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	a.issue("client", &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	own, err := tls.LoadX509KeyPair(a.file("server.pem"), a.file("server.key"))
	if err != nil {
		a.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool(), MinVersion: tls.VersionTLS12}
}

// TestBackendByTLS: both sides show certificates.
func TestBackendByTLS(t *testing.T) {
	a := newAuthority(t)
	b := newBackend(t, true, grpc.Creds(credentials.NewTLS(a.server("orders.test"))))
	h := start(t, proxy.Config{Backends: []proxy.Backend{{
		Address: b.address, TLS: true, CAFile: a.file("ca.pem"), CertFile: a.file("client.pem"), KeyFile: a.file("client.key"), ServerName: "orders.test",
	}}})
	h.reachable(h.address)
	if _, err := h.client.UnaryCall(h.ctx(), &testing_pb.SimpleRequest{ResponseSize: 1 << 20}); err != nil {
		t.Fatal(err)
	}
}

func TestBackendFilesAreChecked(t *testing.T) {
	a := newAuthority(t)
	a.write("none.pem", "NOTHING", nil)
	g := start(t, proxy.Config{}).gateway
	for name, b := range map[string]proxy.Backend{
		"no TLS":            {CAFile: a.file("ca.pem")},
		"a name, no TLS":    {ServerName: "x"},
		"no such authority": {TLS: true, CAFile: a.file("absent.pem")},
		"no certificate":    {TLS: true, CAFile: a.file("none.pem")},
		"no key":            {TLS: true, CertFile: a.file("ca.pem")},
		"a wrong key":       {TLS: true, CertFile: a.file("ca.pem"), KeyFile: a.file("none.pem")},
	} {
		b.Address = "127.0.0.1:1"
		if _, err := proxy.New(proxy.Config{Backends: []proxy.Backend{b}}, g, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestAuthorizationGoesOnIfWanted: by default what a caller shows the gateway is for the gateway alone.
func TestAuthorizationGoesOnIfWanted(t *testing.T) {
	shown := "Basic " + base64.StdEncoding.EncodeToString([]byte("guest:guest"))
	for name, c := range map[string]struct {
		pass bool
		want []string
	}{"dropped": {false, nil}, "passed": {true, []string{shown}}} {
		t.Run(name, func(t *testing.T) {
			got := make(chan []string, 2)
			g := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
				md, _ := metadata.FromIncomingContext(stream.Context())
				got <- md.Get("authorization")
				return stream.SendMsg(&testing_pb.Empty{})
			}))
			h := start(t, proxy.Config{Authorization: c.pass})
			relayServer(h, h.address, g, relay.Options{Others: true})
			ctx := metadata.AppendToOutgoingContext(h.ctx(), "authorization", shown)
			if _, err := h.client.EmptyCall(ctx, &testing_pb.Empty{}); err != nil {
				t.Fatal(err)
			}
			if seen := <-got; !slices.Equal(seen, c.want) {
				t.Errorf("the server saw %q, want %q", seen, c.want)
			}
		})
	}
}

// forwarded starts a relay to another process's server, of which only the address is known.
func forwarded(h *house, to relay.Target, o relay.Options) (end func() error) {
	h.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	o.Log = slog.New(slog.DiscardHandler)
	go func() { ended <- relay.Forward(ctx, h.conn, to, o) }()
	end = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	h.Cleanup(func() {
		if err := end(); err != nil {
			h.Errorf("relay: %v", err)
		}
	})
	return end
}

// TestForward: a server that knows nothing of relays, found by whatever it tells of itself.
func TestForward(t *testing.T) {
	a := newAuthority(t)
	secured := a.server("orders.test")
	client, err := tls.LoadX509KeyPair(a.file("client.pem"), a.file("client.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		reflected bool
		server    []grpc.ServerOption
		to        relay.Target
		others    bool
	}{
		"by reflection":             {reflected: true},
		"by name":                   {to: relay.Target{Services: []string{service}}},
		"by name and by reflection": {reflected: true, to: relay.Target{Services: []string{service}}},
		"whatever it is":            {others: true},
		"by TLS": {reflected: true, server: []grpc.ServerOption{grpc.Creds(credentials.NewTLS(secured))},
			to: relay.Target{TLS: &tls.Config{RootCAs: a.pool(), ServerName: "orders.test", Certificates: []tls.Certificate{client}, MinVersion: tls.VersionTLS12}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t, c.reflected, c.server...)
			h := start(t, proxy.Config{})
			c.to.Address = b.address
			forwarded(h, c.to, relay.Options{Others: c.others})
			h.reachable(h.address)
			resp, err := h.client.UnaryCall(h.ctx(), &testing_pb.SimpleRequest{ResponseSize: 1 << 20})
			if err != nil || len(resp.GetPayload().GetBody()) != 1<<20 {
				t.Errorf("unary: %d bytes, %v", len(resp.GetPayload().GetBody()), err)
			}
			stream, err := h.client.FullDuplexCall(h.ctx())
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); err != io.EOF {
				t.Errorf("streaming: %v", err)
			}
		})
	}
}

// TestForwardFindsTheServerAgain: no calls while it is away, and again when it is back.
func TestForwardFindsTheServerAgain(t *testing.T) {
	b := newBackend(t, true)
	h := start(t, proxy.Config{})
	forwarded(h, relay.Target{Address: b.address}, relay.Options{})
	h.reachable(h.address)
	b.grpc.Stop()
	h.eventually("it has gone", func() bool {
		_, err := h.client.EmptyCall(h.ctx(), &testing_pb.Empty{})
		return reasonOf(err) == "no-responders"
	})
	b.again()
	h.reachable(h.address)
}

func TestForwardThatCannotBe(t *testing.T) {
	h := start(t, proxy.Config{})
	b := newBackend(t, false)
	want(t, relay.Forward(h.ctx(), h.conn, relay.Target{Address: b.address}, relay.Options{}), codes.Unimplemented, "") // it does not tell what it serves
	if err := relay.Forward(h.ctx(), h.conn, relay.Target{Address: "nowhere"}, relay.Options{}); err == nil {
		t.Error("an address without a port: no error")
	}
}

// TestJSONWhereDescriptorsAreKnown: a request on the bus in JSON, to a server whose reflection has told its descriptors, whichever way it joined.
func TestJSONWhereDescriptorsAreKnown(t *testing.T) {
	for name, c := range map[string]struct {
		reflected bool
		relayed   bool
		status    string
		answer    string
	}{
		"backend with reflection":    {true, false, "0", `{"payload":{"body":"AAAA"}}`},
		"relay to one that has it":   {true, true, "0", `{"payload":{"body":"AAAA"}}`},
		"backend without reflection": {false, false, "12", ""},
		"relay to one without":       {false, true, "12", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t, c.reflected)
			carry := proxy.Config{Backends: []proxy.Backend{{Address: b.address, Services: []string{service}}}}
			if c.relayed {
				carry = proxy.Config{}
			}
			h := start(t, carry)
			if c.relayed {
				forwarded(h, relay.Target{Address: b.address, Services: []string{service}}, relay.Options{})
			}
			h.reachable(h.address)
			m, err := h.bus.Request(h.ctx(), &core.Message{
				Subject: "grpc." + service + ".UnaryCall", Header: core.Header{core.HeaderContentType: {"application/json"}}, Data: []byte(`{"responseSize":3}`),
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(string(m.Data), " ", ""); m.Header.Get("grpc-status") != c.status || got != c.answer {
				t.Errorf("got %q with %v, want %q with status %s", got, m.Header, c.answer, c.status)
			}
		})
	}
}
