package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	selfSignedFor  = 365 * 24 * time.Hour
	selfSignedLeft = 30 * 24 * time.Hour // a certificate with less is made anew
)

// SelfSigned returns the files of a certificate for this machine alone (localhost, 127.0.0.1, ::1), in folder. They are made when they are missing, cannot be
// read or expire within a month. Clients have to be told to believe cert; it is meant for development.
func SelfSigned(folder string) (cert, key string, err error) {
	cert, key = filepath.Join(folder, "self-signed.pem"), filepath.Join(folder, "self-signed.key")
	if pair, err := tls.LoadX509KeyPair(cert, key); err == nil && time.Until(pair.Leaf.NotAfter) > selfSignedLeft {
		return cert, key, nil
	}
	certPEM, keyPEM, err := makeSelfSigned(time.Now())
	if err != nil {
		return "", "", fmt.Errorf("tls: make a self-signed certificate: %w", err)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", "", fmt.Errorf("tls: %w", err)
	}
	for path, content := range map[string][]byte{key: keyPEM, cert: certPEM} {
		if err := replace(path, content); err != nil {
			return "", "", fmt.Errorf("tls: keep the self-signed certificate: %w", err)
		}
	}
	return cert, key, nil
}

// replace writes a file whole or not at all.
func replace(path string, content []byte) error {
	next := path + ".new"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

func makeSelfSigned(now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "localhost", Organization: []string{"Portico (self-signed)"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(selfSignedFor),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
