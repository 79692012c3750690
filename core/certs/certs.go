// Package certs is TLS for every door: the gateway's certificate, the authorities whose clients it believes, their revocation lists, and the change of all of
// these while connections are open. It knows files and TLS, and nothing of any protocol.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
)

// Mode is what a door does about TLS.
type Mode string

// The modes. A door with Optional takes both on one port: the first octet of a connection tells which.
const (
	Off      Mode = "off"
	Optional Mode = "optional"
	Required Mode = "required"
)

// ClientAuth is what is asked of clients' certificates.
type ClientAuth string

// What may be asked. With Request a client may show none, but one that is shown has to be good.
const (
	None    ClientAuth = "none"
	Request ClientAuth = "request"
	Require ClientAuth = "require"
)

// Config says where the files are. All are PEM; a revocation list may be DER.
type Config struct {
	Cert       string     // the gateway's certificate, those of the authorities between it and a root behind it
	Key        string     // its private key
	ClientCA   string     // authorities whose clients are believed; needed for Request and Require
	CRL        string     // revocation lists of these authorities; "": none
	ClientAuth ClientAuth // "" is None
	MinVersion uint16     // 0 is TLS 1.2, the least there is
}

// Store holds what the files say now. Its methods may be called from any goroutine.
type Store struct {
	cfg     Config
	log     *slog.Logger
	current atomic.Pointer[generation]
}

// New reads the files. An error names the file and what is wrong with it.
func New(cfg Config, log *slog.Logger) (*Store, error) {
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	if cfg.ClientAuth == "" {
		cfg.ClientAuth = None
	}
	switch {
	case cfg.MinVersion < tls.VersionTLS12:
		return nil, errors.New("tls: versions below 1.2 are not spoken")
	case cfg.ClientAuth != None && cfg.ClientCA == "":
		return nil, fmt.Errorf("tls: client certificates are to be checked (%s), but by no authority: a file of them is needed", cfg.ClientAuth)
	case cfg.CRL != "" && cfg.ClientCA == "":
		return nil, errors.New("tls: there is a revocation list, but no authority whose it could be")
	}
	s := &Store{cfg: cfg, log: log}
	if _, err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// TLS is the configuration of a door that speaks these protocols (ALPN), the best first; none: the door takes no part in ALPN. What it does follows the files:
// a handshake uses what was read last. The caller must not change it.
func (s *Store) TLS(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: s.cfg.MinVersion, NextProtos: protocols, ClientAuth: s.clientAuth(),
		GetCertificate:     func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &s.current.Load().cert, nil },
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.config(protocols), nil },
	}
}

// Anonymous is TLS without client certificates, whatever the configuration: for connections that the gateway makes to itself.
func (s *Store) Anonymous() *tls.Config {
	return &tls.Config{
		MinVersion:     s.cfg.MinVersion,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &s.current.Load().cert, nil },
	}
}

// Own is for a client in the gateway itself: it believes the gateway's own certificate, whatever it says, and no other.
func (s *Store) Own() *tls.Config {
	return &tls.Config{
		MinVersion:         s.cfg.MinVersion,
		InsecureSkipVerify: true, // VerifyConnection asks for more than a chain: for this very certificate
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(s.current.Load().cert.Leaf) {
				return errors.New("tls: not the gateway's own certificate")
			}
			return nil
		},
	}
}

// config is what one handshake uses. Sessions are not resumed where clients show certificates: each connection is checked by today's files.
func (s *Store) config(protocols []string) *tls.Config {
	now := s.current.Load()
	return &tls.Config{
		MinVersion: s.cfg.MinVersion, NextProtos: protocols,
		Certificates: []tls.Certificate{now.cert}, ClientCAs: now.clientCAs, ClientAuth: s.clientAuth(),
		VerifyConnection: now.verify, SessionTicketsDisabled: s.cfg.ClientAuth != None,
	}
}

func (s *Store) clientAuth() tls.ClientAuthType {
	switch s.cfg.ClientAuth {
	case Request:
		return tls.VerifyClientCertIfGiven
	case Require:
		return tls.RequireAndVerifyClientCert
	}
	return tls.NoClientCert
}

// ClientCertificate is the certificate that the client of a connection has shown and that was verified; nil: it showed none.
func ClientCertificate(state *tls.ConnectionState) *x509.Certificate {
	if state == nil || len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return nil
	}
	return state.PeerCertificates[0]
}
