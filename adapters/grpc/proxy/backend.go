package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// AllServices among a Backend's services stands for all that it serves, and for the methods that no server has named.
const AllServices = "*"

// Backend is a gRPC server that the gateway dials.
type Backend struct {
	Address  string   // host:port
	Services []string // with their packages; none: those that the server's reflection lists. See AllServices
	TLS      bool     // by CAFile, or with the system's certificate authorities

	// With TLS only. Files are read when the proxy is made.
	CAFile     string // PEM: the authorities that may vouch for the server
	CertFile   string // PEM: what the gateway shows of itself; KeyFile has the key
	KeyFile    string
	ServerName string // that the server's certificate must have; default the address's host
}

// Check finds what cannot be.
func (b Backend) Check() error {
	if _, port, err := net.SplitHostPort(b.Address); err != nil || port == "" {
		return fmt.Errorf("gRPC backend %q: want host:port", b.Address)
	}
	switch {
	case !b.TLS && (b.CAFile != "" || b.CertFile != "" || b.KeyFile != "" || b.ServerName != ""):
		return fmt.Errorf("gRPC backend %s: ca_file, cert_file, key_file and server_name need tls", b.Address)
	case (b.CertFile == "") != (b.KeyFile == ""):
		return fmt.Errorf("gRPC backend %s: cert_file and key_file need each other", b.Address)
	}
	for _, service := range b.Services {
		switch {
		case service == AllServices:
		case !isService(service):
			return fmt.Errorf("gRPC backend %s: %q is not the name of a service", b.Address, service)
		case reserved(service):
			return fmt.Errorf("gRPC backend %s: %s is the gateway's own", b.Address, service)
		}
	}
	return nil
}

// describeWithin is how long a server may take to tell what it serves.
const describeWithin = 10 * time.Second

// serveBackend keeps a backend connected until the proxy drains, and waits for the calls it has then.
func (p *Proxy) serveBackend(b Backend, secured credentials.TransportCredentials) {
	conn, err := grpc.NewClient("dns:///"+b.Address, dialOptions(secured)...)
	if err != nil {
		p.log.Error("a gRPC backend cannot be dialled", "server", b.Address, "err", err)
		return
	}
	defer conn.Close()
	for p.draining.Err() == nil {
		if awaitReady(p.draining, conn) {
			p.whileReady(b, conn)
		}
	}
	select { // the connection is for the calls that are left
	case <-p.exiting.idle:
	case <-p.ctx.Done():
	}
}

func dialOptions(secured credentials.TransportCredentials) []grpc.DialOption {
	return append(callOptions(),
		grpc.WithTransportCredentials(secured),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 5 * time.Minute, Timeout: 20 * time.Second}), // servers refuse more by default
	)
}

// transport reads what a backend's connection needs.
func (b Backend) transport() (credentials.TransportCredentials, error) {
	if !b.TLS {
		return insecure.NewCredentials(), nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: b.ServerName}
	if b.CAFile != "" {
		pem, err := os.ReadFile(b.CAFile)
		if err != nil {
			return nil, fmt.Errorf("gRPC backend %s: ca_file: %w", b.Address, err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("gRPC backend %s: ca_file %s has no certificate", b.Address, b.CAFile)
		}
	}
	if b.CertFile != "" {
		own, err := tls.LoadX509KeyPair(b.CertFile, b.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("gRPC backend %s: cert_file: %w", b.Address, err)
		}
		cfg.Certificates = []tls.Certificate{own}
	}
	return credentials.NewTLS(cfg), nil
}

// callOptions are those of every connection to a server: calls are passed on as they are, nothing is tried again or configured by DNS.
func callOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(), grpc.WithIdleTimeout(0), grpc.WithUserAgent("portico")}
}

// awaitReady connects and waits until there is a connection; false if ctx ends first.
func awaitReady(ctx context.Context, conn *grpc.ClientConn) bool {
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return true
		case connectivity.Idle:
			conn.Connect()
		}
		if !conn.WaitForStateChange(ctx, state) {
			return false
		}
	}
}

// whileReady lets the backend have calls as long as it is connected. A connection that ends in peace (servers give theirs a greatest age) is followed by another
// without a gap; what the server says of itself then counts.
func (p *Proxy) whileReady(b Backend, conn *grpc.ClientConn) {
	leave := func() {}
	defer func() { leave() }()
	for {
		served, err := p.describeBackend(b, conn)
		if err != nil {
			p.pause("a gRPC backend does not tell what it serves", b, err)
			return
		}
		s, err := p.join(p.bus, b.Address, conn, served)
		if err != nil {
			p.pause("a gRPC backend cannot join", b, err)
			return
		}
		leave()
		leave = s.leave
		if !p.followed(conn) {
			return
		}
	}
}

// followed waits until the connection ends: true when there is another one at once.
func (p *Proxy) followed(conn *grpc.ClientConn) bool {
	if !conn.WaitForStateChange(p.draining, connectivity.Ready) {
		return false
	}
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return true
		case connectivity.Idle:
			conn.Connect()
		case connectivity.TransientFailure, connectivity.Shutdown:
			return false
		}
		if !conn.WaitForStateChange(p.draining, state) {
			return false
		}
	}
}

// pause logs what is wrong with a backend and waits before it is asked again.
func (p *Proxy) pause(what string, b Backend, err error) {
	if p.draining.Err() != nil {
		return
	}
	p.log.Warn(what, "server", b.Address, "err", err)
	pause := time.NewTimer(time.Second + rand.N(time.Second))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-p.draining.Done():
	}
}

// describeBackend is what the backend serves. A server without reflection must have its services named; of those all methods are taken then, and none is known to be unary.
func (p *Proxy) describeBackend(b Backend, conn *grpc.ClientConn) (*description, error) {
	ctx, cancel := context.WithTimeout(p.draining, describeWithin)
	defer cancel()
	everything := slices.Contains(b.Services, AllServices)
	told, err := askReflection(ctx, conn)
	switch {
	case err != nil && len(b.Services) == 0, err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil:
		told = &description{services: map[string]methods{}}
	}
	if len(b.Services) == 0 {
		return told, nil
	}
	chosen := &description{services: map[string]methods{}, files: told.files, others: everything}
	if everything {
		chosen.services = told.services
	}
	for _, service := range b.Services {
		if service != AllServices {
			chosen.services[service] = told.services[service] // nil: all its methods
		}
	}
	return chosen, nil
}
