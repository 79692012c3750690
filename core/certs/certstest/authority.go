// Package certstest makes authorities, certificates and revocation lists for tests.
package certstest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	Cert *x509.Certificate
	PEM  []byte // of Cert, and behind it of those between it and the root
	key  *ecdsa.PrivateKey
}

// Pair is a certificate with its private key, as files and as Go has it.
type Pair struct {
	Cert, Key []byte // PEM; Cert has the authorities behind it that are not roots
	TLS       tls.Certificate
}

// NewAuthority makes a root.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	return authority(t, name, nil)
}

// Under makes an authority that a signs.
func (a *Authority) Under(t testing.TB, name string) *Authority {
	t.Helper()
	return authority(t, name, a)
}

func authority(t testing.TB, name string, above *Authority) *Authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	key := newKey(t)
	parent, signer := template, key
	if above != nil {
		parent, signer = above.Cert, above.key
	}
	cert := create(t, template, parent, &key.PublicKey, signer)
	out := &Authority{Cert: cert, key: key, PEM: block("CERTIFICATE", cert.Raw)}
	if above != nil && !isRoot(above.Cert) {
		out.PEM = append(out.PEM, above.PEM...)
	}
	return out
}

// Server makes a certificate for localhost and its addresses, which is good until then.
func (a *Authority) Server(t testing.TB, until time.Time) Pair {
	t.Helper()
	return a.issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost"}, NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback},
	})
}

// Client makes a client's certificate, which is good until then.
func (a *Authority) Client(t testing.TB, name string, until time.Time) Pair {
	t.Helper()
	return a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

func (a *Authority) issue(t testing.TB, template *x509.Certificate) Pair {
	t.Helper()
	template.SerialNumber, template.NotBefore, template.KeyUsage = serial(t), time.Now().Add(-2*time.Hour), x509.KeyUsageDigitalSignature
	key := newKey(t)
	cert := create(t, template, a.Cert, &key.PublicKey, a.key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	p := Pair{Cert: block("CERTIFICATE", cert.Raw), Key: block("PRIVATE KEY", der)}
	if !isRoot(a.Cert) {
		p.Cert = append(p.Cert, a.PEM...)
	}
	p.TLS, err = tls.X509KeyPair(p.Cert, p.Key)
	must(t, err)
	return p
}

// CRL is a revocation list of these, PEM; the next is due then.
func (a *Authority) CRL(t testing.TB, next time.Time, revoked ...Pair) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: serial(t), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: next}
	for _, p := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: p.TLS.Leaf.SerialNumber, RevocationTime: time.Now().Add(-time.Minute),
		})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.Cert, a.key)
	must(t, err)
	return block("X509 CRL", der)
}

// Write writes content into a file below dir and returns its path. A file that is there is replaced whole.
func Write(t testing.TB, dir, name string, content ...[]byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.WriteFile(path+".new", bytes.Join(content, nil), 0o600))
	must(t, os.Rename(path+".new", path))
	return path
}

func isRoot(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

func create(t testing.TB, template, parent *x509.Certificate, public *ecdsa.PublicKey, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return cert
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	must(t, err)
	return n
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
