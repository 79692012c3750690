package webhook

import (
	"errors"
	"net/netip"
	"syscall"
)

// guard keeps requests away from addresses that are not of the public internet. It looks at what is dialled, after the name was resolved, so that no name and no second
// answer of a name server leads around it. Immutable.
type guard struct{ allowed, refused []netip.Prefix }

func newGuard(allowed []netip.Prefix) *guard { return &guard{allowed: allowed, refused: notPublic()} }

var errAddress = errors.New("the address is not one of the public internet")

// notPublic are the networks that others than those who may configure the gateway have no business in, from IANA's registries of special-purpose addresses.
func notPublic() (all []netip.Prefix) {
	for _, text := range [...]string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"::/96",                          // unspecified, loopback, IPv4-compatible
		"::ffff:0:0/96",                  // mapped ones are unmapped before; what is left here is odd
		"64:ff9b::/96", "64:ff9b:1::/48", // NAT64: whatever IPv4 address is behind it
		"100::/64", "2001::/23", "2001:db8::/32", "2002::/16", // discard, Teredo and kin, documentation, 6to4
		"3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "2620:4f:8000::/48",
	} {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// allows tells whether a request may go to ip.
func (g *guard) allows(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("") // no prefix contains an address with a zone
	for _, p := range g.allowed {
		if p.Contains(ip) {
			return true
		}
	}
	for _, p := range g.refused {
		if p.Contains(ip) {
			return false
		}
	}
	return ip.IsValid()
}

// control is net.Dialer's: it sees the address that is about to be connected to.
func (g *guard) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !g.allows(at.Addr()) {
		return errAddress
	}
	return nil
}
