package identity

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

// What of a client certificate names its user.
const (
	CommonName        = "common_name"
	DistinguishedName = "distinguished_name" // as RFC 4514 writes it: CN=orders,O=Example
	DNSName           = "dns_name"           // of the subject's alternative names
	EmailAddress      = "email"
	URI               = "uri"
)

// CertificateNames are what Config.Subject may be.
func CertificateNames() []string {
	return []string{CommonName, DistinguishedName, DNSName, EmailAddress, URI}
}

// namesOf are the names in a certificate, of the kind that is configured.
func namesOf(cert *x509.Certificate, kind string) (names []string) {
	switch kind {
	case DistinguishedName:
		return []string{cert.Subject.String()}
	case DNSName:
		return cert.DNSNames
	case EmailAddress:
		return cert.EmailAddresses
	case URI:
		for _, u := range cert.URIs {
			names = append(names, u.String())
		}
		return names
	}
	return []string{cert.Subject.CommonName}
}

// byCertificate finds the user whose name, or one of whose certificates' names, stands in a certificate. Two users that fit are an error: whom it means nobody can know.
func (d *Directory) byCertificate(cert *x509.Certificate) (*Live, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	names := slices.DeleteFunc(slices.Clone(namesOf(cert, d.config.Subject)), func(name string) bool { return name == "" })
	var found *account
	for _, name := range d.names {
		a := d.accounts[name]
		if !slices.ContainsFunc(names, func(n string) bool { return n == name || slices.Contains(a.user.Certificates, n) }) {
			continue
		}
		if found != nil {
			return nil, badToken("the certificate names more than one user")
		}
		found = a
	}
	if found == nil {
		return nil, badToken("the certificate names no user: %s", shortList(names))
	}
	return found.presented(cert), nil
}

// shortList is a list for an error, whatever is in it.
func shortList(names []string) string {
	const most = 100
	text := fmt.Sprintf("%q", names)
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
