package core

import (
	"strings"
	"sync/atomic"

	"portico/core/identity"
)

// splitTenant takes "tenant:user" apart, which is how a NATS or MQTT client says which of several tenants it wants; MQTT clients of RabbitMQ do. The user's name is what follows the last colon. A user
// whose own name has colons goes before.
func splitTenant(name string, isUser func(string) bool) (tenant, user string) {
	at := strings.LastIndexByte(name, ':')
	if at < 0 || isUser(name) {
		return "", name
	}
	return name[:at], name[at+1:]
}

// nativeTenants finds the tenants of NATS and MQTT clients for the server's authentication. Until the gateway has opened its tenants there is the default one only.
type nativeTenants struct{ of atomic.Pointer[tenants] }

// account is the account that an identity comes into, if it may and there is room; "" is its own tenant.
func (n *nativeTenants) account(who *identity.Identity, name string) (account string, err error) {
	if name == "" {
		name = who.Home()
	}
	if !who.MayEnter(name) {
		return "", Errorf(CodePermissionDenied, "tenant %q is not for %q", name, who.Name)
	}
	all := n.of.Load()
	if all == nil && name == DefaultTenant {
		return accountTenant, nil
	}
	if all == nil {
		return "", Errorf(CodeUnavailable, "the tenants are not open yet")
	}
	t, err := all.get(name)
	switch {
	case err != nil:
		return "", err
	case !t.hasRoom():
		return "", Errorf(CodeResourceExhausted, "tenant %q has all the connections it may", name)
	}
	return t.accounts.own, nil
}

// hasRoom tells whether the tenant may have a connection more.
func (t *tenant) hasRoom() bool {
	most := t.quota.limits.Load().Connections
	return most == 0 || t.quota.connections.Load()+t.nativeConnections() < int64(most)
}
