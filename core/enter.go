package core

import "portico/core/identity"

// Enter returns the bus of another tenant for the same identity; "" is the one that is its own. CodeNotFound when there is none, CodePermissionDenied when the identity may not use it.
func (b *Bus) Enter(name string) (*Bus, error) {
	if name == b.tenant.name {
		return b, nil
	}
	if b.live == nil {
		return b.tenant.gateway.SystemOf(name)
	}
	return b.tenant.gateway.enter(b.live, name)
}

// enter returns a tenant's bus for an identity.
func (g *Gateway) enter(live *identity.Live, name string) (*Bus, error) {
	who := live.Identity()
	if name == "" {
		name = who.Home()
	}
	t, err := g.tenants.get(name)
	if err != nil {
		return nil, err
	}
	if !who.MayEnter(name) {
		return nil, Errorf(CodePermissionDenied, "tenant %q is not for %q", name, who.Name)
	}
	if t != g.tenant { // the default one is there as long as the gateway
		live = live.Until(t.gone)
	}
	return &Bus{tenant: t, live: live}, nil
}

// System is the bus of the same tenant as the gateway itself uses it, for what an adapter does on its own account. See Gateway.System.
func (b *Bus) System() *Bus { return &Bus{tenant: b.tenant, system: true} }

// SystemOf is System of another tenant than the default one. CodeNotFound.
func (g *Gateway) SystemOf(name string) (*Bus, error) {
	t, err := g.tenants.get(name)
	if err != nil {
		return nil, err
	}
	return &Bus{tenant: t, system: true}, nil
}
