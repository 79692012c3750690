package certs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/core/certs"
	"portico/core/certs/certstest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// world is a set of files that are good.
type world struct {
	dir          string
	root, other  *certstest.Authority
	middle       *certstest.Authority
	server       certstest.Pair
	good, sacked certstest.Pair
	late         certstest.Pair
	config       certs.Config
}

func newWorld(t *testing.T) *world {
	t.Helper()
	hour := time.Now().Add(time.Hour)
	w := &world{dir: t.TempDir(), root: certstest.NewAuthority(t, "root"), other: certstest.NewAuthority(t, "stranger")}
	w.middle = w.root.Under(t, "middle")
	w.server = w.middle.Server(t, hour)
	w.good, w.sacked, w.late = w.middle.Client(t, "ann", hour), w.middle.Client(t, "bob", hour), w.middle.Client(t, "eve", time.Now().Add(-time.Hour))
	w.config = certs.Config{
		Cert: certstest.Write(t, w.dir, "cert", w.server.Cert), Key: certstest.Write(t, w.dir, "key", w.server.Key),
		ClientCA:   certstest.Write(t, w.dir, "ca", w.root.PEM),
		CRL:        certstest.Write(t, w.dir, "crl", w.middle.CRL(t, hour, w.sacked), w.root.CRL(t, hour)),
		ClientAuth: certs.Request,
	}
	return w
}

func (w *world) store(t *testing.T) *certs.Store {
	t.Helper()
	s, err := certs.New(w.config, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shake makes one connection to a listener of the store; the client shows these. What comes back is the name in the certificate that the server saw.
func (w *world) shake(t *testing.T, s *certs.Store, shown ...certstest.Pair) (string, error) {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := certs.Door{Store: s, Mode: certs.Required}.Listener(raw)
	defer l.Close()
	type seen struct {
		name string
		err  error
	}
	server := make(chan seen, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			server <- seen{err: err}
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = io.WriteString(c, "hello")
		name := ""
		if cert := certs.ClientCertificate(certs.ConnState(c)); cert != nil {
			name = cert.Subject.CommonName
		}
		server <- seen{name, err}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(w.root.Cert)
	config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	for _, p := range shown {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &p.TLS, nil }
	}
	c, err := tls.Dial("tcp", raw.Addr().String(), config)
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 5)) // in TLS 1.3 the client hears here that its certificate was refused
		c.Close()
	}
	got := <-server
	return got.name, errors.Join(err, got.err)
}

// TestClientCertificates: a chain, none, a wrong authority, a revoked one, an expired one; asked for and demanded.
func TestClientCertificates(t *testing.T) {
	w := newWorld(t)
	stranger := w.other.Client(t, "mallory", time.Now().Add(time.Hour))
	for name, c := range map[string]struct {
		shown   []certstest.Pair
		name    string
		request string // how the handshake fails where certificates may be shown; "": it does not
		require string // and where they must be
	}{
		"chain":      {shown: []certstest.Pair{w.good}, name: "ann"},
		"none":       {require: "didn't provide a certificate"},
		"wrong CA":   {shown: []certstest.Pair{stranger}, request: "unknown authority", require: "unknown authority"},
		"revoked":    {shown: []certstest.Pair{w.sacked}, request: "has been revoked", require: "has been revoked"},
		"expired":    {shown: []certstest.Pair{w.late}, request: "expired", require: "expired"},
		"a server's": {shown: []certstest.Pair{w.server}, request: "incompatible key usage", require: "incompatible key usage"},
	} {
		for auth, want := range map[certs.ClientAuth]string{certs.Request: c.request, certs.Require: c.require} {
			t.Run(name+" "+string(auth), func(t *testing.T) {
				w := *w
				w.config.ClientAuth = auth
				got, err := w.shake(t, w.store(t), c.shown...)
				switch {
				case want == "" && (err != nil || got != c.name):
					t.Errorf("saw %q, %v; want %q", got, err, c.name)
				case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
					t.Errorf("saw %q, %v; want an error with %q", got, err, want)
				}
			})
		}
	}
}

// TestStaleList: who is on no list is refused too, when the list is too old to know.
func TestStaleList(t *testing.T) {
	w := newWorld(t)
	certstest.Write(t, w.dir, "crl", w.middle.CRL(t, time.Now().Add(-time.Minute)))
	if _, err := w.shake(t, w.store(t), w.good); err == nil || !strings.Contains(err.Error(), "out of date") {
		t.Errorf("got %v", err)
	}
}

// TestForgedList: a list of an authority that is not in the file is believed if the authority has signed it.
func TestForgedList(t *testing.T) {
	w := newWorld(t)
	forger := w.other.Under(t, "middle") // of the same name
	certstest.Write(t, w.dir, "crl", forger.CRL(t, time.Now().Add(time.Hour)))
	if _, err := w.shake(t, w.store(t), w.good); err == nil || !strings.Contains(err.Error(), "not signed by it") {
		t.Errorf("got %v", err)
	}
}

