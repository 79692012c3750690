package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// maxFile is the largest file that is read, in bytes: a revocation list of half a million certificates.
const maxFile = 32 << 20

// generation is what the files said at one time. Immutable.
type generation struct {
	cert      tls.Certificate
	clientCAs *x509.CertPool // nil: none
	revoked   map[string]revocations
	files     [][]byte // as they were read, to see whether they have changed
}

// revocations are what an authority has revoked; generation has them by the authority's name (DER).
type revocations struct {
	serials map[string]struct{}  // big-endian
	until   time.Time            // the next list is due; zero: never
	signed  *x509.RevocationList // by an authority that only the client shows: to be checked then. nil: it has been checked
}

// errRevoked is why a handshake fails although the chain is good.
var errRevoked = errors.New("tls: the client's certificate has been revoked")

// errForgedList is why one fails whose authority has not signed the list that is kept of it.
var errForgedList = errors.New("tls: the revocation list of the client's authority is not signed by it")

// errStaleList is the same, when nobody can say whether it has been.
var errStaleList = errors.New("tls: the revocation list of the client's authority is out of date")

// read makes a generation of the files.
func read(cfg Config) (*generation, error) {
	g := &generation{revoked: map[string]revocations{}}
	for _, path := range []string{cfg.Cert, cfg.Key, cfg.ClientCA, cfg.CRL} {
		content, err := readFile(path)
		if err != nil {
			return nil, err
		}
		g.files = append(g.files, content)
	}
	var err error
	if g.cert, err = tls.X509KeyPair(g.files[0], g.files[1]); err != nil {
		return nil, fmt.Errorf("%s and %s: %w", cfg.Cert, cfg.Key, err)
	}
	if now := time.Now(); now.After(g.cert.Leaf.NotAfter) {
		return nil, fmt.Errorf("%s: it expired on %s", cfg.Cert, g.cert.Leaf.NotAfter.UTC().Format(time.DateTime))
	}
	if cfg.ClientCA == "" {
		return g, nil
	}
	authorities, err := parseAuthorities(g.files[2])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.ClientCA, err)
	}
	g.clientCAs = x509.NewCertPool()
	for _, one := range authorities {
		g.clientCAs.AddCert(one)
	}
	if err := g.revoke(g.files[3], authorities); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.CRL, err)
	}
	return g, nil
}

// readFile reads a file that is not too large; "" is no file.
func readFile(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s: want a file of at most %d bytes", path, maxFile)
	}
	return os.ReadFile(path)
}

func parseAuthorities(text []byte) (all []*x509.Certificate, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if !one.IsCA {
			return nil, fmt.Errorf("%s is not an authority's certificate", one.Subject)
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return all, nil
}

// revoke takes in revocation lists: PEM, or one in DER.
func (g *generation) revoke(text []byte, authorities []*x509.Certificate) error {
	if len(text) == 0 {
		return nil
	}
	block, rest := pem.Decode(text)
	if block == nil {
		return g.revokeOne(text, authorities)
	}
	for ; block != nil; block, rest = pem.Decode(rest) {
		if err := g.revokeOne(block.Bytes, authorities); err != nil {
			return err
		}
	}
	return nil
}

func (g *generation) revokeOne(der []byte, authorities []*x509.Certificate) error {
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		return err
	}
	l := revocations{serials: make(map[string]struct{}, len(crl.RevokedCertificateEntries)), until: crl.NextUpdate}
	for _, entry := range crl.RevokedCertificateEntries {
		l.serials[string(entry.SerialNumber.Bytes())] = struct{}{}
	}
	if l.signed, err = unproved(crl, authorities); err != nil {
		return err
	}
	g.revoked[string(crl.RawIssuer)] = l
	return nil
}

// unproved is crl if its authority is none of these, nil if it is and has signed the list.
func unproved(crl *x509.RevocationList, authorities []*x509.Certificate) (*x509.RevocationList, error) {
	named := false
	for _, authority := range authorities {
		if bytes.Equal(authority.RawSubject, crl.RawIssuer) {
			if named = true; crl.CheckSignatureFrom(authority) == nil {
				return nil, nil
			}
		}
	}
	if named {
		return nil, fmt.Errorf("the revocation list of %s is not signed by it", crl.Issuer)
	}
	return crl, nil
}

// verify is asked at the end of a handshake, when the chains are known to be good: one without a revoked certificate will do.
func (g *generation) verify(state tls.ConnectionState) error {
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	var last error
	for _, chain := range state.VerifiedChains {
		if last = g.check(chain); last == nil {
			return nil
		}
	}
	return last
}

// check looks for every certificate of a chain but the root in the list of whoever issued it. An authority without a list has revoked nothing.
func (g *generation) check(chain []*x509.Certificate) error {
	for i, one := range chain[:len(chain)-1] {
		l, there := g.revoked[string(one.RawIssuer)]
		if l.signed != nil && l.signed.CheckSignatureFrom(chain[i+1]) != nil {
			return errForgedList
		}
		if _, gone := l.serials[string(one.SerialNumber.Bytes())]; gone {
			return errRevoked
		}
		if there && !l.until.IsZero() && time.Now().After(l.until) {
			return errStaleList
		}
	}
	return nil
}