// TestReload: new files count from the next handshake on, bad ones change nothing, and a connection that is open goes on.
func TestReload(t *testing.T) {
	w := newWorld(t)
	s := w.store(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Watch(ctx, 5*time.Millisecond) }()
	defer func() { cancel(); <-done }()
	if _, err := w.shake(t, s, w.good); err != nil {
		t.Fatal(err)
	}
	certstest.Write(t, w.dir, "crl", w.middle.CRL(t, time.Now().Add(time.Hour), w.sacked, w.good))
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err := w.shake(t, s, w.good); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the new revocation list was never used")
		}
	}
	certstest.Write(t, w.dir, "cert", []byte("nonsense"))
	if changed, err := s.Reload(); changed || err == nil || !strings.Contains(err.Error(), filepath.Join(w.dir, "cert")) {
		t.Errorf("a bad certificate: changed %v, %v; want an error that names the file", changed, err)
	}
	if _, err := w.shake(t, s); err != nil {
		t.Errorf("after a bad file: %v", err)
	}
}

func TestRefusedFiles(t *testing.T) {
	w := newWorld(t)
	old := w.root.Server(t, time.Now().Add(-time.Minute))
	for name, c := range map[string]struct {
		change func(*certs.Config)
		want   string
	}{
		"no certificate": {func(c *certs.Config) { c.Cert = filepath.Join(w.dir, "nothing") }, "nothing"},
		"another's key":  {func(c *certs.Config) { c.Key = certstest.Write(t, w.dir, "key2", w.good.Key) }, "does not match"},
		"expired": {func(c *certs.Config) {
			c.Cert, c.Key = certstest.Write(t, w.dir, "old", old.Cert), certstest.Write(t, w.dir, "oldkey", old.Key)
		}, "it expired on"},
		"a leaf for a CA":    {func(c *certs.Config) { c.ClientCA = c.Cert }, "is not an authority's"},
		"no CA":              {func(c *certs.Config) { c.ClientCA = c.Key }, "no certificate in it"},
		"asked by nobody":    {func(c *certs.Config) { c.ClientCA, c.CRL = "", "" }, "a file of them is needed"},
		"a list of nobody's": {func(c *certs.Config) { c.ClientCA, c.ClientAuth = "", certs.None }, "no authority"},
		"a forged list": {func(c *certs.Config) {
			c.CRL = certstest.Write(t, w.dir, "crl2", certstest.NewAuthority(t, "root").CRL(t, time.Now().Add(time.Hour)))
		}, "not signed by it"},
		"no list":     {func(c *certs.Config) { c.CRL = c.Cert }, "crl"},
		"TLS 1.1":     {func(c *certs.Config) { c.MinVersion = tls.VersionTLS11 }, "below 1.2"},
		"a directory": {func(c *certs.Config) { c.Cert = w.dir }, "want a file"},
	} {
		t.Run(name, func(t *testing.T) {
			config := w.config
			c.change(&config)
			if _, err := certs.New(config, quiet()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestSelfSigned(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	cert, key, err := certs.SelfSigned(dir)
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info.Mode(), err)
	}
	if _, _, err := certs.SelfSigned(dir); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.ReadFile(cert); string(again) != string(first) {
		t.Error("a certificate that is good was made anew")
	}
	s, err := certs.New(certs.Config{Cert: cert, Key: key}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.TLS())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3 {
			if c, err := l.Accept(); err == nil {
				_ = c.(*tls.Conn).Handshake()
				c.Close()
			}
		}
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(first)
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: name})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c.Close()
	}
	<-done
}

// TestOptional: both on one port, and neither waits for who says nothing.
func TestOptional(t *testing.T) {
	w := newWorld(t)
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := certs.Door{Store: w.store(t), Mode: certs.Optional}.Listener(raw)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line := make([]byte, 5)
			_, _ = io.ReadFull(c, line)
			_, _ = c.Write(line)
			c.Close()
		}
	}()
	var silent []net.Conn
	for range 1100 { // more than may be undecided
		c, err := net.Dial("tcp", raw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	roots := x509.NewCertPool()
	roots.AddCert(w.root.Cert)
	for range 3 {
		secure, err := tls.Dial("tcp", raw.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		echo(t, secure)
		plain, err := net.Dial("tcp", raw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		echo(t, plain)
	}
	_ = silent[0].SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := silent[0].Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the one that has been silent longest: %v, want it closed", err)
	}
	l.Close()
	<-done
	for _, c := range silent {
		c.Close()
	}
}

func echo(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
}
